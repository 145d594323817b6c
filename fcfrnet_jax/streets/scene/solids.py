"""The solids of which streets are built: boxes, ellipsoids and round upright cylinders.

World frame: x right, y down, z along the street, metres.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from fcfrnet_jax.streets.scene.value_noise import hash_cell

# What a solid is made of, which decides how it is shaded and how it reflects a laser.
GROUND, PAVEMENT, BUILDING, CAR, CABIN, WHEEL, TRUCK = range(7)
FOLIAGE, TRUNK, METAL, SIGN, PERSON, WALL, PLAIN = range(7, 14)

# Of the space in a crown, the share that is gaps, and metres over which it is gap or leaves.
GAPS = (0.1, 0.55)
CLUMP = (0.12, 0.45)

# How far under the ground the solids lie that a street does without.
SUNK = 500.0

Number = jax.Array | float
# Draws `count` numbers between two limits.
Draw = Callable[[int, float, float], jax.Array]


class Primitives(NamedTuple):
    """N solids: centre, half extents, colour `[N, 3]`; yaw in radians and material `[N]`."""

    centre: jax.Array
    half: jax.Array
    yaw: jax.Array
    colour: jax.Array
    material: jax.Array


class Parts(NamedTuple):
    """Solids by shape: upright boxes without yaw, turned boxes and their lean, and round ones."""

    upright: tuple[Primitives, ...] = ()
    turned: tuple[tuple[Primitives, jax.Array], ...] = ()
    ellipsoids: tuple[Primitives, ...] = ()
    cylinders: tuple[Primitives, ...] = ()


class Ground(NamedTuple):
    """Level up to z = `bend`, then a plane with slope dy/dz = `slope` (negative: uphill)."""

    bend: jax.Array
    slope: jax.Array

    def slope_at(self, z: jax.Array) -> jax.Array:
        return jnp.where(z > self.bend, self.slope, 0.0)

    def level(self, z: jax.Array) -> jax.Array:
        """Returns y of the ground."""
        return self.slope * jnp.maximum(z - self.bend, 0.0)


def join(*parts: Primitives) -> Primitives:
    """Returns the solids of all `parts` in one, in their order."""
    return Primitives(*(jnp.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def solids(
    centre: tuple[Number, Number, Number],
    half: tuple[Number, Number, Number],
    colour: Number,
    material: Number,
    yaw: Number = 0.0,
    present: jax.Array | bool = True,
) -> Primitives:
    """Builds as many solids as the longest argument has, under the ground where not `present`."""
    x, y, z = centre
    y = jnp.where(present, y, SUNK)
    shapes = [jnp.shape(number) for number in (x, y, z, *half, yaw, material)]
    (count,) = jnp.broadcast_shapes(*shapes, (1,))

    def spread(numbers: tuple) -> jax.Array:
        return jnp.stack([jnp.broadcast_to(jnp.float32(n), (count,)) for n in numbers], axis=-1)

    return Primitives(
        centre=spread((x, y, z)),
        half=spread(half),
        yaw=jnp.broadcast_to(jnp.float32(yaw), (count,)),
        colour=jnp.broadcast_to(jnp.float32(colour), (count, 3)),
        material=jnp.broadcast_to(jnp.int32(material), (count,)),
    )


def leaf_gaps(balls: Primitives) -> jax.Array:
    """Returns `[N, 2]` for ellipsoids: the share of space that is gaps, cells of it to a metre.

    Leaves have gaps, different ones for each solid; all else has none.
    """
    x, y, z = jnp.floor(64.0 * balls.centre.T)
    low, high = GAPS
    gaps = low + (high - low) * hash_cell(x, y, z)
    fine, coarse = CLUMP
    size = fine * (coarse / fine) ** hash_cell(z, x, y)
    return jnp.stack([jnp.where(balls.material == FOLIAGE, gaps, 0.0), 1.0 / size], axis=1)


def leaning(boxes: Primitives, slope_x: Number, slope_z: Number) -> tuple[Primitives, jax.Array]:
    """Pairs boxes with their slopes dy/dx and dy/dz `[N, 2]` in their turned frame."""
    slopes = [jnp.broadcast_to(jnp.float32(slope), boxes.yaw.shape) for slope in (slope_x, slope_z)]
    return boxes, jnp.stack(slopes, axis=-1)


def along(
    ground: Ground,
    x: jax.Array,
    bottom: Number,
    ends: tuple[Number, Number],
    half_x: Number,
    half_y: Number,
    look: tuple[Number, int],
    present: jax.Array | bool = True,
    slope_x: Number | None = None,
) -> Parts:
    """Builds long boxes along the street that follow the ground: one before its bend, one after.

    Args:
      x: `[N]` of their centres.
      bottom: metres of their lower face above the ground.
      ends: their first and last z.
      half_x, half_y: half extents.
      look: colour and material.
      present: where they exist.
      slope_x: dy/dx; without one the part on level ground is upright.
    """
    start, end = ends
    y = -bottom - half_y
    before, after = jnp.minimum(end, ground.bend), jnp.maximum(start, ground.bend)
    z, far_z = 0.5 * (start + before), 0.5 * (after + end)
    here, there = present & (before > start), present & (end > after)
    half_z, far_half_z = 0.5 * jnp.abs(before - start), 0.5 * jnp.abs(end - after)
    level = solids((x, y, z), (half_x, half_y, half_z), *look, present=here)
    far_y = y + ground.level(far_z)
    far = solids((x, far_y, far_z), (half_x, half_y, far_half_z), *look, present=there)
    sloping = leaning(far, 0.0 if slope_x is None else slope_x, ground.slope)
    if slope_x is None:
        return Parts(upright=(level,), turned=(sloping,))
    return Parts(turned=(leaning(level, slope_x, 0.0), sloping))


def choose(colours: tuple, number: jax.Array) -> jax.Array:
    """Picks one of the colours, `[N, 3]`, for each number from 0 to 1."""
    last = len(colours) - 1
    return jnp.array(colours)[jnp.minimum(len(colours) * number, last).astype(jnp.int32)]


def sides(count: int) -> jax.Array:
    """Returns -1 (left) and 1 (right) in turn."""
    return jnp.where(jnp.arange(count) % 2 == 0, -1.0, 1.0)
