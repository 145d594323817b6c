"""The solids of which streets are built: boxes, ellipsoids and upright circular cylinders.

The world frame has x to the right, y down and z along the street, in metres.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from fcfrnet_jax.streets.scene.value_noise import hash_cell

# The material of a solid determines its shading and its reflection of laser light.
GROUND, PAVEMENT, BUILDING, CAR, CABIN, WHEEL, TRUCK = range(7)
FOLIAGE, TRUNK, METAL, SIGN, PERSON, WALL, PLAIN = range(7, 14)

# The share of gaps in a crown, and the size in metres of its gaps and clumps of leaves.
GAPS = (0.1, 0.55)
CLUMP = (0.12, 0.45)

# The depth under the ground, in metres, of the solids that are absent from a street.
SUNK = 500.0

Number = jax.Array | float
Point = tuple[Number, Number, Number]
Colour = tuple[float, float, float]  # linear RGB
# Draws `count` uniform random numbers between two limits.
Draw = Callable[[int, float, float], jax.Array]


class Primitives(NamedTuple):
    """N solids of one shape.

    Attributes:
      centre: `[N, 3]` metres.
      half: `[N, 3]` metres, half the extents.
      yaw: `[N]` radians, from z towards x.
      colour: `[N, 3]` linear RGB.
      material: int32 `[N]`.
    """

    centre: jax.Array
    half: jax.Array
    yaw: jax.Array
    colour: jax.Array
    material: jax.Array


class SolidParts(NamedTuple):
    """Solids by shape: axis-aligned boxes, rotated boxes with their slopes, and round solids."""

    upright: tuple[Primitives, ...] = ()
    turned: tuple[tuple[Primitives, jax.Array], ...] = ()
    ellipsoids: tuple[Primitives, ...] = ()
    cylinders: tuple[Primitives, ...] = ()


class Ground(NamedTuple):
    """Level up to z = `bend`, then a plane with slope dy/dz = `slope` (negative: uphill)."""

    bend: jax.Array
    slope: jax.Array

    def slope_at(self, z: jax.Array) -> jax.Array:
        """Returns the slope dy/dz of the ground at z."""
        return jnp.where(z > self.bend, self.slope, 0.0)

    def level(self, z: jax.Array) -> jax.Array:
        """Returns the y coordinate of the ground at z."""
        return self.slope * jnp.maximum(z - self.bend, 0.0)


def join(*parts: Primitives) -> Primitives:
    """Concatenates solids, in the order of the arguments."""
    return Primitives(*(jnp.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def solids(
    centre: Point,
    half: Point,
    colour: Number,
    material: Number,
    yaw: Number = 0.0,
    present: jax.Array | bool = True,
) -> Primitives:
    """Builds solids, as many as the longest argument has; those not `present` are underground."""
    x, y, z = centre
    y = jnp.where(present, y, SUNK)
    shapes = [jnp.shape(number) for number in (x, y, z, *half, yaw, material)]
    (count,) = jnp.broadcast_shapes(*shapes, (1,))

    def spread(numbers: tuple[Number, ...]) -> jax.Array:
        return jnp.stack([jnp.broadcast_to(jnp.float32(n), (count,)) for n in numbers], axis=-1)

    return Primitives(
        centre=spread((x, y, z)),
        half=spread(half),
        yaw=jnp.broadcast_to(jnp.float32(yaw), (count,)),
        colour=jnp.broadcast_to(jnp.float32(colour), (count, 3)),
        material=jnp.broadcast_to(jnp.int32(material), (count,)),
    )


def leaf_gaps(balls: Primitives) -> jax.Array:
    """Returns, for ellipsoids `[N, 2]`, the share of space that is gaps, and cells per metre.

    Only leaves have gaps. They are different for each solid.
    """
    x, y, z = jnp.floor(64.0 * balls.centre.T)
    low, high = GAPS
    gaps = low + (high - low) * hash_cell(x, y, z)
    fine, coarse = CLUMP
    size = fine * (coarse / fine) ** hash_cell(z, x, y)
    return jnp.stack([jnp.where(balls.material == FOLIAGE, gaps, 0.0), 1.0 / size], axis=1)


def leaning(boxes: Primitives, slope_x: Number, slope_z: Number) -> tuple[Primitives, jax.Array]:
    """Pairs boxes with their slopes dy/dx and dy/dz `[N, 2]`, in their rotated frame."""
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
) -> SolidParts:
    """Builds long boxes along the street that follow the ground: a part before its bend, one after.

    Args:
      ground: the ground.
      x: `[N]` metres, the centres.
      bottom: the height of the lower face above the ground in metres.
      ends: the first and the last z in metres.
      half_x, half_y: half the extents in metres.
      look: colour and material.
      present: which boxes exist.
      slope_x: the slope dy/dx; None = 0, with axis-aligned boxes on level ground.
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
        return SolidParts(upright=(level,), turned=(sloping,))
    return SolidParts(turned=(leaning(level, slope_x, 0.0), sloping))


def choose(colours: tuple[Colour, ...], number: jax.Array) -> jax.Array:
    """Selects a colour for each number in [0, 1]; returns `[N, 3]`."""
    last = len(colours) - 1
    return jnp.array(colours)[jnp.minimum(len(colours) * number, last).astype(jnp.int32)]


def sides(count: int) -> jax.Array:
    """Returns alternately -1 (left) and 1 (right)."""
    return jnp.where(jnp.arange(count) % 2 == 0, -1.0, 1.0)
