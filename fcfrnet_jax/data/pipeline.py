"""Reads frames from disk with tf.data.

TensorFlow is imported when a dataset is opened, not with this module. As in big_vision, the outer
call of a data op binds its settings, and the inner function maps one example.
"""

import os
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fcfrnet_jax.data.augment import IMAGES
from fcfrnet_jax.data.frame import Frame
from fcfrnet_jax.data.images import DEPTH_SCALE
from fcfrnet_jax.data.reading import read_arrays
from fcfrnet_jax.geometry import Size, crop_intrinsics, crop_offsets, crop_size

if TYPE_CHECKING:
    import tensorflow as tf

Example = dict[str, Any]
Op = Callable[[Example], Example]
MAPS = {*IMAGES, "sparse_depth", "ground_truth", "coarse_depth"}


def check_batches(frames: Sequence[Frame], batch_size: int) -> None:
    """Raises ValueError if there are no frames or the batch size is below 1."""
    if not frames or batch_size < 1:
        raise ValueError(f"cannot make batches of {batch_size} from {len(frames)} frames")


def share_of_batch(batch_size: int, process: tuple[int, int]) -> tuple[int, int]:
    """Returns the first position of a process in each batch, and the one after its last.

    Args:
      batch_size: global batch size.
      process: (index, count): the process gets the contiguous part `index` of `count`.

    Raises:
      ValueError: no such process, or a batch size that is not divisible by `count`.
    """
    index, count = process
    if not 0 <= index < count:
        raise ValueError(f"there is no process {index} among {count}, counted from 0")
    if batch_size % count:
        raise ValueError(
            f"a batch of {batch_size} is not divisible by the {count} processes: "
            f"take {batch_size // count * count or count} or {(batch_size // count + 1) * count}"
        )
    size = batch_size // count
    return index * size, (index + 1) * size


def frame_columns(
    frames: Sequence[Frame], complete: Collection[str] = ("image", "coarse_depth")
) -> dict[str, np.ndarray]:
    """Lists the files and the calibration of the frames as columns.

    Args:
      frames: at least one frame.
      complete: the columns for which all frames or no frames have a file; they are left out if no
        frame has one. In the other columns, an empty path is a missing file.

    Raises:
      ValueError: only some of the frames have the file of a `complete` column.
    """
    columns = {
        "index": np.arange(len(frames), dtype=np.int32),
        "intrinsics": np.array([f.intrinsics or (np.nan,) * 4 for f in frames], np.float32),
        # Bytes, because a path need not be text.
        "sparse_depth": np.array([os.fsencode(f.sparse) for f in frames]),
        "ground_truth": np.array([os.fsencode(f.ground_truth or "") for f in frames]),
        "image": np.array([os.fsencode(f.image or "") for f in frames]),
        "coarse_depth": np.array([os.fsencode(f.coarse or "") for f in frames]),
    }
    for key in complete:
        if not check_complete(key, columns[key].tolist()):
            del columns[key]
    return columns


def check_complete(kind: str, paths: Sequence[object]) -> bool:
    """Returns whether all frames have a file of a kind; raises ValueError if only some have one."""
    missing, count = sum(not path for path in paths), len(paths)
    if 0 < missing < count:
        raise ValueError(f"{missing} of {count} frames have no {kind}, but the others have one")
    return not missing


def read_frames(frames: Sequence[Frame]) -> Op:
    """Reads the arrays: images as uint8 [H, W, 3] RGB, depth as float32 [H, W, 1] metres.

    Args:
      frames: those of `frame_columns`.
    """
    return _read_stored(frames) if any(frame.stored for frame in frames) else _read_files()


def _read_stored(frames: Sequence[Frame]) -> Op:
    """Reads frames of which at least one has no files of its own."""
    import tensorflow as tf

    def read(example: Example) -> Example:
        names = sorted(MAPS & example.keys())

        def load(index: np.ndarray, near: np.ndarray) -> list[np.ndarray]:
            found = read_arrays(frames[int(index)], names)
            if "near_image" in names:
                found["near_image"] = read_arrays(frames[int(near)], ["image"])["image"]
            if "ground_truth" in names and "ground_truth" not in found:
                found["ground_truth"] = np.zeros_like(found["sparse_depth"])
            return [found[name] if name in IMAGES else found[name][..., None] for name in names]

        types = [tf.uint8 if name in IMAGES else tf.float32 for name in names]
        inputs = [example["index"], example.get("near", example["index"])]
        arrays = tf.numpy_function(load, inputs, types, stateful=False)
        for name, array in zip(names, arrays, strict=True):
            array.set_shape([None, None, 3 if name in IMAGES else 1])
        return example | dict(zip(names, arrays, strict=True))

    return read


def _read_files() -> Op:
    import tensorflow as tf

    def read_depth(path: Any) -> Any:
        pixels = tf.io.decode_png(tf.io.read_file(path), channels=1, dtype=tf.uint16)
        return tf.cast(pixels, tf.float32) / DEPTH_SCALE

    def read(example: Example) -> Example:
        example = dict(example)
        for key in example.keys() & IMAGES:
            # decode_jpeg also decodes PNG. Its fast default rounds JPEG unlike other libraries.
            data = tf.io.read_file(example[key])
            example[key] = tf.io.decode_jpeg(data, 3, dct_method="INTEGER_ACCURATE")
        for key in {"sparse_depth", "coarse_depth"} & example.keys():
            example[key] = read_depth(example[key])
        if "ground_truth" in example:
            path, sparse = example["ground_truth"], example["sparse_depth"]
            example["ground_truth"] = tf.cond(
                path == "", lambda: tf.zeros_like(sparse), lambda: read_depth(path)
            )
        return example

    return read


def crop_bottom_centre(crop: Size) -> Op:
    """Crops all maps at the bottom centre, see `geometry.crop_box`, and adapts the intrinsics.

    A height or width of 0 keeps that of the frame. A coarse map that already has the size of the
    crop, such as a prediction, is kept.
    """
    import tensorflow as tf

    def cut(example: Example) -> Example:
        shape = tf.shape(example["sparse_depth"])
        size = shape[0], shape[1]
        box = crop_size(size, crop)
        top, left = crop_offsets(size, box)
        if "coarse_depth" in example:
            coarse = example["coarse_depth"]
            below, right = size[0] - box[0] - top, size[1] - box[1] - left
            example = example | {
                "coarse_depth": tf.cond(
                    tf.reduce_all(tf.shape(coarse)[:2] == tf.stack(box)),
                    lambda: tf.pad(coarse, [[top, below], [left, right], [0, 0]]),
                    lambda: coarse,
                )
            }
        return crop_at(example, top, left, box)

    return cut if any(crop) else lambda example: example


def crop_at(example: Example, top: Any, left: Any, crop: tuple[Any, Any]) -> Example:
    """Crops all maps of an example at (top, left), integer tensors, and adapts the intrinsics."""
    import tensorflow as tf

    example = dict(example)
    known = [side if isinstance(side, int) else None for side in crop]
    for key in MAPS & example.keys():
        example[key] = tf.slice(example[key], (top, left, 0), (*crop, -1))
        example[key].set_shape((*known, None))
    offset = tf.cast(top, tf.float32), tf.cast(left, tf.float32)
    example["intrinsics"] = tf.stack(crop_intrinsics(tf.unstack(example["intrinsics"]), *offset))
    return example


def reading_options(threads: int | None) -> "tf.data.Options":
    """Makes the order of examples deterministic.

    Args:
      threads: threads that read and decode; None for one per core, at most 16.
    """
    import tensorflow as tf

    options = tf.data.Options()
    options.deterministic = True
    options.threading.private_threadpool_size = threads or min(16, os.cpu_count() or 1)
    return options


def hide_accelerators() -> None:
    """Keeps TensorFlow from reserving the memory of GPUs and TPUs, in the whole process.

    It is for commands, in which jax uses these devices and TensorFlow only reads and batches.
    """
    import tensorflow as tf

    for kind in ("GPU", "TPU"):
        tf.config.set_visible_devices([], kind)
