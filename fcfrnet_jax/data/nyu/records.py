"""The records of NYU Depth v2 as TensorFlow Datasets prepares it, `nyu_depth_v2`.

Its `train` has the same 47,584 frames as the HDF5 files, in another order and without the names of
the scenes, and its `validation` the 654 official test images. The depth is rounded to float16: by
up to 4 mm at 10 m.
"""

import os
import struct
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from fcfrnet_jax.data.frame import NoFramesError
from fcfrnet_jax.data.nyu import hdf5
from fcfrnet_jax.data.nyu.protocol import STORED
from fcfrnet_jax.files import first_line, not_regular, version_order

NAME = "nyu_depth_v2"
# One record in this many is for validation.
VAL_EVERY = hdf5.VAL_EVERY
# A record of TFRecord: its length and the checksum of that, the data, and its checksum.
_LENGTH, _BEFORE, _AFTER = struct.Struct("<Q"), 12, 4


@dataclass(frozen=True)
class Record:
    """A frame in a file of records.

    Attributes:
      path: the file and the number of the record, for messages.
      features: of TensorFlow Datasets, which parse the record.
      kind: `tfrecord` or `array_record`.
      start: the byte where a record of TFRecord starts, or the number of one of ArrayRecord.
    """

    path: Path
    features: Any
    kind: str
    start: int

    def read(self) -> tuple[np.ndarray, np.ndarray]:
        """Reads the image, uint8 `[480, 640, 3]`, and the depth, float16 `[480, 640]` metres.

        Raises:
          ValueError: the record cannot be read, or has other arrays. The message continues a
            sentence that begins with its path.
        """
        try:
            example = self.features.deserialize_example_np(self._bytes())
            image, depth = example["image"], example["depth"]
        except Exception as error:
            # TensorFlow and ArrayRecord raise errors of several types for damaged files.
            raise ValueError(f"cannot be read: {first_line(error)}") from error
        hdf5.check(image, depth, (*STORED, 3))
        return image, depth

    def _bytes(self) -> bytes:
        """Reads the record and verifies its checksum."""
        file = str(self.path).rpartition(":")[0]
        if self.kind == "array_record":
            with closing(_array_reader(file)) as reader:
                return reader.read([self.start])[0]
        from tensorflow.python.lib.io import tf_record

        return tf_record.tf_record_random_reader(file).read(self.start)[0]


def builder_dir(data_dir: Path) -> Path | None:
    """Finds the folder of the prepared data set, `<data_dir>/nyu_depth_v2/<version>` or above it.

    Returns:
      The folder with the newest version, or None if there are no records.
    """
    for pattern in (".", "*", f"{NAME}/*"):
        found = [path.parent for path in data_dir.glob(f"{pattern}/dataset_info.json")]
        found = [folder for folder in found if any(folder.glob(f"{NAME}-*"))]
        if found:
            return max(found, key=lambda folder: version_order(folder.name))
    return None


def find(folder: Path, split: str) -> tuple[dict[str, Record], dict[str, str]]:
    """Finds the records of a split.

    Args:
      folder: of `builder_dir`.
      split: one of `frames.SPLITS`.

    Returns:
      The records by the names of their frames, `<split>-<shard>-<number>`; and the names of those
      that cannot be used, with the reason.

    Raises:
      ValueError: the data set has no such split, or another format than TFRecord and ArrayRecord.
    """
    import tensorflow_datasets as tfds

    builder = tfds.builder_from_directory(folder)
    theirs = "validation" if split == "test" else "train"
    if theirs not in builder.info.splits:
        raise NoFramesError(f"{folder} has no split {theirs} of {NAME}")
    info = builder.info.splits[theirs]
    kind = builder.info.file_format.file_suffix
    if kind not in ("tfrecord", "array_record"):
        raise ValueError(f"{folder} has files of {kind}; tfrecord and array_record can be read")
    found, reasons = {}, {}
    shards = zip(info.filepaths, info.shard_lengths, strict=True)
    number = 0
    for shard, (path, length) in enumerate(shards):
        starts, reason = _starts(str(path), length, kind)
        for i in range(length):
            name = f"{theirs}-{shard:05d}-{i:06d}"
            number += 1
            if split in ("train", "val") and (number % VAL_EVERY == 0) != (split == "val"):
                continue
            start = starts[i] if i < len(starts) else 0
            found[name] = Record(Path(f"{path}:{i}"), builder.info.features, kind, start)
            if reason:
                reasons[name] = reason
    if not found:
        raise NoFramesError(
            f"{folder} has no records of {split}: one of {VAL_EVERY} records of {theirs} is for "
            f"validation, and it has {number}"
            if split in ("train", "val")
            else f"{folder} has no records of {theirs}"
        )
    return found, reasons


def _starts(path: str, count: int, kind: str) -> tuple[list[int], str]:
    """The places of the records in a file, and why the file cannot be used."""
    fault = not_regular(Path(path))
    if fault:
        return [], fault
    try:
        if kind == "array_record":
            with closing(_array_reader(path)) as reader:
                starts = list(range(reader.num_records()))
        else:
            status = os.stat(path)
            starts = _tfrecord_starts(path, status.st_size, status.st_mtime_ns)
    except (OSError, RuntimeError, ValueError) as error:
        return [], f"cannot be read: {error}"
    fits = len(starts) == count
    return starts, "" if fits else f"has {len(starts)} records, expected {count}"


@lru_cache(maxsize=4096)
def _tfrecord_starts(path: str, size: int, changed: int) -> list[int]:
    """The bytes at which the records of a TFRecord file start; the last one may be truncated.

    Finding them takes an access for each record, so that they are kept until the file changes.

    Args:
      path: the file.
      size: in bytes.
      changed: its time, which tells files of the same size apart.
    """
    del changed
    starts: list[int] = []
    position = 0
    with open(path, "rb") as file:
        while position + _BEFORE < size:
            starts.append(position)
            file.seek(position)
            (length,) = _LENGTH.unpack(file.read(_LENGTH.size))
            position += _BEFORE + length + _AFTER
    if position > size:
        del starts[-1]
    return starts


def _array_reader(path: str) -> Any:
    from array_record.python import array_record_module

    # Only the wanted record is read, not the whole chunk before it.
    return array_record_module.ArrayRecordReader(path, options="readahead_buffer_size:0")
