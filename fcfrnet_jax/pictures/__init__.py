"""Images for people to look at: depth and errors in colour, and panels with all maps of a frame."""
