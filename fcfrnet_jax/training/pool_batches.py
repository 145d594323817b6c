"""Training batches of windows of a pool of rendered frames.

The stream is endless and has no state. The example at a position depends only on the pool, the seed
and the position. The host reads whole frames; the devices crop and vary them.
"""

import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np

from fcfrnet_jax import parallel
from fcfrnet_jax.data.augment import Example
from fcfrnet_jax.data.pipeline import share_of_batch
from fcfrnet_jax.data.variation import vary
from fcfrnet_jax.geometry import Size
from fcfrnet_jax.sensors.patterns import Patterns, Points, draw_sparse, scatter
from fcfrnet_jax.streets.picture.disturb import clutter_gain, swap_parts
from fcfrnet_jax.streets.pool import UNIT, Pool
from fcfrnet_jax.streets.scan.truth_errors import blur_edges, see_through

# The weight of an example's errors in metres is (density / FULL_DENSITY)^DENSITY_POWER, at most 1,
# where the density is the share of the pixels that are measured. Errors are much larger with few
# points; without weights, such examples would dominate the loss.
FULL_DENSITY, LEAST_DENSITY, DENSITY_POWER = 0.05, 1e-4, 0.6
# The number of columns by which the foreground grows in depth and scan; one of these for each
# example. A laser beam has a width, so scanners measure foreground beside its edges in the image.
# On real frames, predictions with the edges of the image agree best with the ground truth after
# their foreground has grown by one or two columns.
SPREADS = (0, 1, 1, 2, 2)
# The largest share of an image that shows another part of it. Where image and scan contradict each
# other, as at glass, the ground truth follows the scan.
SWAPPED = 0.5
# Foreground grows only where it is nearer than the background by more than this share.
EDGE = 0.05
# The ground truth is the scan's depth where that differs from the exact depth by less than this
# share, and the exact depth elsewhere.
SAME = 0.03


@dataclass(frozen=True)
class Windows:
    """How examples are made from the frames of a pool.

    Attributes:
      seed: the random seed of the order of the frames and of the examples; not negative.
      crop: (height, width) of the windows in pixels.
      patterns: the probabilities of the scan patterns.
      clutter: the largest strength, in [0, 1], of `clutter_gain`.
      misalignment: the largest shift of an image against its depth maps, in whole pixels.
    """

    seed: int
    crop: Size
    patterns: Patterns = field(default_factory=Patterns)
    clutter: float = 0.5
    misalignment: int = 1


def pool_batches(
    pool: Pool,
    windows: Windows,
    *,
    batch_size: int,
    first_step: int = 0,
    process: tuple[int, int] = (0, 1),
) -> Iterator[tuple[np.ndarray, parallel.Batch]]:
    """Opens the stream.

    Args:
      pool: the frames.
      windows: the settings of the examples.
      batch_size, first_step, process: as for `street_batches.scene_batches`.

    Returns:
      Endless batches: the positions, int64 `[b]`, and the arrays of `pool_example`, sharded over
      the devices.

    Raises:
      ValueError: with the first batch, for windows that are larger than the frames, or as
        `scene_batches`.
    """
    height, width = pool.plan.size
    if windows.crop[0] > height or windows.crop[1] > width:
        raise ValueError(f"the crop {windows.crop} is larger than the pool's {(height, width)}")
    make = parallel.map_examples(lambda frame: pool_example(windows, pool.plan.size, frame))
    share = share_of_batch(batch_size, process)

    def read(step: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        positions = step * batch_size + np.arange(*share)
        frames = pool.read(shuffled(positions, len(pool), windows.seed))
        return positions, frames | {"position": positions.astype(np.uint32)}

    # The frames of the next batch are read while the devices compute.
    with ThreadPoolExecutor(1) as worker:
        coming = worker.submit(read, first_step)
        for step in itertools.count(first_step + 1):
            positions, frames = coming.result()
            coming = worker.submit(read, step)
            yield positions, make(parallel.shard(frames))


def shuffled(positions: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Returns the frames at positions of the stream, in another random order in each epoch."""
    epochs, places = np.divmod(positions, count)
    orders = {e: np.random.default_rng((seed, int(e))).permutation(count) for e in set(epochs)}
    return np.array([orders[e][i] for e, i in zip(epochs, places, strict=True)])


def pool_example(windows: Windows, size: Size, frame: dict[str, jax.Array]) -> Example:
    """Makes the example at a position of the stream.

    Args:
      windows: the settings of the examples.
      size: (height, width) of the frame.
      frame: a frame of `Pool.read` without the batch axis, and `position`, a uint32 scalar.

    Returns:
      A dict of
        image: uint8 [h, w, 3] RGB;
        sparse_depth, ground_truth: float32 [h, w, 1] metres, 0 = missing;
        exact_depth: float32 [h, w, 1] metres, 0 = sky;
        weight: float32 [1, 1, 1], the weight of errors in metres.
    """
    key = jax.random.fold_in(jax.random.key(windows.seed), frame["position"])
    keys = jax.random.split(key, 6)
    reach = jnp.array(size) - jnp.array(windows.crop)
    corner = jax.random.randint(keys[0], (2,), 0, reach + 1)
    spread = jax.random.choice(keys[4], jnp.array(SPREADS))
    exact, ground_truth, scans = frame_maps(frame, size, corner, windows.crop, spread)
    error_keys = jax.random.split(keys[5])
    ground_truth = blur_edges(error_keys[0], ground_truth, exact)
    ground_truth, scans = see_through(error_keys[1], ground_truth, exact, scans)
    sparse = draw_sparse(keys[1], scans, exact, windows.patterns)
    density = jnp.mean(sparse > 0)
    weight = jnp.clip(density, LEAST_DENSITY, FULL_DENSITY) / FULL_DENSITY
    maps = [leaf[..., None] for leaf in (sparse, ground_truth, exact)]
    mirrored = jax.random.bernoulli(keys[3])
    image = _image(keys[2], frame["image"], corner, reach, windows)
    image, *maps = (jnp.where(mirrored, leaf[:, ::-1], leaf) for leaf in (image, *maps))
    names = ("sparse_depth", "ground_truth", "exact_depth")
    return dict(zip(names, maps, strict=True)) | {
        "image": image,
        "weight": (weight**DENSITY_POWER).reshape(1, 1, 1),
    }


def frame_maps(
    frame: dict[str, jax.Array],
    size: Size,
    corner: jax.Array,
    crop: Size,
    spread: jax.Array | int = 0,
) -> tuple[jax.Array, jax.Array, tuple[Points, Points]]:
    """Returns exact depth, ground truth and scans of a window.

    Args:
      frame, size: as for `pool_example`.
      corner: `[2]`, the first row and column of the window.
      crop: (height, width) of the window.
      spread: the number of columns, 0 to `max(SPREADS)`, by which the foreground grows.

    Returns:
      The exact depth `[h, w]` in metres, 0 = sky; the ground truth `[h, w]` in metres, 0 = missing;
      and the two scans.
    """
    sharp = _cut(frame["depth"], corner, crop).astype(jnp.float32) / UNIT
    known = jnp.unpackbits(frame["known"])[: size[0] * size[1]].reshape(size)
    exact, known = _grown(sharp, _cut(known, corner, crop) > 0, spread)
    first, second = (_moved(_points(frame, scan, size, corner), sharp, exact) for scan in range(2))
    own = scatter(first, jnp.ones(first.row.shape, bool), crop)
    agrees = (own > 0) & (jnp.abs(own - exact) < SAME * exact)
    return exact, jnp.where(known, jnp.where(agrees, own, exact), 0.0), (first, second)


def _grown(
    depth: jax.Array, known: jax.Array, spread: jax.Array | int
) -> tuple[jax.Array, jax.Array]:
    """Grows the foreground of a depth map by columns, with its mask of known pixels."""
    nearest = jnp.where(depth > 0, depth, jnp.inf)
    sources = nearest, known
    reach = max(SPREADS)
    padded = [jnp.pad(array, ((0, 0), (reach, reach)), "edge") for array in sources]
    for offset in (offset for offset in range(-reach, reach + 1) if offset):
        beside, beside_known = (
            jax.lax.slice_in_dim(array, reach + offset, reach + offset + depth.shape[1], axis=1)
            for array in padded
        )
        nearer = (abs(offset) <= spread) & (beside < (1.0 - EDGE) * nearest)
        nearest = jnp.where(nearer, beside, nearest)
        known = jnp.where(nearer, beside_known, known)
    return jnp.where(jnp.isfinite(nearest), nearest, 0.0), known


def _moved(points: Points, sharp: jax.Array, grown: jax.Array) -> Points:
    """Moves points to the foreground where it has grown over them."""
    row, column = (
        jnp.clip(index, 0, length - 1)
        for index, length in zip((points.row, points.column), sharp.shape, strict=True)
    )
    before, after = sharp[row, column], grown[row, column]
    inside = (row == points.row) & (column == points.column)
    same = inside & (after < before) & (jnp.abs(points.depth - before) < SAME * before)
    moved = points.depth * after / jnp.where(before > 0, before, 1.0)
    return points._replace(depth=jnp.where(same, moved, points.depth))


def _image(
    key: jax.Array, image: jax.Array, corner: jax.Array, reach: jax.Array, windows: Windows
) -> jax.Array:
    shift_key, swap_key, clutter_key, strength_key, vary_key = jax.random.split(key, 5)
    most = windows.misalignment
    shift = jax.random.randint(shift_key, (2,), -most, most + 1)
    image = _cut(image, jnp.clip(corner + shift, 0, reach), windows.crop).astype(jnp.float32)
    image = swap_parts(swap_key, image, SWAPPED)
    strength = windows.clutter * jax.random.uniform(strength_key) ** 2
    gain = clutter_gain(clutter_key, windows.crop, 1.0)
    return vary(vary_key, image * (1.0 + strength * (gain - 1.0))).astype(jnp.uint8)


def _cut(array: jax.Array, corner: jax.Array, crop: Size) -> jax.Array:
    for axis in range(2):
        array = jax.lax.dynamic_slice_in_dim(array, corner[axis], crop[axis], axis)
    return array


def _points(frame: dict[str, jax.Array], scan: int, size: Size, corner: jax.Array) -> Points:
    pixel = frame["pixel"][scan]
    return Points(
        pixel // size[1] - corner[0],
        pixel % size[1] - corner[1],
        # Pixels of missing points are negative.
        jnp.where(pixel >= 0, frame["range"][scan].astype(jnp.float32) / UNIT, 0.0),
        frame["beam"][scan].astype(jnp.int32),
        frame["beams"][scan],
    )
