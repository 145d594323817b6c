"""Casting rays into a street: camera rays, and the first solid that each ray hits."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from fcfrnet_jax.geometry import rotate
from fcfrnet_jax.streets.rays.intersect import (
    Row,
    hit_box,
    hit_cylinder,
    hit_ellipsoid,
    hit_upright_box,
)
from fcfrnet_jax.streets.scene.solids import Primitives, leaf_gaps
from fcfrnet_jax.streets.scene.street import Street
from fcfrnet_jax.streets.vectors import Vector

# On CPUs, more than SMALL rays are cast in tiles of TILE rows and columns.
SMALL = 2048
TILE = (64, 152)
# The number of solids tested in one iteration of the loop. Without tiles, each iteration reads all
# rays and what they have hit so far from the memory, and writes the latter.
UNROLL, UNROLL_WHOLE = 2, 16


def camera_rays(height: int, width: int, intrinsics: jax.Array, rotation: jax.Array) -> jax.Array:
    """Returns the directions `[3, height * width]` of the rays of an image, in world coordinates.

    Their length along the optical axis is 1. Pixels are in row-major order.

    Args:
      height, width: the size of the image in pixels.
      intrinsics: `[3, 3]` in pixels; (0, 0) is the centre of the first pixel.
      rotation: `[3, 3]`, camera to world.
    """
    v, u = jnp.mgrid[:height, :width]
    x = (u.ravel() - intrinsics[0, 2]) / intrinsics[0, 0]
    y = (v.ravel() - intrinsics[1, 2]) / intrinsics[1, 1]
    return rotate(rotation, (x, y, jnp.ones_like(x)))


def trace(
    street: Street,
    origins: jax.Array,
    directions: jax.Array,
    width: int | None = None,
    *,
    tiled: bool | None = None,
) -> tuple[jax.Array, jax.Array]:
    """Finds the first solid that each ray hits.

    It is fastest if consecutive rays are close together, and if an origin or a direction that all
    rays share is passed as `[3, 1]`.

    Args:
      street: the street.
      origins: `[3, R]` or `[3, 1]`, in world coordinates; NaN = do not cast this ray. A solid that
        contains the origin is ignored.
      directions: `[3, R]` or `[3, 1]`, of any length.
      width: the width in pixels if the rays are those of an image in row-major order. The image is
        then processed in tiles, which affects the speed only.
      tiled: whether to use tiles; None for CPUs only.

    Returns:
      The distance `[R]` in units of the direction's length, infinite where the ray hits nothing,
      and the index `[R]` of the solid in `street.solids()`.

    Raises:
      ValueError: the number of rays is not a multiple of the width.
    """
    count = max(origins.shape[1], directions.shape[1])
    if count % (width or count):
        raise ValueError(f"{count} rays are not a multiple of the width {width}")
    groups = _groups(street)
    if count <= SMALL:
        return _trace_whole(groups, count, UNROLL, origins, directions)
    whole = partial(_trace_whole, groups, count, UNROLL_WHOLE)
    tiles = partial(_trace_tiles, groups, _Tiles(count // (width or count), width or count))
    if tiled is not None:
        return (tiles if tiled else whole)(origins, directions)
    return jax.lax.platform_dependent(origins, directions, cpu=tiles, default=whole)


class _Group(NamedTuple):
    """N solids of one shape: the intersection test, bounds `[N, 3]`, and parameters `[N, K]`."""

    hit: Callable[[Row, Vector, Vector, Vector], jax.Array]
    low: jax.Array
    high: jax.Array
    numbers: jax.Array


def _groups(street: Street) -> list[_Group]:
    upright = street.upright
    boxes, turned = (
        jax.tree.map(lambda array, part=part: array[part], street.boxes)
        for part in (slice(upright), slice(upright, None))
    )
    low, high = boxes.centre - boxes.half, boxes.centre + boxes.half
    balls, posts = street.ellipsoids, street.cylinders
    return [
        _Group(hit_upright_box, low, high, jnp.concatenate([low, high], axis=1)),
        _group(hit_box, turned, turned.half, street.lean, street.lean),
        _group(hit_ellipsoid, balls, 1.0 / balls.half, jnp.zeros((1, 2)), leaf_gaps(balls)),
        _group(hit_cylinder, posts, posts.half, jnp.zeros((1, 2))),
    ]


def _group(
    hit: Callable[[Row, Vector, Vector, Vector], jax.Array],
    solids: Primitives,
    size: jax.Array,
    lean: jax.Array,
    *more: jax.Array,
) -> _Group:
    cos, sin = jnp.cos(solids.yaw), jnp.sin(solids.yaw)
    x, y, z = solids.half.T
    tall = y + jnp.abs(lean[:, 0]) * x + jnp.abs(lean[:, 1]) * z
    wide, deep = jnp.abs(cos) * x + jnp.abs(sin) * z, jnp.abs(cos) * z + jnp.abs(sin) * x
    reach = jnp.stack([wide, tall, deep], axis=1)
    columns = (solids.centre, size, cos[:, None], sin[:, None], *more)
    numbers = jnp.concatenate(columns, axis=1)
    return _Group(hit, solids.centre - reach, solids.centre + reach, numbers)


class _Tiles(NamedTuple):
    """The tiles of an image of `rows` by `width` pixels; a single row is cut into strips."""

    rows: int
    width: int

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of a tile."""
        tall = min(self.rows, TILE[0])
        wide = min(self.width, TILE[0] * TILE[1] // tall)
        # As few tiles as possible, all of about the same width.
        return tall, -(-self.width // -(-self.width // wide))

    @property
    def grid(self) -> tuple[int, int]:
        """The number of tiles in a column and in a row."""
        tall, wide = self.shape
        return -(-self.rows // tall), -(-self.width // wide)

    def cut(self, rays: jax.Array) -> jax.Array:
        """Converts `[3, R]` to `[tiles, 3, rays per tile]`, padding with the image's edges."""
        (tall, wide), (down, across) = self.shape, self.grid
        if rays.shape[1] == 1:
            return jnp.broadcast_to(rays, (down * across, 3, 1))
        edges = ((0, 0), (0, down * tall - self.rows), (0, across * wide - self.width))
        image = jnp.pad(rays.reshape(3, self.rows, self.width), edges, mode="edge")
        tiles = image.reshape(3, down, tall, across, wide).transpose(1, 3, 0, 2, 4)
        return tiles.reshape(down * across, 3, tall * wide)

    def paste(self, tiles: jax.Array) -> jax.Array:
        """Converts `[tiles, rays per tile]` to `[R]`."""
        (tall, wide), (down, across) = self.shape, self.grid
        image = tiles.reshape(down, across, tall, wide).transpose(0, 2, 1, 3)
        return image.reshape(down * tall, -1)[: self.rows, : self.width].ravel()


def _trace_tiles(
    groups: list[_Group], tiles: _Tiles, origins: jax.Array, directions: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Casts the rays tile by tile, each against the solids whose bounds its rays may hit.

    A tile fits into the cache.
    """
    rays = (tiles.cut(origins), tiles.cut(directions))
    near = [jax.vmap(partial(_may_meet, group))(*rays) for group in groups]
    orders = [jnp.argsort(~some, axis=1, stable=True) for some in near]
    counts = [jnp.sum(some, axis=1) for some in near]
    size = tiles.shape[0] * tiles.shape[1]
    distance, index = jax.lax.map(lambda tile: _cast(groups, size, *tile), (*rays, orders, counts))
    return tiles.paste(distance), tiles.paste(index)


def _trace_whole(
    groups: list[_Group],
    count: int,
    unroll: int,
    origins: jax.Array,
    directions: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """Casts all rays against all solids."""
    counts = [group.numbers.shape[0] for group in groups]
    orders = [jnp.arange(n) for n in counts]
    return _cast(groups, count, origins, directions, orders, counts, unroll)


def _cast(
    groups: list[_Group],
    size: int,
    origins: jax.Array,
    directions: jax.Array,
    orders: list[jax.Array],
    counts: Sequence[int | jax.Array],
    unroll: int = UNROLL,
) -> tuple[jax.Array, jax.Array]:
    """Casts `size` rays against the first `counts[i]` solids of group i, taken in `orders[i]`."""
    directions = jnp.where(jnp.abs(directions) < 1e-9, 1e-9, directions)
    rays = (tuple(origins), tuple(directions), tuple(1.0 / directions))
    best = (jnp.full(size, jnp.inf), jnp.zeros(size, jnp.int32))
    first = 0
    for group, order, count in zip(groups, orders, counts, strict=True):
        total = order.shape[0]
        if total:
            # The loop may run past the count. What follows there does not change the result: solids
            # that no ray hits, and copies of the last solid.
            step = min(unroll, total)
            order = jnp.pad(order, (0, -total % step), mode="edge").astype(jnp.int32)
            nearer = partial(_nearer, group, order.reshape(-1, step), first, rays)
            best = jax.lax.fori_loop(0, (count + step - 1) // step, nearer, best)
        first += total
    return best


def _nearer(
    group: _Group,
    turns: jax.Array,
    first: int,
    rays: tuple[Vector, Vector, Vector],
    turn: jax.Array,
    best: tuple[jax.Array, jax.Array],
) -> tuple[jax.Array, jax.Array]:
    solids = turns[turn]

    def test(i: int | jax.Array, best: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        solid = solids[i]
        distance = group.hit(tuple(group.numbers[solid]), *rays)
        closer = distance < best[0]
        index = jnp.where(closer, first + solid, best[1])
        return jnp.where(closer, distance, best[0]), index

    # Traced once, although it is compiled several times.
    return jax.lax.fori_loop(0, len(solids), test, best, unroll=len(solids))


def _may_meet(group: _Group, origins: jax.Array, directions: jax.Array) -> jax.Array:
    """Returns bool `[N]`: whether any ray may hit a solid's bounds, by interval arithmetic.

    On each axis, the point at t > 0 lies between o + t d for the least and the greatest o and d.
    """
    slack = 1e-3 + 1e-4 * jnp.max(group.high - group.low, axis=1, keepdims=True)
    cast = jnp.isfinite(origins)
    low = group.low - slack - jnp.max(origins, axis=1, where=cast, initial=-jnp.inf)
    high = group.high + slack - jnp.min(origins, axis=1, where=cast, initial=jnp.inf)
    least, most = jnp.min(directions, axis=1), jnp.max(directions, axis=1)
    # The conditions t * least <= high and t * most >= low, solved for t.
    starts = (jnp.where(least < 0, high / least, 0.0), jnp.where(most > 0, low / most, 0.0))
    ends = (jnp.where(least > 0, high / least, jnp.inf), jnp.where(most < 0, low / most, jnp.inf))
    start = jnp.max(jnp.maximum(jnp.maximum(*starts), 0.0), axis=1)
    possible = ((least < 0) | (high >= 0)) & ((most > 0) | (low <= 0))
    return (start <= jnp.min(jnp.minimum(*ends), axis=1)) & jnp.all(possible, axis=1)
