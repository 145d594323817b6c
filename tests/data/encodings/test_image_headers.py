"""Headers of images that OpenCV encoded, and damage of every part of a file."""

import struct
from collections.abc import Iterator

import cv2
import numpy as np
import pytest

from fcfrnet_jax.data.encodings import image_headers
from fcfrnet_jax.data.encodings.image_headers import ImageHeader, read_jpeg_header, read_png
from tests import kitti_tree as tree
from tests.data.pngs import png


def read_png_header(data: bytes) -> ImageHeader:
    return read_png(data)[0]


READERS = {".png": read_png_header, ".jpg": read_jpeg_header}


def encoded(suffix: str) -> bytes:
    noise = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
    return cv2.imencode(suffix, cv2.GaussianBlur(noise, (5, 5), 2))[1].tobytes()


@pytest.fixture(scope="module")
def depth_png(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return tree.random_depth(tmp_path_factory.mktemp("maps") / "map.png").read_bytes()


def chunks(png: bytes) -> Iterator[tuple[int, int]]:
    """The first byte and the number of content bytes of every chunk."""
    offset = 8
    while offset < len(png):
        length = int.from_bytes(png[offset : offset + 4])
        yield offset, length
        offset += 12 + length


def flipped(data: bytes, position: int, bits: int) -> bytes:
    return data[:position] + bytes([data[position] ^ bits]) + data[position + 1 :]


@pytest.mark.parametrize("suffix", READERS)
def test_header(suffix: str) -> None:
    assert READERS[suffix](encoded(suffix)) == ImageHeader((24, 32), 8, "RGB")


def test_header_of_a_depth_map(depth_png: bytes) -> None:
    assert read_png_header(depth_png) == ImageHeader(tree.SIZE, 16, "gray")


@pytest.mark.parametrize("suffix", READERS)
def test_every_truncation_is_found(suffix: str) -> None:
    data = encoded(suffix)
    for length in range(8, len(data)):
        with pytest.raises(ValueError, match="is truncated at byte"):
            READERS[suffix](data[:length])


def test_every_changed_byte_of_a_chunk_is_found(depth_png: bytes) -> None:
    for start, length in chunks(depth_png):
        # The type, of which this flips the case of a letter, the content and the checksum.
        for position in range(start + 4, start + 12 + length):
            with pytest.raises(ValueError, match="is damaged: wrong checksum of chunk"):
                read_png_header(flipped(depth_png, position, 0x20))


def test_a_changed_length_of_a_chunk_is_found(depth_png: bytes) -> None:
    for start, _ in chunks(depth_png):
        with pytest.raises(ValueError, match=r"is truncated at byte \d+ of chunk"):
            read_png_header(flipped(depth_png, start, 0x80))


def test_pixels_before_the_header_of_a_jpeg() -> None:
    with pytest.raises(ValueError, match="damaged at byte 2: no JPEG frame header"):
        read_jpeg_header(b"\xff\xd8\xff\xda" + bytes(20))


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_absurd_sizes_are_refused(suffix: str) -> None:
    data = png((20_000, 20_000), 16, 0, b"")
    if suffix == ".jpg":
        before, after = encoded(suffix).split(b"\xff\xc0")
        data = before + b"\xff\xc0" + after[:3] + struct.pack(">HH", 20_000, 20_000) + after[7:]
    for read in (READERS[suffix], image_headers.check_content):
        with pytest.raises(ValueError, match=r"is 20000x20000 .* than 200,000,000 pixels"):
            read(data)
