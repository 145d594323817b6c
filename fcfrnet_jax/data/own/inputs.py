"""Reads images and depth maps of any kind from files."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from absl import logging

from fcfrnet_jax.data import plausibility
from fcfrnet_jax.data.images import DEPTH_SCALE
from fcfrnet_jax.data.own.decoding import decode, read_array, read_png

# The unit of a depth map by the number of its values per metre.
SCALES = {
    1.0: "metres",
    100.0: "centimetres",
    DEPTH_SCALE: "1/256 m, as KITTI's",
    1000.0: "millimetres",
    5000.0: "1/5000 m, as TUM's",
}
# Metres. Medians that scans have, and the largest depth that all but 5% have.
LIKELY_MEDIAN, LIKELY_FAR = (0.5, 60.0), 150.0
_TYPICAL = 10.0
_SIXTEEN_BITS = 257.0
_IMAGES = "PNG, JPEG, BMP, TIFF or WebP"
_LARGEST = 65535


@dataclass(frozen=True)
class DepthFormat:
    """How depth is stored.

    Attributes:
      scale: values per metre; 0 = 256 in PNG files and 1 in arrays of floating-point numbers.
      max_depth: metres; larger depths count as missing. 0 = no limit.
      check: whether depth that cannot be right is refused.
      limits: the smallest and the largest depth in metres that the model predicts, for the check.
    """

    scale: float = 0.0
    max_depth: float = 0.0
    check: bool = True
    limits: tuple[float, float] = plausibility.LIMITS


def read_image(path: str | os.PathLike) -> np.ndarray:
    """Reads an image of any kind as uint8 `[H, W, 3]` RGB.

    Gray images get three equal channels, 16-bit values are divided by 257, transparency is ignored,
    and the orientation in the Exif data of a JPEG file is applied.

    Raises:
      ValueError: OpenCV cannot decode the file.
      OSError: the file cannot be opened.
    """
    import cv2

    pixels = decode(Path(path), cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH, _IMAGES)
    if pixels.dtype == np.uint16:
        pixels = np.rint(pixels / np.float32(_SIXTEEN_BITS)).astype(np.uint8)
    if pixels.dtype != np.uint8:
        raise ValueError(
            f"{path}: expected an image with 8 or 16 bits per channel, got {pixels.dtype}"
        )
    return np.ascontiguousarray(pixels[..., ::-1])


def read_depth(path: str | os.PathLike, form: DepthFormat | None = None) -> np.ndarray:
    """Reads a sparse depth map as float32 `[H, W]` metres, 0 = missing.

    Args:
      path: a 16-bit PNG file with one channel, or an array `[H, W]` of integers or floating-point
        numbers in a `.npy` file or in a `.npz` file, which holds one array or names it `depth` or
        `sparse_depth`. NaN and infinity count as missing.
      form: the scale and the limit; None for the defaults.

    Raises:
      ValueError: another kind of file, negative depths, no depths, integers without a scale, or, if
        `form.check`, depth that cannot be right; the message names the likely scale.
      OSError: the file cannot be opened.
    """
    form, path = form or DepthFormat(), Path(path)
    values, scale = read_values(path, form)
    metres = np.divide(values, scale, dtype=np.float32)
    metres[~np.isfinite(metres)] = 0.0
    lowest = metres.min()
    if lowest < 0:
        count = np.count_nonzero(metres < 0)
        raise ValueError(
            f"{path}: {count} of {metres.size} depths are negative, the lowest is {lowest:g} m; a "
            "missing depth must be 0 or NaN"
        )
    if form.check:
        over = 0 < form.max_depth < metres.max()
        known = np.where(metres < metres.max(), metres, 0) if over else metres
        check_plausible(path, values, known, scale, form.limits)
    _check_largest_code(path, values, form.max_depth * scale)
    if form.max_depth:
        metres[metres > form.max_depth] = 0.0
    if not metres.any():
        within = f" up to {form.max_depth:g} m" if form.max_depth else ""
        raise ValueError(f"{path}: no pixel has a depth{within}")
    return metres


def read_values(path: Path, form: DepthFormat) -> tuple[np.ndarray, float]:
    """Reads the stored values of a depth map, `[H, W]`, and their number per metre.

    Raises:
      ValueError: another kind of file, or integers without a scale.
      OSError: the file cannot be opened.
    """
    is_png = path.suffix.lower() == ".png"
    values = read_png(path) if is_png else read_array(path)
    if not form.scale and not is_png and values.dtype.kind in "iu":
        raise ValueError(
            f"{path}: holds integers ({values.dtype}) in an unknown unit; set depth_scale=N, where "
            f"N is the number of values per metre{scale_advice(values, None)}"
        )
    return values, form.scale or (DEPTH_SCALE if is_png else 1.0)


def check_pair(image: np.ndarray, depth: np.ndarray, where: str = "") -> None:
    """Raises ValueError unless an image and a depth map have the same height and width."""
    if image.shape[:2] == depth.shape:
        return
    (height, width), (rows, columns) = image.shape[:2], depth.shape
    hint = "both must be of the same camera and size; project the scan into this image"
    if (height, width) == (columns, rows):
        hint = (
            "one of them is rotated: the orientation in a JPEG file's Exif data is applied to the "
            "image"
        )
    raise ValueError(
        f"{where}the image is {height}x{width} (height x width), the depth {rows}x{columns}; {hint}"
    )


def likely_scale(values: np.ndarray) -> list[float]:
    """The scales at which the values of a depth map are plausible, the most likely one first.

    Args:
      values: stored depths; 0 or not finite = missing.

    Returns:
      Keys of `SCALES`: those for which the median and the 95th percentile are depths of a scan,
      ordered by how close the median is to 10 m.
    """
    values = values[np.isfinite(values) & (values > 0)]
    if not values.size:
        return []
    median, far = (float(value) for value in np.percentile(values, (50, 95)))
    low, high = LIKELY_MEDIAN
    found = [s for s in SCALES if low <= median / s <= high and far / s <= LIKELY_FAR]
    return sorted(found, key=lambda scale: abs(np.log(median / scale / _TYPICAL)))


def scale_advice(values: np.ndarray, used: float | None) -> str:
    """Returns what to set if the values are plausible in another unit, else an empty text.

    Args:
      values: stored depths; 0 or not finite = missing.
      used: the number of values per metre that was used, or None.
    """
    likely = [scale for scale in likely_scale(values) if scale != used]
    if not likely:
        return ""
    median = float(np.median(values[np.isfinite(values) & (values > 0)]))
    first, *others = [
        f"depth_scale={scale:g} ({SCALES[scale]}) gives a median of {median / scale:.3g} m"
        for scale in likely[:2]
    ]
    return "; ".join(["", f"likely {first}", *others])


def check_plausible(
    path: Path,
    values: np.ndarray,
    metres: np.ndarray,
    scale: float,
    limits: tuple[float, float] = plausibility.LIMITS,
) -> None:
    """Checks the sparse depth of a file.

    Args:
      path: the file.
      values: the stored depths; 0 or not finite = missing.
      metres: `values / scale`.
      scale: values per metre.
      limits: see `DepthFormat`.

    Raises:
      ValueError: the depth cannot be right; the message names the likely scale.
    """
    maps = {"sparse_depth": metres}
    for finding in plausibility.find_implausible(maps, limits=limits, of_model=True):
        if not finding.impossible:
            if finding.kind == "far":
                logging.log_first_n(logging.WARNING, "%s: %s", 1, path, finding.text)
            continue
        way_out = "check_depth=False skips this check"
        if finding.kind in ("far", "near"):
            present = metres[metres > 0]
            model = "" if limits == plausibility.LIMITS else "; the model predicts {:g} to {:g} m"
            raise ValueError(
                f"{path}: with {scale:g} values per metre, the median of the depths is "
                f"{np.median(present):.4g} m and the largest is {present.max():.4g} m"
                f"{model.format(*limits)}"
                f"{scale_advice(values, scale)}; {way_out}"
            )
        raise ValueError(f"{path}: {finding.text}; {way_out}")


def _check_largest_code(path: Path, values: np.ndarray, limit: float) -> None:
    """Raises ValueError if many values are the largest of 16 bits, unless it is over a limit."""
    if values.dtype != np.uint16 or 0 < limit < _LARGEST:
        return
    share = int(np.sum(values == _LARGEST)) / max(int(np.sum(values > 0)), 1)
    if share > plausibility.MAX_LARGEST:
        raise ValueError(
            f"{path}: {share:.1%} of the depths are {_LARGEST}, the largest number of 16 bits, as "
            "for a missing depth; write 0 for it, or set max_depth"
        )
