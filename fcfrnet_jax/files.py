"""Files that appear whole or not at all, and KITTI's PNG encoding of depth."""

import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np

# The KITTI depth benchmark stores uint16 = round(metres * 256); 0 means no measurement.
DEPTH_SCALE = 256.0


def describe(error: Exception) -> str:
    """One line for a person: what went wrong, and with which file."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, KeyError):
        return f"there is no {error.args[0]}"
    return str(error) or type(error).__name__


def cache_dir() -> Path:
    """The folder for what can be made again: `fcfrnet_jax` in `$XDG_CACHE_HOME`, or `~/.cache`.

    Raises:
      RuntimeError: this user has no home folder.
    """
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fcfrnet_jax"


@contextmanager
def atomic_path(path: str | os.PathLike) -> Iterator[Path]:
    """Yields a name beside `path` for a file or folder that takes its place when all went well.

    The sibling keeps the suffix, from which image writers choose their format. Missing parent
    folders are made. On an error the sibling is removed and what stood at `path` stays. A folder
    at `path` must be empty.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{uuid.uuid4().hex}{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary)
        temporary.unlink(missing_ok=True)


def write_json(path: str | os.PathLike, value: Any) -> None:
    """Writes `value` as indented JSON. NaN and infinity are refused: they are not JSON."""
    text = json.dumps(value, indent=2, allow_nan=False) + "\n"
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_image(path: str | os.PathLike, image: np.ndarray) -> None:
    """Writes `image`, uint8 `[H, W, 3]` RGB or `[H, W]` gray, as a PNG."""
    if image.dtype != np.uint8 or image.ndim not in (2, 3):
        raise ValueError(
            f"expected a uint8 image [H, W] or [H, W, 3], got {image.dtype} {image.shape}"
        )
    _write_png(path, image if image.ndim == 2 else image[..., ::-1])


def write_depth(path: str | os.PathLike, depth: np.ndarray) -> None:
    """Writes `depth`, `[H, W]` metres with 0 = missing, as KITTI's 16-bit PNG.

    Raises:
      ValueError: a negative or non-finite depth, or one beyond the format's 255.996 m.
    """
    if depth.ndim != 2:
        raise ValueError(f"expected a depth map [H, W], got shape {depth.shape}")
    encoded = np.rint(np.asarray(depth, np.float64) * DEPTH_SCALE)
    if not (np.isfinite(encoded).all() and encoded.min() >= 0 and encoded.max() <= 65535):
        raise ValueError(
            f"{path}: a 16-bit depth PNG holds 0 to 255.996 m, got {depth.min()} to {depth.max()} m"
        )
    _write_png(path, encoded.astype(np.uint16))


def _write_png(path: str | os.PathLike, pixels: np.ndarray) -> None:
    encoded, data = cv2.imencode(".png", np.ascontiguousarray(pixels))
    assert encoded
    with atomic_path(path) as temporary:
        temporary.write_bytes(data.tobytes())


def read_image(path: str | os.PathLike) -> np.ndarray:
    """Reads a colour or gray image file as uint8 `[H, W, 3]` RGB.

    Raises:
      ValueError: the file is no image that OpenCV can decode.
    """
    pixels = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)
    if pixels is None:
        raise ValueError(f"{path}: not a readable image")
    return np.ascontiguousarray(pixels[..., ::-1])


def read_depth(path: str | os.PathLike) -> np.ndarray:
    """Reads KITTI's 16-bit depth PNG as float32 `[H, W]` metres, 0 = missing.

    Raises:
      ValueError: the file is no single-channel 16-bit PNG.
    """
    pixels = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise ValueError(f"{path}: not a readable image")
    if pixels.dtype != np.uint16 or pixels.ndim != 2:
        raise ValueError(
            f"{path}: expected a 16-bit single-channel depth PNG, got {pixels.dtype} {pixels.shape}"
        )
    return (pixels / np.float32(DEPTH_SCALE)).astype(np.float32)
