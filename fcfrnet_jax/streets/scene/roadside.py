"""Objects along a street: trees and bushes, lamps and signs, guard rails, people."""

import jax
import jax.numpy as jnp

from fcfrnet_jax.streets.scene.solids import (
    FOLIAGE,
    METAL,
    PERSON,
    SIGN,
    TRUNK,
    Draw,
    Ground,
    Number,
    Primitives,
    SolidParts,
    along,
    choose,
    sides,
    solids,
)
from fcfrnet_jax.streets.scene.style import Style
from fcfrnet_jax.streets.scene.traffic import CLOTHES, SKIN

GREENS = ((0.13, 0.2, 0.05), (0.08, 0.14, 0.04), (0.2, 0.22, 0.06), (0.1, 0.16, 0.07))
BARKS = ((0.1, 0.075, 0.05), (0.16, 0.14, 0.11), (0.06, 0.05, 0.04))
SIGNS = ((0.6, 0.04, 0.04), (0.03, 0.1, 0.45), (0.7, 0.7, 0.68), (0.7, 0.5, 0.03))

TREES, TUFTS, BUSHES, THICKET, WOOD = 12, 4, 8, 16, 8
LAMPS, PLATES, LIGHTS, UTILITY, BOLLARDS, POSTS = 6, 6, 2, 4, 4, 20
PEOPLE = 6


def trees(draw: Draw, style: Style, ground: Ground) -> SolidParts:
    """Builds trees from a trunk and four ellipsoids, bushes, thickets, and distant woods."""
    side = sides(TREES)
    x = side * (style.half_width + 0.7 + draw(1, 0.0, 5.0) + draw(TREES, 0.0, 4.0) ** 1.5)
    z = 5.0 + 11.0 * (jnp.arange(TREES) // 2) + draw(TREES, 0.0, 9.0)
    present = draw(TREES, 0.0, 1.0) < style.trees
    height, radius = draw(TREES, 1.6, 3.6), draw(1, 0.8, 1.4) * draw(TREES, 0.7, 1.8)
    level, girth = ground.level(z), draw(TREES, 0.06, 0.25)
    half = 0.5 * (height + radius)
    bark = choose(BARKS, draw(TREES, 0.0, 1.0))
    trunks = solids((x, level - half, z), (girth, half, girth), bark, TRUNK, present=present)

    def each(numbers: jax.Array) -> jax.Array:
        return jnp.repeat(numbers, TUFTS, axis=0)

    count, tuft = TREES * TUFTS, jnp.tile(jnp.arange(TUFTS), TREES)
    around = 2.1 * tuft + each(draw(TREES, 0.0, 6.0))
    size = each(radius) * draw(count, 0.65, 1.1)
    tall = each(draw(TREES, 0.7, 1.5))
    up = (tuft - 0.5 * (TUFTS - 1)) * 0.55 * tall
    crowns = solids(
        (
            each(x) + 0.6 * size * jnp.sin(around),
            each(level - height - radius) - up * size,
            each(z) + 0.6 * size * jnp.cos(around),
        ),
        (size, 0.9 * tall * size, size),
        each(choose(GREENS, draw(TREES, 0.0, 1.0))) * draw(count, 0.7, 1.2)[:, None],
        FOLIAGE,
        present=each(present),
    )
    leaves = (crowns, *_bushes(draw, style, ground), _thicket(draw, style, ground))
    return SolidParts(ellipsoids=leaves, cylinders=(trunks,))


def _bushes(draw: Draw, style: Style, ground: Ground) -> tuple[Primitives, Primitives]:
    z, size = draw(BUSHES, 4.0, 60.0), draw(BUSHES, 0.3, 1.6)
    x = sides(BUSHES) * (style.half_width + style.walk + size + draw(BUSHES, 0.0, 5.0))
    bushes = solids(
        (x, ground.level(z) - 0.5 * size, z),
        (size, 0.9 * size, size * draw(BUSHES, 0.8, 2.0)),
        choose(GREENS, draw(BUSHES, 0.0, 1.0)) * draw(BUSHES, 0.7, 1.2)[:, None],
        FOLIAGE,
        present=draw(BUSHES, 0.0, 1.0) < style.bushes,
    )
    # Half of the wood is at the end of the street, the other half on both sides.
    ahead = jnp.arange(WOOD) % 4 < 2
    far = jnp.where(ahead, draw(WOOD, 38.0, 150.0), draw(WOOD, 25.0, 110.0))
    aside = sides(WOOD) * (style.half_width + style.front + draw(WOOD, 10.0, 40.0))
    wide = draw(WOOD, 3.0, 9.0) * jnp.where(ahead, 1.5, 1.0)
    wood = solids(
        (jnp.where(ahead, draw(WOOD, -40.0, 40.0), aside), ground.level(far) - 2.0, far),
        (wide, draw(WOOD, 3.0, 8.0), draw(WOOD, 4.0, 15.0)),
        choose(GREENS, draw(WOOD, 0.0, 1.0)) * draw(WOOD, 0.7, 1.2)[:, None],
        FOLIAGE,
        present=draw(WOOD, 0.0, 1.0) < style.wood,
    )
    return bushes, wood


def _thicket(draw: Draw, style: Style, ground: Ground) -> Primitives:
    """Builds shrubs and low trees so close together that they form a wall along a side."""
    count = THICKET // 2

    def each(low: float, high: float) -> jax.Array:
        """Draws one number for each side, shared by all plants there."""
        return jnp.tile(draw(2, low, high), count)

    z = 2.0 + 8.0 * (jnp.arange(THICKET) // 2) + draw(THICKET, 0.0, 8.0)
    deep, tall = each(1.0, 3.0) * draw(THICKET, 0.7, 1.3), each(1.0, 5.5) * draw(THICKET, 0.6, 1.4)
    away = each(0.5, 7.0) + 0.8 * deep + draw(THICKET, 0.0, 1.5)
    some = (each(0.0, 1.0) < style.thicket) & (draw(THICKET, 0.0, 1.0) < 0.9)
    return solids(
        (sides(THICKET) * (style.half_width + style.walk + away), ground.level(z) - 0.6 * tall, z),
        (deep, tall, draw(THICKET, 2.5, 6.5)),
        choose(GREENS, each(0.0, 1.0)) * draw(THICKET, 0.7, 1.2)[:, None],
        FOLIAGE,
        present=some,
    )


def poles(draw: Draw, style: Style, ground: Ground) -> SolidParts:
    """Builds street lamps, signs, traffic lights, utility poles, bollards and a sign gantry."""
    edge = style.half_width + 0.3

    def post(
        x: jax.Array, z: jax.Array, radius: Number, height: Number, some: jax.Array
    ) -> Primitives:
        center = (x, ground.level(z) - 0.5 * height, z)
        return solids(center, (radius, 0.5 * height, radius), 0.28, METAL, present=some)

    side, z = sides(LAMPS), draw(1, 2.0, 20.0) + 18.0 * (jnp.arange(LAMPS) // 2)
    x, some = side * (edge + draw(1, 0.0, 0.8)), draw(LAMPS, 0.0, 1.0) < style.poles
    height, reach = draw(1, 4.0, 9.0), draw(1, 0.15, 1.5)
    lamps = post(x, z, draw(LAMPS, 0.05, 0.09), height, some)
    arm = (x - side * reach, ground.level(z) - height, z)
    arms = solids(arm, (reach, 0.06, 0.12), 0.35, METAL, present=some)

    side, z = sides(PLATES), draw(PLATES, 5.0, 55.0)
    x, some = side * (edge + draw(PLATES, 0.0, 1.0)), draw(PLATES, 0.0, 1.0) < style.signs
    height, half = draw(PLATES, 2.0, 3.2), draw(PLATES, 0.2, 0.5)
    posts = post(x, z, 0.03 + 0.02 * draw(PLATES, 0.0, 1.0), height, some)
    plate = (x, ground.level(z) - height + half, z - 0.08)
    face = choose(SIGNS, draw(PLATES, 0.0, 1.0))
    sizes = (half, half * draw(PLATES, 0.6, 1.2), 0.015)
    plates = solids(plate, sizes, face, SIGN, present=some)

    z = jnp.broadcast_to(draw(1, 12.0, 45.0), (LIGHTS,)) + jnp.array([0.0, 1.5])
    x, some = sides(LIGHTS) * edge, draw(1, 0.0, 1.0) < 0.35 * style.people + 0.1 * style.signs
    lights = post(x, z, 0.08, 3.4, some)
    box = (x, ground.level(z) - 2.9, z - 0.15)
    heads = solids(box, (0.16, 0.45, 0.14), 0.03, METAL, present=some)

    z = draw(1, 0.0, 25.0) + 28.0 * jnp.arange(UTILITY)
    x, some = jnp.sign(draw(1, -1.0, 1.0)) * (edge + draw(1, 1.0, 5.0)), draw(1, 0.0, 1.0) < 0.25
    wood = post(x, z, draw(UTILITY, 0.1, 0.16), draw(UTILITY, 7.0, 9.0), some)

    z = draw(1, 4.0, 25.0) + 1.6 * jnp.arange(BOLLARDS)
    some = draw(1, 0.0, 1.0) < 0.5 * style.signs
    bollards = post(
        edge * jnp.sign(draw(1, -1.0, 1.0)), z, draw(1, 0.05, 0.2), draw(1, 0.7, 1.1), some
    )

    z, some = draw(1, 30.0, 90.0), style.one_way & (draw(1, 0.0, 1.0) < 0.4)
    legs = post(jnp.array([-1.0, 1.0]) * (edge + 1.0), z, 0.2, 7.2, some)
    board = (0.5 * style.half_width, ground.level(z) - 6.2, z - 0.3)
    boards = solids(board, (draw(1, 1.5, 4.0), 1.0, 0.1), jnp.array(SIGNS[1]), SIGN, present=some)
    return SolidParts(
        upright=(arms, plates, heads, boards),
        cylinders=(lamps, posts, lights, wood, bollards, legs),
    )


def rails(draw: Draw, style: Style, ground: Ground) -> SolidParts:
    """Builds a guard rail or a fence along each side: two bars on posts."""
    side = jnp.array([-1.0, 1.0])
    some = draw(2, 0.0, 1.0) < style.rails
    x = side * (style.half_width + draw(2, 0.4, 1.2))
    start, end = draw(1, -20.0, 12.0), draw(1, 40.0, 160.0)
    height, thin = draw(1, 0.55, 0.9), draw(1, 0.03, 0.16)
    bars = [
        along(ground, x, up, (start, end), 0.03, 0.5 * thin, (0.4, METAL), some)
        for up in (height - thin, 0.5 * height - thin)
    ]
    z = start + 4.0 * (jnp.arange(POSTS) // 2)
    posts = solids(
        (jnp.tile(x, POSTS // 2), ground.level(z) - 0.5 * height, z),
        (0.05, 0.5 * height, 0.05),
        0.35,
        METAL,
        present=jnp.tile(some, POSTS // 2),
    )
    return SolidParts(
        upright=tuple(box for bar in bars for box in bar.upright),
        turned=tuple(box for bar in bars for box in bar.turned),
        cylinders=(posts,),
    )


def people(draw: Draw, style: Style, ground: Ground) -> SolidParts:
    """Builds walkers of a head, a body and two legs."""
    z = draw(PEOPLE, 4.0, 35.0)
    x = sides(PEOPLE) * (style.half_width + draw(PEOPLE, -0.3, 1.0) * style.walk)
    # Some cross the road, at a distance from the camera.
    crossing = (draw(PEOPLE, 0.0, 1.0) < 0.3) & (z > 10.0)
    x = jnp.where(crossing, draw(PEOPLE, -3.0, 3.0), x)
    yaw, scale = draw(PEOPLE, -3.0, 3.0), draw(PEOPLE, 0.8, 1.08)
    some = draw(PEOPLE, 0.0, 1.0) < style.people
    clothes = choose(CLOTHES, draw(PEOPLE, 0.0, 1.0))
    trousers = choose(CLOTHES, draw(PEOPLE, 0.0, 1.0))
    level = ground.level(z)

    def ball(height: float, half: tuple[float, float, float], colour: jax.Array) -> Primitives:
        centre = (x, level - height * scale, z)
        x_half, y_half, z_half = half
        sizes = (scale * x_half, scale * y_half, scale * z_half)
        return solids(centre, sizes, colour, PERSON, yaw=yaw, present=some)

    stride = draw(PEOPLE, 0.05, 0.3)
    legs = [
        solids(
            (x + sign * 0.1, level - 0.46 * scale, z + sign * stride),
            (0.075, 0.46 * scale, 0.075),
            trousers,
            PERSON,
            present=some,
        )
        for sign in (-1.0, 1.0)
    ]
    head = ball(1.65, (0.1, 0.13, 0.11), jnp.array(SKIN))
    body = ball(1.14, (0.23, 0.42, 0.16), clothes)
    return SolidParts(ellipsoids=(head, body), cylinders=tuple(legs))
