"""Identifies frames by their names, wherever they are stored."""

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class FrameNames:
    """The names of frames: drive, camera and number, not the folder of the dataset.

    Attributes:
      count: the number of frames.
      digest: of all names.
      folders: the number of frames of each `<drive>/<camera>`; "" for frames without a drive.
      left_out: the names of the frames among them that cannot be used and are left out, sorted.
      reading: `DataSet.reading`, of validation frames with the limits of the depth.
    """

    count: int
    digest: str
    folders: dict[str, int]
    left_out: list[str]
    reading: str = ""

    @classmethod
    def of(
        cls, used: Iterable[str], left_out: Iterable[str] = (), reading: str = ""
    ) -> "FrameNames":
        """The identity of the frames that are used and of those that are left out."""
        left_out = sorted(set(left_out))
        names = sorted({*used, *left_out})
        digest = hashlib.blake2b("\n".join(names).encode(), digest_size=16).hexdigest()
        folders = Counter(name.rpartition("/")[0] for name in names)
        return cls(len(names), digest, dict(folders), left_out, reading)

    def to_json(self) -> dict[str, Any]:
        # Records of earlier versions have no such entry.
        return {k: value for k, value in asdict(self).items() if k != "reading" or value}

    def first_difference(self, now: "FrameNames") -> str:
        """Describes the first folder with another number of frames, if there is one."""
        for folder in sorted({*self.folders, *now.folders}):
            before, after = self.folders.get(folder, 0), now.folders.get(folder, 0)
            if before != after:
                return f"{folder or 'the split'} has {after} frames, before it was {before}"
        return "as many in each drive, but with other names"
