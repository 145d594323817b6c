"""Procedural patterns: hashed cells, value noise, and antialiased lines."""

import jax
import jax.numpy as jnp

FACTORS = (0x8DA6B343, 0xD8163841, 0xCB1AB31F)


def hash_cell(x: jax.Array, y: jax.Array, z: jax.Array) -> jax.Array:
    """Returns a pseudo-random number in [0, 1) for each cell; coordinates are integers `[R]`."""
    words = (
        jnp.asarray(axis).astype(jnp.int32).astype(jnp.uint32) * jnp.uint32(factor)
        for axis, factor in zip((x, y, z), FACTORS, strict=True)
    )
    a, b, c = words
    return _to_number(_mix(a ^ b ^ c))


def value_noise(x: jax.Array, y: jax.Array, z: jax.Array) -> jax.Array:
    """Returns smooth noise in [0, 1) at points, given as three coordinates `[R]`.

    Value noise as in Ebert et al., Texturing and Modeling: random numbers at the points of the unit
    lattice, interpolated by the cubic 3t^2 - 2t^3.
    """
    near, far, weight = [], [], []
    for axis, factor in zip((x, y, z), FACTORS, strict=True):
        floor = jnp.floor(axis)
        fraction = axis - floor
        weight.append(fraction * fraction * (3.0 - 2.0 * fraction))
        near.append(floor.astype(jnp.int32).astype(jnp.uint32) * jnp.uint32(factor))
        far.append(near[-1] + jnp.uint32(factor))

    def between(low: jax.Array, high: jax.Array, axis: int) -> jax.Array:
        return low + weight[axis] * (high - low)

    # Coordinates are separate and the eight corners unrolled: XLA would not fuse stacked ones.
    corners = [
        between(_to_number(_mix(near[0] ^ b ^ c)), _to_number(_mix(far[0] ^ b ^ c)), 0)
        for c in (near[2], far[2])
        for b in (near[1], far[1])
    ]
    near_z, far_z = (between(corners[k], corners[k + 1], 1) for k in (0, 2))
    return between(near_z, far_z, 2)


def mark(offset: jax.Array, half_width: jax.Array | float, footprint: jax.Array) -> jax.Array:
    """Returns 1 within `half_width` of offset 0, and 0 elsewhere, averaged over a pixel.

    The length that a pixel covers is `footprint`. All lengths have the same unit.
    """
    size = jnp.maximum(footprint, 1e-3)
    high = jnp.minimum(offset + 0.5 * size, half_width)
    low = jnp.maximum(offset - 0.5 * size, -half_width)
    return jnp.maximum(high - low, 0.0) / size


def joints(
    position: jax.Array, spacing: jax.Array | float, half_width: float, footprint: jax.Array
) -> jax.Array:
    """Returns 1 on parallel lines, `spacing` apart, and 0 between them, averaged over a pixel."""
    offset = position - spacing * jnp.rint(position / spacing)
    share = 2.0 * half_width / spacing
    # A pixel that covers several lines gets their share of the area.
    many = jnp.clip(2.0 * footprint / spacing - 0.5, 0.0, 1.0)
    single = mark(offset, half_width, footprint)
    return single + (share - single) * many


def _mix(bits: jax.Array) -> jax.Array:
    bits = (bits ^ (bits >> 15)) * jnp.uint32(0x2C1B3C6D)
    return bits ^ (bits >> 13)


def _to_number(bits: jax.Array) -> jax.Array:
    # CPUs convert signed integers to floats in one instruction, but not unsigned ones.
    return (bits >> 8).astype(jnp.int32).astype(jnp.float32) * (1.0 / (1 << 24))
