"""Reading of images and depth maps of any kind."""

import io
import os
import re
import zlib

import numpy as np
import pytest
from PIL import Image

from fcfrnet_jax.data.images import write_depth
from fcfrnet_jax.data.own import inputs
from fcfrnet_jax.data.own.inputs import DepthFormat, read_depth, read_image
from tests.data.pngs import png

ROWS, COLUMNS = 12, 20
_ORIENTATION = 0x0112


@pytest.fixture
def colours():
    return np.random.default_rng(0).integers(0, 256, (ROWS, COLUMNS, 3), np.uint8)


@pytest.fixture
def metres():
    """A scan with a median of 12 m."""
    depth = np.random.default_rng(1).uniform(4, 20, (ROWS, COLUMNS)).astype(np.float32)
    depth[::2] = 0
    return np.round(depth * 256) / 256


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P"])
def test_images_of_every_kind_are_colour(mode, colours, tmp_path):
    image = Image.fromarray(colours).quantize(16) if mode == "P" else Image.fromarray(colours)
    image = image.convert(mode)
    image.save(tmp_path / "image.png")
    expected = np.asarray(image.convert("L" if mode == "LA" else mode).convert("RGB"))
    np.testing.assert_array_equal(read_image(tmp_path / "image.png"), expected)


def test_images_of_16_bits_keep_their_range(tmp_path):
    values = np.array([[0, 128, 257, 32896, 65535]], np.uint16)
    Image.fromarray(values).save(tmp_path / "image.png")
    assert read_image(tmp_path / "image.png")[0, :, 1].tolist() == [0, 0, 1, 128, 255]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_of_a_jpeg_is_applied(orientation, tmp_path):
    gradient = np.add.outer(8 * np.arange(16), 4 * np.arange(32)).astype(np.uint8)
    exif = Image.Exif()
    exif[_ORIENTATION] = orientation
    data = io.BytesIO()
    Image.fromarray(gradient).save(data, "jpeg", quality=100, exif=exif)
    (tmp_path / "a.jpg").write_bytes(data.getvalue())
    turn = {
        1: gradient,
        2: gradient[:, ::-1],
        3: gradient[::-1, ::-1],
        4: gradient[::-1],
        5: gradient.T,
        6: np.rot90(gradient, -1),
        7: gradient[::-1, ::-1].T,
        8: np.rot90(gradient),
    }[orientation]
    np.testing.assert_allclose(read_image(tmp_path / "a.jpg")[..., 0], turn, atol=3)


def test_what_is_no_image_is_refused(tmp_path):
    (tmp_path / "a.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"a\.png: not a readable image, expected PNG, JPEG, BMP"):
        read_image(tmp_path / "a.png")


def test_a_truncated_png_is_refused_without_a_word_of_libpng(tmp_path, colours, capfd):
    Image.fromarray(colours).save(tmp_path / "a.png")
    content = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=r"a\.png: is truncated at byte .*; restore the file"):
        read_image(tmp_path / "a.png")
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("pixels", "fault"),
    [
        (b"garbage", "its pixels cannot be inflated"),
        (zlib.compress(bytes(3 * 13))[:-1] + b"!", "its pixels cannot be inflated"),
        (zlib.compress(bytes(2 * 13)), "it has 26 of 39 bytes of pixels"),
        (zlib.compress(bytes([7, *bytes(12)] * 3)), "unknown filter 7 of a row of pixels"),
    ],
)
def test_a_png_with_valid_checksums_and_bad_pixels_is_refused(pixels, fault, tmp_path, capfd):
    (tmp_path / "a.png").write_bytes(png((3, 4), 8, 2, pixels))
    with pytest.raises(ValueError, match=rf"a\.png: is damaged: {fault}.*; restore the file"):
        read_image(tmp_path / "a.png")
    assert capfd.readouterr().err == ""


def stored(folder, kind, metres):
    """The file of a kind, and the scale that it needs; None for the default."""
    path = folder / f"depth{kind}"
    if kind == ".png":
        write_depth(path, metres)
    elif kind == ".npy":
        np.save(path, metres.astype(np.float64))
    elif kind == ".npz":
        np.savez(path, depth=metres[..., None], other=metres + 1)
    else:
        path = path.with_suffix(".npy")
        np.save(path, np.rint(metres * 256).astype(np.int64))
        return path, DepthFormat(scale=256)
    return path, None


@pytest.mark.parametrize("kind", [".png", ".npy", ".npz", "integers"])
def test_depth_of_every_kind_is_in_metres(kind, metres, tmp_path):
    path, form = stored(tmp_path, kind, metres)
    depth = read_depth(path, form)
    assert depth.dtype == np.float32
    np.testing.assert_array_equal(depth, metres)


@pytest.mark.parametrize("scale", [1000, 5000])
def test_the_largest_number_of_16_bits_is_no_depth(scale, metres, tmp_path):
    values = np.minimum(np.rint(scale * metres), 65534).astype(np.uint16)
    values[:2] = 65535
    np.save(tmp_path / "a.npy", values)
    with pytest.raises(ValueError, match=r"of the depths are (65535|65\.535 m), the largest"):
        read_depth(tmp_path / "a.npy", DepthFormat(scale))
    depth = read_depth(tmp_path / "a.npy", DepthFormat(scale, max_depth=65000 / scale))
    assert not depth[:2].any()
    assert depth[2:].any()


def test_a_pipe_is_not_read(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    for read in (read_depth, read_image):
        with pytest.raises(ValueError, match=r"a\.png: is a pipe or device"):
            read(tmp_path / "a.png")


def test_a_truncated_npz_is_named(metres, tmp_path):
    np.savez_compressed(tmp_path / "a.npz", depth=metres)
    data = (tmp_path / "a.npz").read_bytes()
    for wrong in (data[:-30], data[:100] + bytes(50) + data[150:]):
        (tmp_path / "a.npz").write_bytes(wrong)
        with pytest.raises(ValueError, match=r"a\.npz: not a readable NumPy file"):
            read_depth(tmp_path / "a.npz")


def test_missing_depths_and_those_above_the_maximum_are_0(metres, tmp_path):
    metres[1, :3] = np.nan, np.inf, 19.0
    np.save(tmp_path / "a.npy", metres)
    depth = read_depth(tmp_path / "a.npy", DepthFormat(max_depth=15))
    finite = np.nan_to_num(metres, posinf=0)
    np.testing.assert_array_equal(depth, np.where(finite <= 15, finite, 0))


@pytest.mark.parametrize(
    ("unit", "scale", "likely"),
    [(1000, 0, 1000), (100, 0, 100), (256, 0, 256), (1, 256, 1), (5000, 256, 5000)],
)
def test_depth_in_another_unit_is_refused_with_the_likely_scale(
    unit, scale, likely, metres, tmp_path
):
    np.save(tmp_path / "a.npy", unit * metres)
    message = rf"with {scale or 1} values per metre, the median .*; likely depth_scale={likely} "
    with pytest.raises(ValueError, match=message):
        read_depth(tmp_path / "a.npy", DepthFormat(scale))
    assert read_depth(tmp_path / "a.npy", DepthFormat(scale, check=False)).any()


def test_the_check_has_the_limits_of_the_model(tmp_path):
    np.save(tmp_path / "near.npy", np.full((10, 10), 0.2, np.float32))
    np.save(tmp_path / "far.npy", np.full((10, 10), 14.0, np.float32))
    rooms = DepthFormat(limits=(0.1, 10.0))
    assert read_depth(tmp_path / "near.npy", rooms).all()
    with pytest.raises(ValueError, match=r"is 14 m; the model predicts 0\.1 to 10 m; "):
        read_depth(tmp_path / "far.npy", rooms)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.array([[-1.0, 2.0]]), "1 of 2 depths are negative, the lowest is -1 m"),
        (np.zeros((2, 2)), "no pixel has a depth"),
        (np.full((9, 9), 3000), r"holds integers \(int64\).*likely depth_scale=256"),
        (np.zeros((2, 3, 4)), r"expected depth \[H, W\], got float64 \(2, 3, 4\)"),
        (np.array([["a"]]), r"expected depth \[H, W\], got <U1"),
        (np.array([[{}]], object), "not a readable NumPy file"),
    ],
)
def test_unusable_arrays_are_refused(values, message, tmp_path):
    np.save(tmp_path / "a.npy", values, allow_pickle=True)
    with pytest.raises(ValueError, match=rf"a\.npy: {message}"):
        read_depth(tmp_path / "a.npy")


@pytest.mark.parametrize(
    ("place", "changes"),
    [
        (b"PK\x01\x02", {10: 99}),  # an unknown method of compression
        (b"PK\x01\x02", {8: 1}),  # encrypted
        (b"PK\x01\x02", {42: 250}),  # starts after the end
        (b"PK\x05\x06", {16: 255}),  # the list of files
        (b"NUMPY", {0: 0}),
        (b"PK\x03\x04", {50: 255, 60: 7, 70: 9}),
    ],
)
def test_a_damaged_archive_is_named(place, changes, tmp_path, metres):
    np.savez_compressed(tmp_path / "a.npz", depth=metres)
    data = bytearray((tmp_path / "a.npz").read_bytes())
    start = max(data.find(place), 0)
    for offset, value in changes.items():
        data[start + offset] = value
    (tmp_path / "a.npz").write_bytes(data)
    with pytest.raises(ValueError, match=r"a\.npz: not a readable NumPy file \("):
        read_depth(tmp_path / "a.npz")


def test_unusable_files_are_refused(tmp_path, colours, metres):
    np.savez(tmp_path / "a.npz", x=metres, y=metres)
    Image.fromarray(colours).save(tmp_path / "a.png")
    np.save(tmp_path / "cut.npy", metres)
    cut = (tmp_path / "cut.npy").read_bytes()
    for name, data in (
        ("cut.npy", cut[:300]),
        ("empty.npy", b""),
        ("empty.png", b""),
        ("text.npy", b"1 2 3"),
    ):
        (tmp_path / name).write_bytes(data)
    for name, message in {
        "a.npz": "not a readable NumPy file .it holds x, y; call one depth",
        "a.png": "expected a 16-bit single-channel depth PNG, got 3 channels of 8 bits",
        "cut.npy": "not a readable NumPy file",
        "text.npy": "not a readable NumPy file .it does not begin like a .npy or .npz file",
        "empty.npy": "not a readable NumPy file",
        "empty.png": "not a readable image",
    }.items():
        with pytest.raises(ValueError, match=rf"{re.escape(name)}: {message}"):
            read_depth(tmp_path / name)


def test_sizes_must_agree():
    inputs.check_pair(np.zeros((4, 6, 3), np.uint8), np.zeros((4, 6)))
    with pytest.raises(ValueError, match=r"the image is 4x6 .*, the depth 4x8; both must be of"):
        inputs.check_pair(np.zeros((4, 6, 3), np.uint8), np.zeros((4, 8)))
    with pytest.raises(ValueError, match="the depth 6x4; one of them is rotated"):
        inputs.check_pair(np.zeros((4, 6, 3), np.uint8), np.zeros((6, 4)))


def test_likely_scales_of_nothing():
    assert inputs.likely_scale(np.zeros((2, 2))) == []
