"""Styles of streets, which determine how many objects of each kind there are."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from fcfrnet_jax.streets.scene.solids import Draw

STYLES = ("city", "residential", "narrow", "country", "motorway")
SHARES = (0.22, 0.31, 0.07, 0.25, 0.15)

# Ranges for each style. Those up to `wood` are probabilities that a single object is present.
# Lengths are in metres; `front` is the distance from the outer edge of the pavement to the walls.
RANGES = {
    #            city         residential   narrow        country      motorway
    "parked": ((0.1, 0.9), (0.0, 0.8), (0.0, 0.3), (0.0, 0.08), (0.0, 0.0)),
    "traffic": ((0.3, 0.9), (0.1, 0.5), (0.05, 0.4), (0.1, 0.6), (0.4, 1.0)),
    "heavy": ((0.1, 0.4), (0.05, 0.25), (0.05, 0.3), (0.1, 0.4), (0.2, 0.6)),
    "houses": ((0.8, 1.0), (0.6, 1.0), (0.85, 1.0), (0.0, 0.25), (0.0, 0.1)),
    "roofs": ((0.0, 0.6), (0.6, 1.0), (0.3, 1.0), (0.7, 1.0), (0.0, 1.0)),
    "annexes": ((0.2, 0.8), (0.2, 0.8), (0.1, 0.6), (0.2, 0.5), (0.0, 0.2)),
    "trees": ((0.1, 0.8), (0.2, 0.9), (0.0, 0.2), (0.3, 1.0), (0.2, 0.9)),
    "bushes": ((0.0, 0.4), (0.2, 0.9), (0.0, 0.3), (0.2, 1.0), (0.2, 1.0)),
    "thicket": ((0.0, 0.3), (0.0, 0.6), (0.0, 0.1), (0.2, 1.0), (0.1, 0.8)),
    "hedges": ((0.0, 0.4), (0.3, 1.0), (0.0, 0.4), (0.0, 0.4), (0.0, 0.2)),
    "poles": ((0.4, 1.0), (0.2, 0.8), (0.1, 0.6), (0.1, 0.6), (0.1, 0.5)),
    "signs": ((0.3, 0.9), (0.1, 0.6), (0.1, 0.5), (0.1, 0.5), (0.2, 0.7)),
    "people": ((0.2, 0.9), (0.05, 0.5), (0.1, 0.6), (0.0, 0.15), (0.0, 0.0)),
    "pavement": ((1.0, 1.0), (0.85, 1.0), (0.4, 0.8), (0.0, 0.15), (0.0, 0.0)),
    "rails": ((0.0, 0.1), (0.0, 0.1), (0.0, 0.05), (0.0, 0.5), (0.7, 1.0)),
    "banks": ((0.0, 0.0), (0.0, 0.15), (0.0, 0.0), (0.2, 0.8), (0.3, 0.9)),
    "bridge": ((0.05, 0.1), (0.0, 0.05), (0.0, 0.02), (0.0, 0.1), (0.1, 0.4)),
    "wood": ((0.2, 0.8), (0.4, 1.0), (0.2, 0.8), (0.6, 1.0), (0.5, 1.0)),
    "half_width": ((4.8, 7.5), (3.6, 5.6), (2.5, 3.4), (2.9, 4.0), (5.4, 9.0)),
    "walk": ((1.6, 4.5), (1.2, 2.5), (0.6, 1.3), (1.0, 1.6), (1.0, 1.2)),
    "front": ((0.0, 2.0), (2.0, 8.0), (0.0, 0.6), (4.0, 20.0), (8.0, 30.0)),
    "storey": ((8.0, 22.0), (4.5, 9.5), (5.0, 10.0), (4.0, 8.0), (5.0, 14.0)),
    "gap": ((-8.0, 8.0), (-2.0, 9.0), (-8.0, 5.0), (0.0, 30.0), (0.0, 40.0)),
    "swing": ((0.0, 0.04), (0.0, 0.06), (0.0, 0.05), (0.0, 0.06), (0.0, 0.03)),
}


class Style(NamedTuple):
    """Scalars: those of `RANGES`, the middle of the right lane, and whether traffic is one-way."""

    parked: jax.Array
    traffic: jax.Array
    heavy: jax.Array
    houses: jax.Array
    roofs: jax.Array
    annexes: jax.Array
    trees: jax.Array
    bushes: jax.Array
    thicket: jax.Array
    hedges: jax.Array
    poles: jax.Array
    signs: jax.Array
    people: jax.Array
    pavement: jax.Array
    rails: jax.Array
    banks: jax.Array
    bridge: jax.Array
    wood: jax.Array
    half_width: jax.Array
    walk: jax.Array
    front: jax.Array
    storey: jax.Array
    gap: jax.Array
    swing: jax.Array
    lane: jax.Array
    one_way: jax.Array


def draw_style(draw: Draw) -> Style:
    """Draws one of `STYLES` with the probabilities `SHARES`, and all numbers within its ranges."""
    bounds = jnp.cumsum(jnp.array(SHARES[:-1]))
    kind = jnp.sum(draw(1, 0.0, 1.0) > bounds)
    low, high = jnp.array(list(RANGES.values()))[:, kind].T
    numbers = dict(zip(RANGES, low + (high - low) * draw(len(RANGES), 0.0, 1.0), strict=True))
    # Parked cars narrow the road.
    free = numbers["half_width"] - jnp.where(numbers["parked"] > 0.15, 1.9, 0.0)
    return Style(lane=jnp.maximum(0.5 * free, 0.9), one_way=kind == 4, **numbers)
