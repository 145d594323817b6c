"""Procedural streets: city, residential and narrow streets, country roads and motorways.

The world frame has x to the right, y down and z along the street, in metres. The ground is at y = 0
up to a bend, after which it may rise or fall.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from fcfrnet_jax.streets.scene.buildings import buildings, hedges
from fcfrnet_jax.streets.scene.roadside import people, poles, rails, trees
from fcfrnet_jax.streets.scene.solids import (
    GROUND,
    PAVEMENT,
    Draw,
    Ground,
    Primitives,
    SolidParts,
    along,
    join,
    leaning,
    solids,
)
from fcfrnet_jax.streets.scene.style import Style, draw_style
from fcfrnet_jax.streets.scene.traffic import cyclists, vehicles

CAMERA_HEIGHT = 1.65
DRAWS = (256, 48)


class Street(NamedTuple):
    """A street and the pose of a camera in it.

    Attributes:
      boxes, ellipsoids, cylinders: the solids by shape. Cylinders are upright and circular, with
        half extents (radius, half height, radius).
      half_width: half the width of the road between its kerbs, in metres.
      lean: `[M, 2]`, the slopes (dy/dx, dy/dz) of the last M boxes, which are sheared along y, in
        their rotated frame. All boxes before them are axis-aligned.
      camera: `[3]` metres, the position of the camera.
      rotation: `[3, 3]`, camera to world.
      sun: `[3]`, the unit vector towards the sun.
      ground: where the ground is level and where it slopes.
      style: the parameters from which the street was generated.
      look: uint32, the seed of light and colours.
    """

    boxes: Primitives
    ellipsoids: Primitives
    cylinders: Primitives
    half_width: jax.Array
    lean: jax.Array
    camera: jax.Array
    rotation: jax.Array
    sun: jax.Array
    ground: Ground
    style: Style
    look: jax.Array

    @property
    def upright(self) -> int:
        """The number of axis-aligned boxes; the boxes after them are rotated and sheared."""
        return self.boxes.yaw.shape[0] - self.lean.shape[0]

    def solids(self) -> Primitives:
        """Returns all solids, in the order in which rays number them."""
        return join(self.boxes, self.ellipsoids, self.cylinders)


def make_street(
    key: jax.Array,
    travelled: float | jax.Array = 0.0,
    veer: float | jax.Array = 0.0,
    dense: float | jax.Array = 0.0,
) -> Street:
    """Generates a street, with a camera in the right lane about 1.65 m above the ground.

    Args:
      key: the JAX random key; the same key gives the same solids.
      travelled: the position of the camera in metres along the street, within about 6 m of 0.
      veer: an additional rotation of the camera in radians, from z towards x.
      dense: the probability of dense traffic, with vehicles from 3 m on.
    """
    # All random numbers are drawn at once, because each call of the generator adds compile time.
    rows = iter(jax.random.uniform(key, DRAWS))

    def draw(count: int, low: float, high: float) -> jax.Array:
        return low + (high - low) * next(rows)[:count]

    style = draw_style(draw)
    hilly = draw(1, 0.0, 1.0)[0] < 0.5
    ground = Ground(draw(1, 12.0, 70.0)[0], jnp.where(hilly, draw(1, -0.07, 0.06)[0], 0.0))
    # A key of its own, so that streets without dense traffic are the same whatever its probability.
    is_dense = jax.random.uniform(jax.random.fold_in(key, 1)) < dense
    parts = [
        build(draw, style, ground)
        for build in (
            _surface,
            partial(vehicles, dense=is_dense),
            people,
            cyclists,
            buildings,
            hedges,
            trees,
            poles,
            rails,
        )
    ]
    upright = [boxes for part in parts for boxes in part.upright]
    turned = [boxes for part in parts for boxes, _ in part.turned]
    swing, pitch, roll = draw(1, -1.0, 1.0)[0], draw(1, -0.02, 0.02)[0], draw(1, -0.012, 0.012)[0]
    heading = style.swing * swing + veer
    # The right lane, with a random offset; in one-way traffic sometimes the left one.
    lane = style.lane * jnp.where(style.one_way & (draw(1, 0.0, 1.0)[0] < 0.4), -1.0, 1.0)
    x, y = lane + draw(1, -0.35, 0.35)[0], -CAMERA_HEIGHT + draw(1, -0.1, 0.1)[0]
    return Street(
        boxes=join(*upright, *turned),
        ellipsoids=join(*(solid for part in parts for solid in part.ellipsoids)),
        cylinders=join(*(solid for part in parts for solid in part.cylinders)),
        half_width=style.half_width,
        lean=jnp.concatenate([lean for part in parts for _, lean in part.turned]),
        camera=jnp.stack([x, y, jnp.float32(travelled)]),
        rotation=camera_rotation(heading, pitch, roll),
        sun=_sun(draw),
        ground=ground,
        style=style,
        look=jax.random.bits(key),
    )


def camera_rotation(yaw: jax.Array, pitch: jax.Array, roll: jax.Array) -> jax.Array:
    """Returns the rotation `[3, 3]` from camera to world.

    Args:
      yaw: radians, from z towards x.
      pitch: radians, positive = up.
      roll: radians about z.
    """
    (cy, sy), (cp, sp), (cr, sr) = ((jnp.cos(a), jnp.sin(a)) for a in (yaw, pitch, roll))
    one, zero = jnp.ones_like(cy), jnp.zeros_like(cy)

    def matrix(*entries: jax.Array) -> jax.Array:
        return jnp.stack(entries).reshape(3, 3)

    about_y = matrix(cy, zero, sy, zero, one, zero, -sy, zero, cy)
    about_x = matrix(one, zero, zero, zero, cp, -sp, zero, sp, cp)
    about_z = matrix(cr, -sr, zero, sr, cr, zero, zero, zero, one)
    tilt = jnp.matmul(about_x, about_z, precision="highest")
    return jnp.matmul(about_y, tilt, precision="highest")


def _sun(draw: Draw) -> jax.Array:
    azimuth, elevation = draw(1, -jnp.pi, jnp.pi)[0], draw(1, 0.35, 1.2)[0]
    level = jnp.cos(elevation)
    return jnp.stack([level * jnp.sin(azimuth), -jnp.sin(elevation), level * jnp.cos(azimuth)])


def _surface(draw: Draw, style: Style, ground: Ground) -> SolidParts:
    """Builds the ground before and after the bend, raised pavements, and sloping banks."""
    far, deep = 600.0, 30.0
    near = 0.5 * (ground.bend + far)
    plain = solids((0.0, 0.5 * deep, ground.bend - near), (far, 0.5 * deep, near), 0.3, GROUND)
    y = ground.slope * 0.5 * far + 0.5 * deep
    hill = solids((0.0, y, ground.bend + 0.5 * far), (far, 0.5 * deep, 0.5 * far), 0.3, GROUND)
    side = jnp.array([-1.0, 1.0])

    half, up = 0.5 * style.walk, draw(2, 0.04, 0.16)
    x = side * (style.half_width + half)
    some = draw(2, 0.0, 1.0) < style.pavement
    walk = along(ground, x, -0.2, (-20.0, 300.0), half, 0.5 * (up + 0.2), (0.5, PAVEMENT), some)

    # The width of a bank and its rise over that width, in metres. The box is thick enough for both.
    wide, rise = draw(2, 2.0, 8.0), draw(2, 0.5, 2.5)
    x = side * (style.half_width + draw(2, 0.8, 2.5) + 0.5 * wide)
    some = ~some & (draw(2, 0.0, 1.0) < style.banks)
    ends, look = (-20.0, draw(1, 60.0, 250.0)), (0.3, GROUND)
    # The middle of the upper face is at half the rise; the lower face is in the ground.
    half, half_y = 0.5 * wide, 0.5 * (2.0 + 0.5 * rise)
    bank = along(ground, x, -2.0, ends, half, half_y, look, some, -side * rise / wide)
    return SolidParts(
        upright=(plain, *walk.upright),
        turned=(leaning(hill, 0.0, ground.slope), *walk.turned, *bank.turned),
    )
