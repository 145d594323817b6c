"""Frames without files of their own, whose arrays are in memory."""

import dataclasses
from pathlib import Path

from fcfrnet_jax.data.reading import read_arrays


class InMemory:
    """Reads arrays that it holds; `reason` makes it fail."""

    def __init__(self, arrays, reason=""):
        self.arrays, self.reason = arrays, reason

    def read(self, names):
        if self.reason:
            raise ValueError(self.reason)
        return {name: self.arrays[name] for name in names}


def stored(frame, reason=""):
    """The same frame as a record; its coarse depth stays a file."""
    arrays = read_arrays(frame, ("image", "sparse_depth", "ground_truth"))
    names = {"image": "image", "sparse": "sparse_depth", "ground_truth": "ground_truth"}
    paths = {
        field: Path(f"train.shard:{frame.name}/{name}")
        for field, name in names.items()
        if getattr(frame, field)
    }
    return dataclasses.replace(frame, stored=InMemory(arrays, reason), **paths)
