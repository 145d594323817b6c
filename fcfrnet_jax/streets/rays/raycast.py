"""Rays, and the first solid of a street that each of them hits."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from fcfrnet_jax.streets.rays.intersect import (
    Vector,
    hit_box,
    hit_cylinder,
    hit_ellipsoid,
    hit_upright_box,
)
from fcfrnet_jax.streets.scene.solids import Primitives, leaf_gaps
from fcfrnet_jax.streets.scene.street import Street

# On CPUs, more rays than a few are cast in tiles, of so many rows and columns.
SMALL = 2048
TILE = (64, 152)
# Solids tested in one turn of a loop.
UNROLL = 2


def camera_rays(height: int, width: int, intrinsics: jax.Array, rotation: jax.Array) -> jax.Array:
    """Returns world ray directions `[3, height * width]`, of length 1 along the optical axis.

    Args:
      height, width: of the picture in pixels, whose rows follow one another in the result.
      intrinsics: `[3, 3]` in pixels, the centre of the first pixel at (0, 0).
      rotation: `[3, 3]`, camera to world.
    """
    v, u = jnp.mgrid[:height, :width]
    x = (u.ravel() - intrinsics[0, 2]) / intrinsics[0, 0]
    y = (v.ravel() - intrinsics[1, 2]) / intrinsics[1, 1]
    # Written out: a matrix product would be rounded to bfloat16 or TF32 on some platforms.
    return jnp.stack([row[0] * x + row[1] * y + row[2] for row in rotation])


def trace(
    street: Street, origins: jax.Array, directions: jax.Array, width: int | None = None
) -> tuple[jax.Array, jax.Array]:
    """Finds the first solid on each ray.

    It is quickest when rays that follow one another are close together, and when a common origin or
    a common direction is given as `[3, 1]`.

    Args:
      origins: `[3, R]` or `[3, 1]`, in the world; a solid that holds the origin is not seen. NaN
        for rays that need not be cast.
      directions: `[3, R]` or `[3, 1]`, of any length.
      width: if the rays are those of a picture, row by row, its width in pixels: it is then cut
        into tiles, which changes the time only.

    Returns:
      The distance `[R]` in units of the direction's length, infinite where the ray hits nothing,
      and the index `[R]` of the solid in the order boxes, ellipsoids, cylinders.

    Raises:
      ValueError: the rays do not fill rows of this width.
    """
    count = max(origins.shape[1], directions.shape[1])
    if count % (width or count):
        raise ValueError(f"{count} rays do not fill rows of {width}")
    groups = _groups(street)
    whole = partial(_trace_whole, groups, count)
    if count <= SMALL:
        return whole(origins, directions)
    tiles = partial(_trace_tiles, groups, _Tiles(count // (width or count), width or count))
    return jax.lax.platform_dependent(origins, directions, cpu=tiles, default=whole)


class _Group(NamedTuple):
    """N solids of one shape: their test, their bounds `[N, 3]`, the test's numbers `[N, K]`."""

    hit: Callable
    low: jax.Array
    high: jax.Array
    numbers: jax.Array


def _groups(street: Street) -> list[_Group]:
    upright = street.boxes.yaw.shape[0] - street.lean.shape[0]
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
    hit: Callable, solids: Primitives, size: jax.Array, lean: jax.Array, *more: jax.Array
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
    """How a picture of `rows` by `width` is cut; a single row into strips."""

    rows: int
    width: int

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of a tile."""
        tall = min(self.rows, TILE[0])
        wide = min(self.width, TILE[0] * TILE[1] // tall)
        # Even tiles: as few as are needed, and no wider than that takes.
        return tall, -(-self.width // -(-self.width // wide))

    def cut(self, rays: jax.Array) -> jax.Array:
        """Turns `[3, R]` into `[tiles, 3, rays of a tile]`, repeating the picture's edges."""
        tall, wide = self.shape
        down, across = -(-self.rows // tall), -(-self.width // wide)
        if rays.shape[1] == 1:
            return jnp.broadcast_to(rays, (down * across, 3, 1))
        edges = ((0, 0), (0, down * tall - self.rows), (0, across * wide - self.width))
        picture = jnp.pad(rays.reshape(3, self.rows, self.width), edges, mode="edge")
        tiles = picture.reshape(3, down, tall, across, wide).transpose(1, 3, 0, 2, 4)
        return tiles.reshape(down * across, 3, tall * wide)

    def paste(self, tiles: jax.Array) -> jax.Array:
        """Turns `[tiles, rays of a tile]` into `[R]`."""
        tall, wide = self.shape
        down, across = -(-self.rows // tall), -(-self.width // wide)
        picture = tiles.reshape(down, across, tall, wide).transpose(0, 2, 1, 3)
        return picture.reshape(down * tall, -1)[: self.rows, : self.width].ravel()


def _trace_tiles(
    groups: list[_Group], tiles: _Tiles, origins: jax.Array, directions: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Casts tiles that fit the cache, each at the solids whose bounds it may meet."""
    rays = (tiles.cut(origins), tiles.cut(directions))
    near = [jax.vmap(partial(_may_meet, group))(*rays) for group in groups]
    orders = [jnp.argsort(~some, axis=1, stable=True) for some in near]
    counts = [jnp.sum(some, axis=1) for some in near]
    size = tiles.shape[0] * tiles.shape[1]
    distance, index = jax.lax.map(lambda tile: _cast(groups, size, *tile), (*rays, orders, counts))
    return tiles.paste(distance), tiles.paste(index)


def _trace_whole(
    groups: list[_Group], count: int, origins: jax.Array, directions: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Casts all rays at all solids."""
    counts = [group.numbers.shape[0] for group in groups]
    return _cast(groups, count, origins, directions, [jnp.arange(n) for n in counts], counts)


def _cast(
    groups: list[_Group],
    size: int,
    origins: jax.Array,
    directions: jax.Array,
    orders: list[jax.Array],
    counts: list,
) -> tuple[jax.Array, jax.Array]:
    """Casts `size` rays at the first so many, by `counts`, of each group's solids in an order."""
    directions = jnp.where(jnp.abs(directions) < 1e-9, 1e-9, directions)
    rays = (tuple(origins), tuple(directions), tuple(1.0 / directions))
    best = (jnp.full(size, jnp.inf), jnp.zeros(size, jnp.int32))
    first = 0
    for group, order, count in zip(groups, orders, counts, strict=True):
        total = order.shape[0]
        if total:
            # Beyond the count follow solids that no ray meets, and the last one again, which
            # changes nothing.
            order = jnp.pad(order, (0, -total % UNROLL), mode="edge").astype(jnp.int32)
            nearer = partial(_nearer, group, order.reshape(-1, UNROLL), first, rays)
            best = jax.lax.fori_loop(0, (count + UNROLL - 1) // UNROLL, nearer, best)
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
    for solid in turns[turn]:
        distance = group.hit(tuple(group.numbers[solid]), *rays)
        closer = distance < best[0]
        index = jnp.where(closer, first + solid, best[1])
        best = (jnp.where(closer, distance, best[0]), index)
    return best


def _may_meet(group: _Group, origins: jax.Array, directions: jax.Array) -> jax.Array:
    """Tells `[N]` which solids' bounds any of the rays may meet, by interval arithmetic.

    On each axis a point at t > 0 lies between o + t d for the least and the greatest o and d.
    """
    slack = 1e-3 + 1e-4 * jnp.max(group.high - group.low, axis=1, keepdims=True)
    cast = jnp.isfinite(origins)
    low = group.low - slack - jnp.max(origins, axis=1, where=cast, initial=-jnp.inf)
    high = group.high + slack - jnp.min(origins, axis=1, where=cast, initial=jnp.inf)
    least, most = jnp.min(directions, axis=1), jnp.max(directions, axis=1)
    # From t least <= high and t most >= low.
    starts = (jnp.where(least < 0, high / least, 0.0), jnp.where(most > 0, low / most, 0.0))
    ends = (jnp.where(least > 0, high / least, jnp.inf), jnp.where(most < 0, low / most, jnp.inf))
    start = jnp.max(jnp.maximum(jnp.maximum(*starts), 0.0), axis=1)
    possible = ((least < 0) | (high >= 0)) & ((most > 0) | (low <= 0))
    return (start <= jnp.min(jnp.minimum(*ends), axis=1)) & jnp.all(possible, axis=1)
