"""Cars, vans, lorries and buses, built from boxes, and cyclists."""

import jax
import jax.numpy as jnp

from fcfrnet_jax.streets.scene.solids import (
    CABIN,
    CAR,
    METAL,
    PERSON,
    PLAIN,
    TRUCK,
    WHEEL,
    Draw,
    Ground,
    Number,
    Point,
    Primitives,
    SolidParts,
    choose,
    leaning,
    sides,
    solids,
)
from fcfrnet_jax.streets.scene.style import Style

# Linear RGB.
PAINTS = (
    *((0.85, 0.85, 0.83), (0.55, 0.57, 0.6), (0.04, 0.04, 0.05), (0.05, 0.12, 0.35)),
    *((0.5, 0.03, 0.03), (0.25, 0.27, 0.3), (0.75, 0.75, 0.75), (0.09, 0.2, 0.16)),
    *((0.03, 0.03, 0.03), (0.35, 0.36, 0.38), (0.45, 0.38, 0.25), (0.6, 0.35, 0.04)),
)
CLOTHES = (
    *((0.03, 0.03, 0.04), (0.1, 0.14, 0.3), (0.5, 0.06, 0.05), (0.6, 0.6, 0.58)),
    *((0.2, 0.2, 0.2), (0.12, 0.2, 0.08), (0.55, 0.4, 0.1)),
)
SKIN = (0.5, 0.32, 0.24)

# The x and z coordinates and the yaw of vehicles.
Place = tuple[jax.Array, jax.Array, jax.Array]

PARKED, DRIVING, CYCLISTS = 8, 5, 2
COUNT = PARKED + DRIVING

# Ranges of lengths in metres for each kind. The body extends from `floor` to `waist` over the whole
# length, the upper part from `waist` to `roof`. From front to back there are the bonnet, the
# windscreen (`front`), the upper part, the rear window (`rear`) and the boot. The `front` of a
# lorry is its cab.
KINDS = {
    #          car           estate, SUV   van           lorry         bus
    "length": ((3.6, 4.7), (4.3, 4.9), (4.7, 6.4), (7.0, 12.0), (10.0, 14.0)),
    "width": ((1.66, 1.85), (1.75, 1.95), (1.9, 2.05), (2.3, 2.5), (2.4, 2.5)),
    "floor": ((0.22, 0.32), (0.25, 0.4), (0.3, 0.4), (0.55, 0.75), (0.3, 0.4)),
    "waist": ((0.85, 0.98), (0.95, 1.1), (1.05, 1.25), (1.1, 1.3), (1.1, 1.3)),
    "roof": ((1.4, 1.52), (1.5, 1.8), (1.9, 2.7), (3.0, 3.9), (2.9, 3.3)),
    "bonnet": ((0.7, 1.1), (0.7, 1.0), (0.5, 0.9), (0.02, 0.05), (0.02, 0.1)),
    "front": ((0.6, 0.9), (0.5, 0.7), (0.5, 0.9), (1.9, 2.3), (0.1, 0.3)),
    "rear": ((0.4, 0.9), (0.15, 0.4), (0.03, 0.1), (0.01, 0.02), (0.02, 0.1)),
    "boot": ((0.1, 0.6), (0.05, 0.15), (0.02, 0.05), (0.02, 0.1), (0.02, 0.05)),
    "wheel": ((0.29, 0.34), (0.32, 0.37), (0.33, 0.37), (0.45, 0.52), (0.45, 0.5)),
}
LORRY = 3
# Dense traffic: ranges of the near ends of the driving vehicles, in metres, and the chance of each.
QUEUE = ((3.5, 9.0), (13.0, 24.0), (3.0, 9.0), (10.0, 18.0), (19.0, 30.0))
QUEUED = 0.9


def vehicles(
    draw: Draw, style: Style, ground: Ground, dense: jax.Array | bool = False
) -> SolidParts:
    """Builds parked vehicles on both sides, vehicles ahead, and oncoming ones.

    With `dense`, a bool scalar, there are more of the latter two, and nearer ones.
    """
    side = jnp.concatenate([sides(PARKED), jnp.array([1.0, 1.0, -1.0, -1.0, -1.0])])
    row = jnp.arange(PARKED) // 2
    parked_z = 3.0 + 7.0 * row + draw(PARKED, 0.0, 1.8) + jnp.tile(draw(2, -2.0, 6.0), PARKED // 2)
    near, far = draw(DRIVING, 0.0, 1.0), jnp.array([8.0, 35.0, 10.0, 25.0, 45.0])
    driving_z = far + jnp.array([18.0, 30.0, 15.0, 20.0, 30.0]) * near
    first, last = jnp.array(QUEUE).T
    driving_z = jnp.where(dense, first + (last - first) * near, driving_z)
    z = jnp.concatenate([parked_z, driving_z])
    kerb = style.half_width - 1.05 + draw(PARKED, -0.15, 0.15)
    lane = style.lane + draw(DRIVING, -0.3, 0.3)
    x = side * jnp.concatenate([kerb, lane])
    # On motorways all vehicles go in the same direction.
    oncoming = (side < 0) & ~style.one_way
    # Some parked cars face the other way.
    oncoming ^= (jnp.arange(COUNT) < PARKED) & (draw(COUNT, 0.0, 1.0) < 0.12)
    yaw = jnp.where(oncoming, jnp.pi, 0.0) + draw(COUNT, -0.04, 0.04)
    # A few vehicles turn or cross the street, at a distance from the camera.
    turning = (draw(COUNT, 0.0, 1.0) < 0.08) & (z > 15.0)
    yaw += jnp.where(turning, draw(COUNT, -1.6, 1.6), 0.0)
    traffic = jnp.where(dense, QUEUED, style.traffic)
    chance = jnp.where(jnp.arange(COUNT) < PARKED, style.parked, traffic)
    present = draw(COUNT, 0.0, 1.0) < chance
    heavy = draw(COUNT, 0.0, 1.0) < jnp.where(jnp.arange(COUNT) < PARKED, 0.5, 1.0) * style.heavy
    kind = jnp.where(heavy, 2.0 + 3.0 * draw(COUNT, 0.0, 1.0), 2.0 * draw(COUNT, 0.0, 1.0) ** 1.5)
    return _bodies(draw, ground, (x, z, yaw), jnp.minimum(kind.astype(jnp.int32), 4), present)


def _bodies(
    draw: Draw, ground: Ground, place: Place, kind: jax.Array, present: jax.Array
) -> SolidParts:
    """Builds body, upper part, front and rear window, and wheels of vehicles."""
    size = {}
    for name, ranges in KINDS.items():
        low, high = jnp.array(ranges)[kind].T
        size[name] = low + (high - low) * draw(COUNT, 0.0, 1.0)
    # For moving vehicles, z is the near end so far.
    x, z, yaw = place
    z += jnp.where(jnp.arange(COUNT) < PARKED, 0.0, 0.5 * size["length"])
    length, half_width = size["length"], 0.5 * size["width"]
    floor, waist, roof = size["floor"], size["waist"], size["roof"]
    slope, level = ground.slope_at(z), ground.level(z)
    ahead_x, ahead_z = jnp.sin(yaw), jnp.cos(yaw)

    def box(
        span: tuple[Number, Number],
        heights: tuple[Number, Number],
        half_x: jax.Array,
        look: tuple[Number, Number],
        drop: Number,
    ) -> tuple[Primitives, jax.Array]:
        """Builds boxes between two distances from the middle and two heights.

        Their upper faces drop towards the front by `drop` metres.
        """
        middle, half_z = 0.5 * (span[0] + span[1]), 0.5 * (span[1] - span[0])
        y = level + slope * middle * ahead_z - 0.5 * (heights[0] + heights[1])
        boxes = solids(
            (x + middle * ahead_x, y, z + middle * ahead_z),
            (half_x, 0.5 * (heights[1] - heights[0]), half_z),
            look[0],
            look[1],
            yaw=yaw,
            present=present,
        )
        return leaning(boxes, -slope * ahead_x, slope * ahead_z + 0.5 * drop / half_z)

    paint, cargo = choose(PAINTS, draw(COUNT, 0.0, 1.0)), choose(PAINTS, draw(COUNT, 0.0, 1.0))
    lorry = kind == LORRY
    front, back = 0.5 * length, -0.5 * length
    top, tail = front - size["bonnet"] - size["front"], back + size["boot"] + size["rear"]
    # A slanted window is the upper face of a box, the lower part of which is inside the body.
    step, middle = roof - waist, 0.5 * (waist + roof)
    nose = (jnp.where(lorry, floor, middle - step), jnp.where(lorry, 0.8 * roof, middle))
    body = (jnp.where(lorry[:, None], 0.05, paint), jnp.where(lorry, PLAIN, CAR))
    hold = (jnp.where(lorry[:, None], cargo, paint), jnp.where((kind == 2) | lorry, TRUCK, CABIN))
    glazed = (paint, CABIN)
    side = half_width * jnp.where(kind < 2, 0.9, 0.98)
    return SolidParts(
        turned=(
            box((back, front), (floor, waist), half_width, body, 0.0),
            box((tail, top), (waist, roof), side, hold, 0.0),
            box((top, top + size["front"]), nose, side, glazed, jnp.where(lorry, 0.0, step)),
            box((tail - size["rear"], tail), (middle - step, middle), side, glazed, -step),
        ),
        ellipsoids=_wheels(ground, (x, z, yaw), size, present),
    )


def _wheels(
    ground: Ground, place: Place, size: dict[str, jax.Array], present: jax.Array
) -> tuple[Primitives, ...]:
    """Builds four flattened ellipsoids, visible below the body and slightly beyond its sides."""
    x, z, yaw = place
    radius = size["wheel"]
    wheels = []
    for side in (-1.0, 1.0):
        for axle in (-0.3, 0.31):
            across, ahead = side * (0.5 * size["width"] - 0.09), axle * size["length"]
            offset = ahead * jnp.cos(yaw) - across * jnp.sin(yaw)
            centre = (
                x + across * jnp.cos(yaw) + ahead * jnp.sin(yaw),
                ground.level(z) + ground.slope_at(z) * offset - radius,
                z + offset,
            )
            half = (0.14, radius, radius)
            wheels.append(solids(centre, half, 0.02, WHEEL, yaw=yaw, present=present))
    return tuple(wheels)


def cyclists(draw: Draw, style: Style, ground: Ground) -> SolidParts:
    """Builds riders from ellipsoids for head, body and legs, on wheels of flat ellipsoids."""
    side = sides(CYCLISTS)
    z = draw(CYCLISTS, 7.0, 40.0)
    x = side * (style.half_width - draw(CYCLISTS, 0.5, 2.6))
    yaw = jnp.where(side < 0, jnp.pi, 0.0) + draw(CYCLISTS, -0.1, 0.1)
    present = draw(CYCLISTS, 0.0, 1.0) < style.people
    clothes = choose(CLOTHES, draw(CYCLISTS, 0.0, 1.0))
    level, slope = ground.level(z), ground.slope_at(z)

    def place(ahead: float, height: float) -> Point:
        offset = ahead * jnp.cos(yaw)
        return x + ahead * jnp.sin(yaw), level + slope * offset - height, z + offset

    def part(ahead: float, height: float, half: Point, colour: Number, material: int) -> Primitives:
        return solids(place(ahead, height), half, colour, material, yaw=yaw, present=present)

    frame = part(0.0, 0.6, (0.025, 0.2, 0.5), 0.1, METAL)
    handlebar = part(0.42, 1.0, (0.28, 0.03, 0.05), 0.05, METAL)
    return SolidParts(
        turned=(leaning(frame, 0.0, -0.2), leaning(handlebar, 0.0, 0.0)),
        ellipsoids=(
            part(0.53, 0.34, (0.035, 0.34, 0.34), 0.03, PLAIN),
            part(-0.53, 0.34, (0.035, 0.34, 0.34), 0.03, PLAIN),
            part(-0.02, 1.25, (0.21, 0.35, 0.24), clothes, PERSON),
            part(0.05, 0.75, (0.16, 0.38, 0.2), 0.5 * clothes[:, ::-1], PERSON),
            part(0.1, 1.68, (0.1, 0.13, 0.12), jnp.array(SKIN), PERSON),
        ),
    )
