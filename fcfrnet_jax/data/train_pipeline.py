"""The endless stream of training batches. Each process can open its share at any step.

The example at a position of the stream depends only on the seed and the position. Training can
therefore resume after any step, and the pipeline has no state to save.
"""

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from fcfrnet_jax.data import check
from fcfrnet_jax.data.batches import BatchStream
from fcfrnet_jax.data.frame import Frame, check_calibrated, neighbours
from fcfrnet_jax.data.pipeline import (
    Example,
    Op,
    check_batches,
    crop_at,
    crop_bottom_centre,
    frame_columns,
    read_frames,
    reading_options,
    share_of_batch,
)
from fcfrnet_jax.data.poses import read_pair, relative_pose
from fcfrnet_jax.files import list_some
from fcfrnet_jax.geometry import Size

if TYPE_CHECKING:
    import tensorflow as tf

# The seeds of NumPy's generators are (seed, one of these, epoch or position).
_EPOCH, _EXAMPLE = range(2)


def make_train_dataset(
    frames: Sequence[Frame],
    *,
    batch_size: int,
    crop: Size,
    seed: int,
    random_crop: bool = False,
    first_step: int = 0,
    near_reach: int = 0,
    process: tuple[int, int] = (0, 1),
    threads: int | None = None,
) -> BatchStream:
    """Opens frames for training: endless batches that visit all frames once an epoch, shuffled.

    The batch of a step depends on `frames`, `batch_size`, `crop`, `seed`, `random_crop` and
    `near_reach` (and on the versions of NumPy, TensorFlow and OpenCV), but not on where the stream
    was opened. Position p of the stream is example p % B of step p // B and belongs to epoch
    p // len(frames). An epoch may end within a batch.

    Args:
      frames: frames that have passed `check.check_frames` with the same crop.
      batch_size: global batch size, B: the frames of all processes together.
      crop: (height, width) in pixels.
      seed: not negative.
      random_crop: choose the place of each crop at random, uniformly over the image, instead of the
        bottom centre.
      first_step: step of the first batch. Each iteration over the stream starts there.
      near_reach: add to each example a nearby frame for the photometric loss, at most this many
        frames away in the same drive and camera; 0 = none.
      process: (index, count): this process gets the contiguous part `index` of `count` of each
        batch.
      threads: see `pipeline.reading_options`.

    Returns:
      Endless batches. While iterating, a file that is damaged or missing raises a ValueError that
      names it. With b = B / count, each batch is a dict of
        image: uint8 [b, H, W, 3] RGB, if the frames have images;
        sparse_depth: float32 [b, H, W, 1] metres, 0 = missing;
        ground_truth, coarse_depth: the same, if the frames have them;
        intrinsics: float32 [b, 4] (fx, fy, cx, cy) in pixels of the crop, NaN = not calibrated;
        index: int32 [b] position in `frames`;
        position: int64 [b] position in the stream;
      and with `near_reach`
        near_image: uint8 [b, H, W, 3] RGB, with the same crop as the image; a copy of the image if
          the frame has no neighbour or no pose was found;
        rotation, translation: float32 [b, 3, 3] and [b, 3] metres, as in `poses.Pose`.

    Raises:
      ValueError: there are no frames; the batch size is below 1 or not divisible by the number of
        processes; the seed or step is negative; only some frames have a kind of file; or frames
        lack what `near_reach` needs: images, calibration and, for at least one, a neighbour.
    """
    check_batches(frames, batch_size)
    share = share_of_batch(batch_size, process)
    if seed < 0 or first_step < 0:
        raise ValueError(f"seed and first_step must not be negative, got {seed} and {first_step}")
    near = near_frames(frames, near_reach) if near_reach else None
    columns = training_columns(frames)

    import tensorflow as tf

    parallel = tf.data.AUTOTUNE
    cut = crop_anywhere(crop) if random_crop else crop_bottom_centre(crop)

    # These ops do not branch on tensors; converting them would double the time of opening.
    @tf.autograph.experimental.do_not_convert
    def chain() -> "tf.data.Dataset":
        return (
            tf.data.Dataset.range(first_step, sys.maxsize)
            .map(pick_frames(len(frames), batch_size, share, seed, near))
            .unbatch()
            .map(look_up(columns))
            .map(read_frames(frames), num_parallel_calls=parallel)
            .map(find_pose(), num_parallel_calls=parallel)
            .map(cut, num_parallel_calls=parallel)
            .map(leave_out("place", "near"))
            .batch(share[1] - share[0], drop_remainder=True)
            .prefetch(parallel)
            .with_options(reading_options(threads))
        )

    def raise_bad(position: int) -> None:
        positions = (first_step + position) * batch_size + np.arange(*share)
        index = shuffled(positions, len(frames), seed).tolist()
        nearby = [j for i in index for j in near[i]] if near else []
        read = [frames[i] for i in dict.fromkeys([*index, *nearby])]
        check.raise_bad_files(
            check.check_frames(read, crop, random_crop=True),
            ["resume once the file is restored, or with skip_bad_frames=True"],
        )
        if near:
            # Each frame may be sound and have another size than its neighbour.
            for i in index:
                for j in near[i]:
                    read_pair(frames[i], frames[j])

    return BatchStream(chain(), raise_bad)


def shuffled(positions: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Returns the frame at each of `positions`, int64 `[N]`; each epoch is another permutation.

    tf.random.experimental.index_shuffle is no alternative: it has only 256 different permutations
    of 1000 frames, and those of successive epochs are similar.
    """
    epochs, places = np.divmod(positions, count)
    picked = np.empty_like(positions)
    for epoch in np.unique(epochs):
        order = np.random.default_rng([seed, _EPOCH, epoch]).permutation(count)
        picked[epochs == epoch] = order[places[epochs == epoch]]
    return picked


def pick_frames(
    count: int,
    batch_size: int,
    share: tuple[int, int],
    seed: int,
    near: Sequence[Sequence[int]] | None,
) -> Callable[["tf.Tensor"], Example]:
    """Maps a step to the `index`, `position`, crop `place` and, with `near`, the nearby frames."""
    import tensorflow as tf

    def pick(step: np.ndarray) -> tuple[np.ndarray, ...]:
        positions = step * batch_size + np.arange(*share)
        index = shuffled(positions, count, seed)
        draws = np.stack([np.random.default_rng([seed, _EXAMPLE, p]).random(3) for p in positions])
        nearby = index
        if near is not None:
            pairs = zip((near[i] for i in index), draws[:, 0], strict=True)
            nearby = np.array([choices[int(draw * len(choices))] for choices, draw in pairs])
        place = draws[:, 1:].astype(np.float32)
        return index.astype(np.int32), positions, place, nearby.astype(np.int32)

    def tensors(step: "tf.Tensor") -> Example:
        types = (tf.int32, tf.int64, tf.float32, tf.int32)
        columns = tf.numpy_function(pick, [step], types, stateful=False)
        picked = dict(zip(("index", "position", "place", "near"), columns, strict=True))
        for name, column in picked.items():
            column.set_shape([share[1] - share[0], *([2] if name == "place" else [])])
        return picked if near is not None else leave_out("near")(picked)

    return tensors


def crop_anywhere(crop: Size) -> Op:
    """Crops all maps at the example's `place`: (row, column) as shares of the margins, 0..1."""
    import tensorflow as tf

    def cut(example: Example) -> Example:
        places = tf.shape(example["sparse_depth"])[:2] - crop + 1
        place = example["place"] * tf.cast(places, tf.float32)
        # Rounded to float32, a share can be 1.
        top, left = tf.unstack(tf.minimum(tf.cast(place, tf.int32), places - 1))
        return crop_at(example, top, left, crop)

    return cut


def look_up(columns: dict[str, np.ndarray]) -> Op:
    """Adds the files and the calibration of a frame from `columns`, and the nearby image."""
    import tensorflow as tf

    tensors = {key: tf.constant(column) for key, column in columns.items()}

    def add(example: Example) -> Example:
        looked_up = {key: column[example["index"]] for key, column in tensors.items()}
        if "near" in example:
            looked_up["near_image"] = tensors["image"][example["near"]]
        return example | looked_up

    return add


def find_pose() -> Op:
    """Adds the pose of the nearby frame, `rotation` and `translation`, if there is one.

    Poses are estimated on whole images. If none is found, the pose is the identity and the nearby
    image is replaced by the image.
    """
    import tensorflow as tf

    def no_pose() -> tuple["tf.Tensor", ...]:
        return tf.eye(3), tf.zeros(3), tf.constant(False)

    def found(example: Example) -> tuple["tf.Tensor", ...]:
        keys = "image", "near_image", "sparse_depth", "intrinsics"
        types = tf.float32, tf.float32, tf.bool
        inputs = [example[key] for key in keys]
        rotation, translation, ok = tf.numpy_function(relative_pose, inputs, types, stateful=False)
        return tf.ensure_shape(rotation, [3, 3]), tf.ensure_shape(translation, [3]), ok

    def add(example: Example) -> Example:
        if "near" not in example:
            return example
        rotation, translation, ok = tf.cond(
            example["near"] == example["index"], no_pose, lambda: found(example)
        )
        image = tf.cond(ok, lambda: example["near_image"], lambda: example["image"])
        return example | {"near_image": image, "rotation": rotation, "translation": translation}

    return add


def leave_out(*keys: str) -> Op:
    """Removes `keys` from an example, if present."""
    return lambda example: {key: value for key, value in example.items() if key not in keys}


def training_columns(frames: Sequence[Frame]) -> dict[str, np.ndarray]:
    """Returns `pipeline.frame_columns`; every kind of file must be that of all frames or none."""
    return frame_columns(frames, complete=("image", "coarse_depth", "ground_truth"))


def near_frames(frames: Sequence[Frame], reach: int) -> list[list[int]]:
    """Lists the neighbours of each frame; a frame without neighbours is its own.

    Args:
      frames: the frames to train on.
      reach: the largest difference between the numbers of neighbours.

    Raises:
      ValueError: frames lack what poses are estimated from: images, calibration and, for at least
        one frame, a neighbour.
    """
    without = [frame.name for frame in frames if frame.image is None]
    if without:
        raise ValueError(
            f"nearby frames need images: {len(without)} of {len(frames)} frames have none: "
            f"{list_some(without)}"
        )
    near = neighbours(frames, reach)
    if not any(near):
        raise ValueError(
            f"none of the {len(frames)} frames has another of its drive and camera within {reach} "
            f"frames, e.g. {frames[0].name}: a photometric loss needs unbroken drives"
        )
    check_calibrated(frames, "finding poses")
    return [found or [i] for i, found in enumerate(near)]
