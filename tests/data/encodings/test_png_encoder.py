"""Encoded PNG files against OpenCV and Pillow."""

import io
import sys
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from fcfrnet_jax.data.encodings import png_encoder
from fcfrnet_jax.data.encodings.png_encoder import encode
from fcfrnet_jax.data.images import depth_pixels


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (7, 1), (40, 67)])
def test_gray_pixels_are_kept(size: tuple[int, int], dtype: type) -> None:
    pixels = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, size, dtype, endpoint=True)
    for array in (pixels, np.asfortranarray(pixels), pixels[::-1]):
        data = encode(array)
        found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        assert found.dtype == dtype
        np.testing.assert_array_equal(found, array)
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(data))), array)


def test_colours_are_kept() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (13, 21, 3), np.uint8)
    for array in (pixels, pixels[..., ::-1], pixels[:, ::2]):
        found = np.asarray(Image.open(io.BytesIO(encode(array))))
        np.testing.assert_array_equal(found, array)


def test_without_isal_the_pixels_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.arange(600, dtype=np.uint16).reshape(20, 30)
    assert "isal" in sys.modules
    monkeypatch.setattr(png_encoder, "deflate", zlib)
    np.testing.assert_array_equal(depth_pixels(encode(pixels)), pixels)
