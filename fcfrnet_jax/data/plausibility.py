"""Compares the depth maps of frames, so that data in a wrong unit or place is not used unnoticed.

Impossible input is refused; input that is merely unusual causes one warning. The thresholds lie
between what was measured on recordings and rendered streets, and what mistakes give;
docs/data.md lists both.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from absl import logging

from fcfrnet_jax.data.frame import Frame
from fcfrnet_jax.data.images import DEPTH_SCALE
from fcfrnet_jax.data.reading import is_from_png, paths_of, read_arrays
from fcfrnet_jax.geometry import Size, crop_offsets, crop_size

SAMPLES = 8  # frames that are compared, spread over a list
# Statistics of fewer pixels are not judged.
MIN_PIXELS = 50
# Metres, what networks for KITTI predict.
LIMITS = (0.9, 100.0)
# Metres. A median below this, and below what the networks predict, is impossible.
NEAR = 0.25
MAX_FAR = 0.05  # largest share of depths over the limit
# Largest share of pixels without a depth in a coarse map.
MAX_HOLES = 0.001
# Largest share of pixels with a depth in LiDAR scans. Depth cameras exceed it.
DENSE = 0.5
# A value that stands for a missing depth: its share of the pixels with a depth, and the largest of
# the other depths (their 99.9th percentile), relative to it.
MAX_LARGEST, GAP = 0.05, 0.95
# Metres. Outdoors, software writes the range of the sensor or of the evaluation for a missing
# depth, such as 80, 100 or 120 m. Nearer, it may be a wall, or the range of a depth camera (10 m).
FAR_WALL = 60.0
# The same share for the largest value of a 16-bit PNG, which no sensor measures.
LARGEST_CODE, MAX_LARGEST_CODE = 65535 / DEPTH_SCALE, 0.005
# Largest median ratio, or its inverse, of two maps at the pixels that both have.
MAX_RATIO = 1.5
# Two maps agree at a pixel if their depths differ by less than this share; by the second, if one of
# them is converted to another unit.
AGREEMENT, AGREEMENT_OF_UNITS = 0.1, 0.2
# Smallest share of pixels at which two maps must agree.
MIN_AGREEMENT = 0.5
# Largest share of the ground truth's pixels at which a map has exactly the same depth: for sparse
# depth that is not sparser than the ground truth, and for all other maps.
MAX_LEAK, MAX_SHARED = 0.25, 0.5
# How many times too far depth is read if a PNG holds it in another unit than 1/256 m.
UNITS = {
    "metres": 1 / DEPTH_SCALE,
    "centimetres": 100 / DEPTH_SCALE,
    "millimetres": 1000 / DEPTH_SCALE,
    "1/5000 m": 5000 / DEPTH_SCALE,
}


@dataclass(frozen=True)
class Finding:
    """Something that a depth map should not have.

    Attributes:
      kind: a word for the kind of finding.
      depth: the map: "sparse_depth", "coarse_depth" or "ground_truth".
      text: continues a sentence that begins with the name of the map.
      impossible: whether the input must be refused; otherwise it is only unusual.
    """

    kind: str
    depth: str
    text: str
    impossible: bool


def find_implausible(
    maps: Mapping[str, np.ndarray],
    names: Mapping[str, str | Path] | None = None,
    limits: tuple[float, float] = LIMITS,
    *,
    of_model: bool = False,
    png: bool = True,
) -> list[Finding]:
    """Looks for signs of wrong data in the depth maps of one frame.

    Args:
      maps: "sparse_depth", "coarse_depth" and "ground_truth", or some of them, `[H, W]` metres,
        0 = missing.
      names: what the texts call the maps; their keys by default.
      limits: the smallest and largest depth in metres that networks for this data predict.
      of_model: whether they are those of a network, which may be used on data with larger depths.
        These are then only unusual up to `LIMITS`, if most depths are within the limits.
      png: whether the maps may be from PNG files, which advice then mentions.

    Returns:
      What was found: values that stand for a missing depth, another unit, missing pixels of coarse
      depth, dense sparse depth, ground truth given as an input, and maps that disagree.
    """
    names = {key: key.replace("_", " ") for key in maps} | dict(names or {})
    found = [
        item
        for key, depth in maps.items()
        for item in _findings_of_map(key, depth, limits, of_model, png)
    ]
    if any(finding.impossible for finding in found):
        # Comparing such a map with others would report the same mistake again.
        return found
    for key, other in (
        ("sparse_depth", "ground_truth"),
        ("coarse_depth", "ground_truth"),
        ("coarse_depth", "sparse_depth"),
    ):
        if key in maps and other in maps:
            found += _findings_of_pair(key, maps[key], other, maps[other], str(names[other]), png)
    return found


class ImpossibleDepthError(ValueError):
    """The depth maps of a frame cannot be right.

    Attributes:
      frame: the frame.
      finding: what is impossible.
    """

    def __init__(self, message: str, frame: Frame, finding: Finding) -> None:
        super().__init__(message)
        self.frame, self.finding = frame, finding


def sample_frames(frames: Sequence[Frame]) -> list[Frame]:
    """Returns `SAMPLES` of the frames, spread over the list, or all if they are fewer."""
    positions = np.unique(np.linspace(0, len(frames) - 1, min(SAMPLES, len(frames)), dtype=int))
    return [frames[i] for i in positions]


def check_depth(frames: Sequence[Frame], crop: Size, limits: tuple[float, float] = LIMITS) -> None:
    """Applies `find_implausible` to each frame, and logs one warning of each kind.

    Args:
      frames: frames that have passed `check.check_frames` with the same crop; see `sample_frames`.
      crop: (height, width) in pixels of the part at the bottom centre that is compared; 0 = the
        whole height or width.
      limits: as in `find_implausible`.

    Raises:
      ImpossibleDepthError: a map is impossible.
      ValueError: a file cannot be read.
    """
    unusual: dict[tuple[str, str], list[str]] = {}
    for frame in frames:
        paths = {key: path for key, path in paths_of(frame).items() if key != "image"}
        arrays = read_arrays(frame, paths.keys())
        maps = {key: _cropped(arrays[key], crop) for key in paths}
        for finding in find_implausible(maps, paths, limits, png=is_from_png(frame)):
            text = f"{paths[finding.depth]}: {finding.text}"
            if finding.impossible:
                raise ImpossibleDepthError(text, frame, finding)
            unusual.setdefault((finding.kind, finding.depth), []).append(text)
    for texts in unusual.values():
        logging.warning("%s (found in %d of %d compared frames)", texts[0], len(texts), len(frames))


def _cropped(depth: np.ndarray, crop: Size) -> np.ndarray:
    """The crop of a depth map; a coarse map may already have its size."""
    crop = crop_size(depth.shape, crop)
    top, left = crop_offsets(depth.shape, crop)
    return depth[top : top + crop[0], left : left + crop[1]]


def _findings_of_map(
    key: str, depth: np.ndarray, limits: tuple[float, float], of_model: bool, png: bool
) -> Iterator[Finding]:
    closest, farthest = limits
    values = depth[depth > 0]
    density = values.size / depth.size
    if key == "coarse_depth" and density < 1:
        text = (
            f"{1 - density:.2%} of the pixels have no depth; coarse depth must be dense, because "
            f"a missing depth counts as {closest:g} m"
        )
        yield Finding("holes", key, text, 1 - density > MAX_HOLES)
    elif not values.size:
        yield Finding("empty", key, "no pixel has a depth", False)
    if values.size < MIN_PIXELS:
        if values.size and key == "sparse_depth":
            text = f"only {values.size} of {depth.size} pixels have a depth"
            yield Finding("few", key, text, False)
        return
    missing = _finding_of_largest(key, values)
    # Values over 255 m saturate in a PNG, so millimetres can look like both mistakes.
    others = values[values < values.max()] if missing else values
    far, median = (
        float(np.mean(others > farthest)) if others.size else 0.0,
        float(np.median(values)),
    )
    if far > MAX_FAR:
        beyond = of_model and median <= farthest and np.mean(others > LIMITS[1]) <= MAX_FAR
        text = (
            f"{far:.0%} of the depths are over {farthest:.3g} m, the largest depth of a model, and "
            f"their median is {median:.4g} m"
        )
        if not beyond:
            text += "; depth must be in metres" + (
                ", which a PNG stores times 256 (millimetres times 0.256)" if png else ""
            )
        yield Finding("far", key, text, not beyond)
        if not beyond:
            return
    if missing:
        yield missing
        if missing.impossible:
            return
    if median < closest:
        text = (
            f"the median of the depths is {median:.3g} m, and models predict at least {closest:g} "
            f"m; depth must be in metres{', which a PNG stores times 256' if png else ''}"
        )
        yield Finding("near", key, text, median < min(NEAR, closest))
    if key == "sparse_depth" and density > DENSE:
        text = (
            f"{density:.0%} of the pixels have a depth, as in a dense map; LiDAR covers about 5%, "
            "depth cameras more; coarse maps are not sparse depth and are given separately"
        )
        yield Finding("dense", key, text, False)


def _finding_of_largest(key: str, values: np.ndarray) -> Finding | None:
    largest = float(values.max())
    others = values[values < largest]
    share = 1 - others.size / values.size
    is_gap = others.size > 0 and float(np.percentile(others, 99.9)) < GAP * largest
    if not (
        (share > MAX_LARGEST and is_gap) or (share > MAX_LARGEST_CODE and largest == LARGEST_CODE)
    ):
        return None
    code = " (65535 in a PNG)" if largest == LARGEST_CODE else ""
    impossible = largest >= FAR_WALL
    text = (
        f"{share:.1%} of the depths are {largest:.6g} m{code}, the largest value, which "
        f"{'seems to' if impossible else 'may'} stand for a missing depth; a missing depth must "
        "be 0"
    )
    return Finding("largest", key, text, impossible)


def _findings_of_pair(
    key: str, depth: np.ndarray, other_key: str, other: np.ndarray, name: str, png: bool
) -> Iterator[Finding]:
    both = (depth > 0) & (other > 0)
    count, others = int(both.sum()), int((other > 0).sum())
    if count < MIN_PIXELS:
        return
    equal = float((depth[both] == other[both]).sum()) / others
    sparser = key == "coarse_depth" or int((depth > 0).sum()) * 1.05 < others
    if other_key == "ground_truth" and equal > (MAX_SHARED if sparser else MAX_LEAK):
        impossible = key == "coarse_depth" or not sparser
        text = f"it has exactly the depth of {name} at {equal:.0%} of that map's {others} pixels; "
        text += (
            "the ground truth must not be an input"
            if impossible
            else "only the other pixels measure depth completion"
        )
        yield Finding("leak", key, text, impossible)
    ratios = depth[both] / other[both]
    ratio = float(np.median(ratios))
    unit = _unit(ratios)
    if not 1 / MAX_RATIO <= ratio <= MAX_RATIO:
        hint = f", as if {unit}" if unit else ""
        text = (
            f"at the {count} pixels that both have, the depths are {ratio:.3g} times those of "
            f"{name} (median){hint}" + ("; a depth PNG holds 256 times the metres" if png else "")
        )
        yield Finding("unit", key, text, unit is not None)
        return
    agree = float(np.mean(np.abs(ratios - 1) < AGREEMENT))
    if key == "sparse_depth" and agree < MIN_AGREEMENT:
        text = (
            f"only {agree:.0%} of the {count} depths that {name} has too agree with it within "
            f"{AGREEMENT:.0%}; the two may belong to different frames"
        )
        yield Finding("disagree", key, text, False)


def _unit(ratios: np.ndarray) -> str | None:
    """Which map is in which unit, if one conversion makes most of the depths agree."""
    for which, factors in (("it was", ratios), ("the other one was", 1 / ratios)):
        for unit, factor in UNITS.items():
            if np.mean(np.abs(factors / factor - 1) < AGREEMENT_OF_UNITS) > MIN_AGREEMENT:
                return f"{which} stored in {unit}"
    return None
