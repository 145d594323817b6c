"""Pairs the images and depth files of folders by name."""

import os
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fcfrnet_jax.files import list_some

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
DEPTH_SUFFIXES = (".png", ".npy", ".npz")
# The path of a file relative to its folder.
PATTERN = "{name}"
_FIELD = re.compile(r"\{(\w*)\}|(\*)")

Key = tuple[str, ...]


@dataclass(frozen=True)
class Pair:
    """The files of one frame.

    Attributes:
      name: unique; for files of folders the text of the fields of the pattern, joined by `/`.
      image: the image, or None for models without one.
      depth: the sparse depth.
    """

    name: str
    image: Path | None
    depth: Path


@dataclass(frozen=True)
class Pairs:
    """What two folders hold.

    Attributes:
      pairs: sorted by name.
      without_depth: images without a depth file.
      without_image: depth files without an image.
    """

    pairs: list[Pair]
    without_depth: list[Path]
    without_image: list[Path]


def find_pairs(
    image: str | os.PathLike | None,
    depth: str | os.PathLike,
    *,
    image_pattern: str = PATTERN,
    depth_pattern: str = PATTERN,
    depth_suffixes: Collection[str] = DEPTH_SUFFIXES,
    kind: str = "depth",
) -> Pairs:
    """Pairs an image with a depth file, or the images of a folder with the depth files of another.

    Folders are searched with their subfolders; hidden files are ignored. A pattern describes the
    path of a file relative to its folder: `{FIELD}` stands for the shortest text that matches, and
    for the same text if it is repeated; `*` stands for any text without `/`. The suffix may be left
    out. Files whose fields are equal belong together, such as `left/0001.jpg` and `0001_lidar.npy`
    for the patterns `left/{name}` and `{name}_lidar`. Other files are not read.

    Args:
      image: a file, a folder, or None for depth files alone.
      depth: a file if `image` is one, else a folder.
      image_pattern, depth_pattern: the patterns; both must have the same fields.
      depth_suffixes: of the depth files.
      kind: what messages call the depth files and their argument, such as "scan".

    Raises:
      ValueError: a path that does not exist, a file and a folder, patterns that do not fit, two
        files with the same fields, or no pair.
    """
    depth = _existing(depth, kind)
    if image is not None:
        image = _existing(image, "image")
        if image.is_dir() != depth.is_dir():
            kinds = ["a folder" if path.is_dir() else "a file" for path in (image, depth)]
            raise ValueError(
                f"image={image} is {kinds[0]}, but {kind}={depth} is {kinds[1]}; give two files, "
                "or two folders"
            )
    if not depth.is_dir():
        return Pairs([Pair((image or depth).stem, image, depth)], [], [])
    fields = fields_of(depth_pattern, f"{kind}_pattern")
    depths = _files(depth, depth_pattern, fields, depth_suffixes, kind)
    if image is None:
        pairs = [Pair(name_of(key), None, path) for key, path in sorted(depths.items())]
        return Pairs(pairs, [], [])
    if sorted(fields_of(image_pattern, "image_pattern")) != sorted(fields):
        raise ValueError(
            f"image_pattern={image_pattern} and {kind}_pattern={depth_pattern} must have the same "
            "fields, such as {name} in both"
        )
    images = _files(image, image_pattern, fields, IMAGE_SUFFIXES, "image")
    common = sorted(images.keys() & depths.keys())
    if not common:
        _raise_no_pair(images, depths, kind)
    return Pairs(
        [Pair(name_of(key), images[key], depths[key]) for key in common],
        [images[key] for key in sorted(images.keys() - depths.keys())],
        [depths[key] for key in sorted(depths.keys() - images.keys())],
    )


def find_beside(folder: Path, names: Sequence[str], suffix: str) -> dict[str, Path]:
    """Finds the file `NAME.suffix` of each name in a folder, as far as there is one."""
    paths = {name: folder / f"{name}{suffix}" for name in names}
    return {name: path for name, path in paths.items() if path.is_file()}


def _existing(path: str | os.PathLike, argument: str) -> Path:
    found = Path(path)
    if not found.exists():
        raise ValueError(f"{argument}={found}: there is no such file or folder")
    return found


def fields_of(pattern: str, argument: str) -> list[str]:
    """The names of the fields of a pattern.

    Raises:
      ValueError: there is none, or one has no name.
    """
    names = [*dict.fromkeys(match[1] for match in _FIELD.finditer(pattern) if match[2] is None)]
    if not names or not all(map(str.isidentifier, names)):
        raise ValueError(
            f"{argument}={pattern} must have fields in braces, each with a name of letters "
            "and digits, such as {name} or {drive}/{number}"
        )
    return names


def expression_of(pattern: str, suffixes: Collection[str]) -> re.Pattern[str]:
    """The regular expression of the relative path of the files of a pattern, with their suffix."""
    stem, suffix = os.path.splitext(pattern)
    if suffix.lower() not in suffixes:
        stem, suffix = pattern, ""
    parts, last = [], 0
    fields: set[str] = set()
    for match in _FIELD.finditer(stem):
        parts.append(re.escape(stem[last : match.start()]))
        name, any_text = match.groups()
        known = f"(?P={name})" if name in fields else f"(?P<{name}>.+?)"
        parts.append("[^/]*?" if any_text else known)
        fields.add(name)
        last = match.end()
    parts.append(re.escape(stem[last:]))
    endings = [suffix] if suffix else suffixes
    parts.append(f"(?i:{'|'.join(map(re.escape, endings))})")
    # Names of files may have line breaks.
    return re.compile("".join(parts), re.DOTALL)


def _files(
    folder: Path, pattern: str, fields: Sequence[str], suffixes: Collection[str], kind: str
) -> dict[Key, Path]:
    """The files of a folder that match a pattern, by the text of the fields.

    Raises:
      ValueError: two files have the same fields, or no file matches.
    """
    expression = expression_of(pattern, suffixes)
    advice = (
        f", so it is unclear which one to read; remove one, or set {kind}_pattern to a pattern of "
        "one of them"
    )
    found, others = match_paths(walk(folder), folder, expression, fields, "name", advice)
    if not found:
        seen = f"; found {list_some([path.name for path in others])}" if others else ", it is empty"
        raise ValueError(
            f"{kind}={folder} has no file that matches {kind}_pattern={pattern} and ends in "
            f"{', '.join(suffixes)}{seen}"
        )
    return found


def match_paths(
    paths: Iterable[Path],
    root: Path,
    expression: re.Pattern[str],
    fields: Sequence[str],
    what: str,
    advice: str,
) -> tuple[dict[Key, Path], list[Path]]:
    """Matches paths with a pattern.

    Args:
      paths: below `root`.
      root: the folder to which the pattern is relative.
      expression: of the pattern, see `expression_of`.
      fields: the order of its fields.
      what, advice: what two files of the same name have in common, and what to do; for messages.

    Returns:
      The paths that match, by the text of the fields, and the others.

    Raises:
      ValueError: two files have the same name.
    """
    found: dict[Key, Path] = {}
    names: dict[str, Path] = {}
    others = []
    for path in paths:
        match = expression.fullmatch(path.relative_to(root).as_posix())
        if match is None:
            others.append(path)
            continue
        key = tuple(match[field] for field in fields)
        # Also of different keys, such as (a/b, c) and (a, b/c): it is the name of the outputs.
        other = names.setdefault(name_of(key), path)
        if other is not path:
            raise ValueError(f"{other} and {path} have the same {what}, {name_of(key)}{advice}")
        found[key] = path
    return found, others


def walk(folder: Path) -> list[Path]:
    """All files below a folder, sorted, without hidden ones."""
    found = []
    for root, folders, files in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(root, name) for name in files if not name.startswith(".")]
    return sorted(found)


def name_of(key: Key) -> str:
    """The name of the frame whose fields have these texts."""
    return "/".join(key)


def _raise_no_pair(images: dict[Key, Path], depths: dict[Key, Path], kind: str) -> None:
    first = [f"{path} ({name_of(key)})" for key, path in (min(images.items()), min(depths.items()))]
    raise ValueError(
        f"none of {len(images)} images and {len(depths)} {kind} files have the same name: the "
        f"first are {first[0]} and {first[1]}; image_pattern and {kind}_pattern describe names "
        "that differ"
    )
