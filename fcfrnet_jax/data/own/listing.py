"""Lists the files of a data set that `dataset.json` describes."""

import re
from collections.abc import Collection, Sequence
from functools import cached_property
from pathlib import Path

from fcfrnet_jax.data.own.description import SPLIT, Description
from fcfrnet_jax.data.own.folders import (
    DEPTH_SUFFIXES,
    IMAGE_SUFFIXES,
    Key,
    expression_of,
    fields_of,
    match_paths,
    name_of,
    walk,
)
from fcfrnet_jax.files import list_some


class Listing:
    """The files of a data set; they are listed once.

    Attributes:
      root: the folder of the data set.
      description: its description.
      fields: the fields of the patterns, in the order of the texts of `files`.
    """

    def __init__(self, root: Path, description: Description) -> None:
        self.root, self.description = root, description
        self.fields = fields_of(description.sparse_depth, "sparse_depth")

    @cached_property
    def files(self) -> dict[str, dict[Key, Path]]:
        """The files of each pattern, by the texts of the fields.

        Raises:
          ValueError: as for `match_files`.
        """
        return {
            name: match_files(
                self.root,
                pattern,
                self.fields,
                IMAGE_SUFFIXES if name == "image" else DEPTH_SUFFIXES,
                name,
            )
            for name, pattern in self.description.patterns.items()
        }

    @cached_property
    def keys(self) -> dict[str, list[Key]]:
        """The texts of the fields of the frames in each split, sorted; see `files` for errors."""
        found: dict[str, list[Key]] = {split: [] for split in self.description.splits}
        for key in sorted(self.files["sparse_depth"]):
            for split in self.splits_of(key):
                found.setdefault(split, []).append(key)
        return found

    @property
    def splits(self) -> tuple[str, ...]:
        """The names of the splits; see `files` for errors."""
        return tuple(self.description.splits) or tuple(sorted(self.keys))

    @property
    def truth_splits(self) -> tuple[str, ...]:
        """The splits in which a frame has ground truth; see `files` for errors."""
        truths = self.files.get("ground_truth", {})
        return tuple(s for s in self.splits if any(key in truths for key in self.keys[s]))

    def name_of(self, key: Key) -> str:
        """The name of a frame."""
        return name_of(
            tuple(text for field, text in zip(self.fields, key, strict=True) if field != SPLIT)
        )

    def splits_of(self, key: Key) -> set[str]:
        """The splits to which a frame belongs."""
        return self.description.split_of(self.name_of(key), self.texts_of(key))

    def texts_of(self, key: Key) -> dict[str, str]:
        """The texts of the fields of a frame, by field."""
        return dict(zip(self.fields, key, strict=True))


def match_files(
    root: Path, pattern: str, fields: Sequence[str], suffixes: Collection[str], entry: str
) -> dict[Key, Path]:
    """Finds the files of a pattern, by the texts of its fields.

    Args:
      root: the folder of the data set.
      pattern: of the paths below `root`.
      fields: the order of its fields.
      suffixes: of the files.
      entry: the entry of `dataset.json`, for messages.

    Raises:
      ValueError: no file matches, or two files are of the same frame.
    """
    expression = expression_of(pattern, suffixes)
    # Only the folder before the first part that varies is searched.
    start = root.joinpath(*Path(re.split(r"[{*]", pattern)[0] + "x").parts[:-1])
    what = f"fields of {entry}={pattern}"
    advice = "; remove one, or let the pattern match only one of them, such as by its suffix"
    found, others = match_paths(walk(start), root, expression, fields, what, advice)
    if not found:
        names = [path.relative_to(root).as_posix() for path in others]
        seen = f"found {list_some(names)}" if names else "found no files"
        raise ValueError(
            f"{start} has no file that matches {entry}={pattern} and ends in "
            f"{', '.join(suffixes)}; {seen}"
        )
    return found
