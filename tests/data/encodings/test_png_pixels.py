"""The pixels of PNG files, compared with what OpenCV decodes."""

import io
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from fcfrnet_jax.data.encodings.image_headers import read_png
from fcfrnet_jax.data.encodings.png_pixels import has_high_byte, inflate, uncompressed
from tests.data.pngs import png

# Bits and colour types with the bits of a pixel.
KINDS = {(1, 0): 1, (8, 0): 8, (16, 0): 16, (8, 2): 24, (4, 3): 4, (16, 4): 32, (8, 6): 32}


def stream_of(size: tuple[int, int], pixel_bits: int, *, interlace: int) -> bytes:
    """Rows of zeros, counted pass by pass with slices of an array."""
    pixels = np.zeros(size)
    starts = [(0, 0), (0, 4), (4, 0), (0, 2), (2, 0), (0, 1), (1, 0)]
    steps = [(8, 8), (8, 8), (8, 4), (4, 4), (4, 2), (2, 2), (2, 1)]
    parts = [pixels[a::c, b::d] for (a, b), (c, d) in zip(starts, steps, strict=True)]
    rows = [part.shape for part in (parts if interlace else [pixels]) if part.size]
    return b"".join(bytes(height * (1 + -(-width * pixel_bits // 8))) for height, width in rows)


@pytest.mark.parametrize("interlace", [0, 1])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [(1, 1), (3, 5), (16, 9)])
def test_one_missing_byte_is_found(size: tuple, kind: tuple, interlace: int) -> None:
    rows = stream_of(size, KINDS[kind], interlace=interlace)
    assert inflate(*read_png(png(size, *kind, zlib.compress(rows), interlace=interlace))).size
    short = png(size, *kind, zlib.compress(rows[:-1]), interlace=interlace)
    with pytest.raises(ValueError, match=rf"it has {len(rows) - 1} of {len(rows)} bytes of pixels"):
        inflate(*read_png(short))
    assert cv2.imdecode(np.frombuffer(short, np.uint8), cv2.IMREAD_UNCHANGED) is None


def test_more_pixels_than_needed_are_ignored() -> None:
    rows = bytes(3 * 4)
    assert inflate(*read_png(png((3, 3), 8, 0, zlib.compress(rows + b"more")))).tobytes() == rows


@pytest.mark.parametrize("kind", KINDS)
def test_a_header_may_claim_any_size(kind: tuple) -> None:
    with pytest.raises(ValueError, match=r"it has 9 of \d+ bytes of pixels"):
        inflate(*read_png(png((14_000, 14_000), *kind, zlib.compress(bytes(9)))))


def test_pillow_agrees_about_interlaced_pixels() -> None:
    rows = stream_of((13, 11), 8, interlace=1)
    file = io.BytesIO(png((13, 11), 8, 0, zlib.compress(rows), interlace=1))
    assert not np.asarray(Image.open(file)).any()


@pytest.mark.parametrize("seed", range(20))
def test_a_box_with_a_high_byte(seed: int) -> None:
    """A yes is never wrong, and a no only where the first row or column has pixels."""
    rng = np.random.default_rng(seed)
    depth = rng.integers(0, 65536, (12, 10), np.uint16) * (rng.random((12, 10)) < 0.1)
    depth[rng.random((12, 10)) < 0.1] = 200
    header, pixels = read_png(cv2.imencode(".png", depth.astype(np.uint16))[1].tobytes())
    stream = inflate(header, pixels)
    for _ in range(20):
        top, left = rng.integers(0, 9, 2)
        size = int(rng.integers(2, 13 - top)), int(rng.integers(2, max(3, 11 - left)))
        box = depth[top : top + size[0], left : left + size[1]]
        found = has_high_byte(header, stream, (int(top), int(left), size))
        assert not found or (box >= 256).any()
        if (box[0] < 256).all() and (box[:, 0] < 256).all():
            assert found == (box >= 256).any()


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3), (300, 500, 3)])
def test_decoders_read_pixels_that_are_not_compressed(shape: tuple) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    data = cv2.imencode(".png", pixels)[1].tobytes()
    stored = uncompressed(data, inflate(*read_png(data)))
    found = cv2.imdecode(np.frombuffer(stored, np.uint8), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(found, pixels)
    read_png(stored)  # checks the checksums
