"""The bytes of image files: PNG encoding and decoding, and the headers of PNG and JPEG."""
