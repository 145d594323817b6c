"""Image files against OpenCV, and KITTI's encoding of depth."""

import cv2
import numpy as np
import pytest
from PIL import Image

from fcfrnet_jax.data.images import read_depth, read_image, write_depth, write_image

RANDOM = np.random.default_rng(0)
COLOUR = RANDOM.integers(0, 256, (5, 7, 3), np.uint8)


def test_a_colour_image_is_written_as_rgb(tmp_path):
    write_image(tmp_path / "image.png", COLOUR)
    pixels = cv2.imread(str(tmp_path / "image.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(pixels, COLOUR[..., ::-1])
    np.testing.assert_array_equal(read_image(tmp_path / "image.png"), COLOUR)


def test_a_gray_image_is_read_with_three_channels(tmp_path):
    write_image(tmp_path / "image.png", COLOUR[..., 0])
    pixels = cv2.imread(str(tmp_path / "image.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(pixels, COLOUR[..., 0])
    expected = np.repeat(COLOUR[..., :1], 3, axis=-1)
    np.testing.assert_array_equal(read_image(tmp_path / "image.png"), expected)


def test_depth_is_stored_in_256ths_of_a_metre(tmp_path):
    depth = RANDOM.uniform(0, 255.99, (5, 7)).astype(np.float32)
    depth[0, :2] = 0, 65535 / 256
    write_depth(tmp_path / "depth.png", depth)
    pixels = cv2.imread(str(tmp_path / "depth.png"), cv2.IMREAD_UNCHANGED)
    assert pixels.dtype == np.uint16
    np.testing.assert_array_equal(pixels, np.rint(256.0 * depth))
    restored = read_depth(tmp_path / "depth.png")
    assert restored.dtype == np.float32
    np.testing.assert_allclose(restored, depth, rtol=0, atol=0.5 / 256)


@pytest.mark.parametrize("value", [-0.1, 256.0, np.nan, np.inf])
def test_depth_that_the_format_cannot_hold(value, tmp_path):
    with pytest.raises(ValueError, match=r"depth.png: a 16-bit depth PNG holds 0 to 255.996 m"):
        write_depth(tmp_path / "depth.png", np.array([[1.0, value]]))
    assert not list(tmp_path.iterdir())


def test_other_arrays_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"expected a depth map \[H, W\], got shape \(5, 7, 3\)"):
        write_depth(tmp_path / "depth.png", COLOUR)
    with pytest.raises(ValueError, match=r"expected a uint8 image .*, got float64 \(5, 7, 3\)"):
        write_image(tmp_path / "image.png", COLOUR / 255.0)


@pytest.mark.parametrize("read", [read_image, read_depth])
def test_files_that_are_not_images(read, tmp_path):
    (tmp_path / "page.png").write_text("<html>404</html>")
    with pytest.raises(ValueError, match=r"page.png: not a readable image"):
        read(tmp_path / "page.png")


def test_an_image_is_not_a_depth_map(tmp_path):
    write_image(tmp_path / "image.png", COLOUR)
    with pytest.raises(ValueError, match=r"single-channel depth PNG, got uint8 \(5, 7, 3\)"):
        read_depth(tmp_path / "image.png")


@pytest.mark.parametrize("read", [read_depth, read_image])
def test_an_empty_file_is_named(read, tmp_path):
    path = tmp_path / "empty.png"
    path.touch()
    with pytest.raises(ValueError, match=r"empty.png: not a readable image"):
        read(path)


def test_the_orientation_in_exif_data_is_ignored(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # rotated by 90 degrees
    Image.fromarray(COLOUR).save(tmp_path / "image.jpg", exif=exif)
    assert read_image(tmp_path / "image.jpg").shape == COLOUR.shape
