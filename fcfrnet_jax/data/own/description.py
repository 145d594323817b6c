"""The description of a data set: patterns of its files, units, calibration and splits."""

import fnmatch
import json
import posixpath
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any

from fcfrnet_jax.data.own.folders import fields_of
from fcfrnet_jax.files import list_some, read_json

FILE = "dataset.json"
MAPS = ("sparse_depth", "ground_truth")
# The field of a pattern that names the split of a frame.
SPLIT = "split"
_PATTERNS = ("image", *MAPS)
_WILDCARD = re.compile(r"[*?[]")


@dataclass(frozen=True)
class Description:
    """What `dataset.json` says; its entries have the names of these attributes.

    Patterns are paths relative to the folder, with fields in braces and `*`, as in
    `folders.find_pairs`. Files with the same fields belong to one frame.

    Attributes:
      sparse_depth, image, ground_truth: patterns; the last two may be missing.
      depth_scale: stored values per metre of each depth map; 0 for the default of its kind of file,
        see `inputs.DepthFormat`.
      max_depth: metres; larger depths count as missing. 0 = no limit.
      intrinsics: (fx, fy, cx, cy) in pixels of all images, the pattern of text files with the nine
        numbers of a camera matrix, or None.
      splits: for each split, patterns of the names of its frames, such as `drive_1/*`. Empty if the
        patterns have the field `split`.
      limits: metres, the range to which depth is clipped for evaluation.
    """

    sparse_depth: str
    image: str = ""
    ground_truth: str = ""
    depth_scale: dict[str, float] = field(default_factory=dict)
    max_depth: float = 0.0
    intrinsics: tuple[float, float, float, float] | str | None = None
    splits: dict[str, list[str]] = field(default_factory=dict)
    limits: tuple[float, float] = (0.1, 100.0)

    @property
    def patterns(self) -> dict[str, str]:
        """The patterns that are given, by the names of the arrays."""
        found = {name: getattr(self, name) for name in _PATTERNS}
        return {name: pattern for name, pattern in found.items() if pattern}

    @property
    def reading(self) -> str:
        """How stored values become metres."""
        scales = {name: float(self.depth_scale.get(name, 0)) for name in MAPS}
        return json.dumps({"depth_scale": scales, "max_depth": float(self.max_depth)})

    def split_of(self, name: str, texts: Mapping[str, str]) -> set[str]:
        """The splits to which the frame `name` belongs, given the texts of its fields."""
        if SPLIT in texts:
            return {texts[SPLIT]}
        return {
            split
            for split, (names, expression) in self._members.items()
            if name in names or expression.match(name)
        }

    @cached_property
    def _members(self) -> dict[str, tuple[set[str], re.Pattern[str]]]:
        """The names in the splits, of which there may be many, and what the patterns match."""
        found = {}
        for split, entries in self.splits.items():
            names = {entry for entry in entries if not _WILDCARD.search(entry)}
            patterns = [fnmatch.translate(entry) for entry in entries if entry not in names]
            found[split] = names, re.compile("|".join(patterns) or "(?!)")
        return found


def read_description(folder: Path) -> Description:
    """Reads and checks the `dataset.json` of a folder.

    Raises:
      ValueError: it is damaged, an entry is unknown, missing or of another kind, or the patterns
        have different fields.
    """
    path = folder / FILE
    if not path.is_file():
        raise ValueError(f"{path}: is not a file; describe the data set as docs/own_data.md does")
    record = read_json(path, "describe the data set as docs/own_data.md does")
    try:
        return _checked(record)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _checked(record: Any) -> Description:
    if not isinstance(record, dict):
        raise ValueError('expected an object with entries such as "sparse_depth"')
    known = [entry.name for entry in fields(Description)]
    unknown = [name for name in record if name not in known]
    if unknown:
        raise ValueError(f"unknown entry {unknown[0]!r}; known are {', '.join(known)}")
    if "sparse_depth" not in record:
        raise ValueError('"sparse_depth", the pattern of the sparse depth, is missing')
    given = dict(record)
    patterns = {name: given[name] for name in _PATTERNS if name in given}
    for name, pattern in patterns.items():
        found = posixpath.normpath(pattern) if isinstance(pattern, str) and pattern else "/"
        is_inside = not posixpath.isabs(found) and found.split("/")[0] != ".."
        _check(is_inside, name, "a pattern of paths relative to the folder and in it", pattern)
        given[name] = patterns[name] = found
    expected = sorted(fields_of(patterns["sparse_depth"], "sparse_depth"))
    for name, pattern in patterns.items():
        if sorted(fields_of(pattern, name)) != expected:
            raise ValueError(
                f"{name}={pattern} and sparse_depth={patterns['sparse_depth']} must have the same "
                "fields in braces"
            )
    given["depth_scale"] = _scales(given.get("depth_scale", {}))
    if "max_depth" in given:
        _check(_is_number(given["max_depth"]), "max_depth", "metres, 0 or more", given["max_depth"])
    if "limits" in given:
        given["limits"] = _limits(given["limits"])
    if "intrinsics" in given:
        given["intrinsics"] = _intrinsics(given["intrinsics"], expected)
    _check_splits(given.get("splits", {}), SPLIT in expected)
    return Description(**given)


def _scales(value: Any) -> dict[str, float]:
    scales = dict.fromkeys(MAPS, value) if _is_number(value) else value
    good = isinstance(scales, dict) and {*scales} <= {*MAPS}
    good = good and all(map(_is_number, scales.values()))
    _check(good, "depth_scale", f"a number, or one for each of {', '.join(MAPS)}", value)
    return scales


def _limits(value: Any) -> tuple[float, float]:
    good = isinstance(value, list) and len(value) == 2 and all(map(_is_number, value))
    _check(good and 0 < value[0] < value[1], "limits", "[smallest, largest] in metres", value)
    return float(value[0]), float(value[1])


def _intrinsics(value: Any, known: list[str]) -> tuple[float, float, float, float] | str:
    if isinstance(value, str):
        if "{" in value and not {*fields_of(value, "intrinsics")} <= {*known}:
            raise ValueError(
                f"intrinsics={value} must have fields of the other patterns: {', '.join(known)}"
            )
        return value
    good = isinstance(value, list) and len(value) == 4 and all(map(_is_number, value))
    _check(
        good and value[0] > 0 and value[1] > 0,
        "intrinsics",
        "[fx, fy, cx, cy] in pixels, or the path or pattern of text files",
        value,
    )
    fx, fy, cx, cy = map(float, value)
    return fx, fy, cx, cy


def _check_splits(value: Any, in_patterns: bool) -> None:
    lists = isinstance(value, dict) and all(
        isinstance(names, list) and names and all(isinstance(name, str) for name in names)
        for names in value.values()
    )
    if lists:
        good = all(split.strip(".") and "/" not in split for split in value)
        _check(good, "the names of splits", "words without slashes", [*value])
    _check(lists, "splits", 'lists of names by split, such as {"train": ["drive_1/*"]}', value)
    if bool(value) == in_patterns:
        raise ValueError(
            "the splits must be given either by the entry splits, or by the field {split} of the "
            f"patterns, but {'both are' if value else 'neither is'} there"
        )


def _is_number(value: Any) -> bool:
    # JSON has integers that no float holds.
    return type(value) in (int, float) and 0 <= value <= sys.float_info.max


def _check(good: Any, name: str, expected: str, value: Any) -> None:
    if not good:
        raise ValueError(f"{name} must be {expected}, got {list_some([repr(value)[:80]])}")
