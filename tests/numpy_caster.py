"""A second ray caster, in float64 and with other formulas than the renderer's."""

import numpy as np

from fcfrnet_jax.streets.rays.intersect import CELL_AXES, INNER_SHELL
from fcfrnet_jax.streets.scene.solids import leaf_gaps
from fcfrnet_jax.streets.scene.value_noise import FACTORS


def in_solids(street, points, offset=True):
    """Transforms points `[3, R]` to frames in which the solids are unit cubes, balls, cylinders.

    Returns arrays `[N, 3, R]`, one for each shape.
    """
    shapes = []
    for solids in (street.boxes, street.ellipsoids, street.cylinders):
        centre, half, yaw = (np.asarray(a, np.float64) for a in solids[:3])
        axes = np.zeros((len(yaw), 3, 3))
        lean = np.zeros((len(yaw), 2))
        if solids is street.boxes:
            lean[len(yaw) - len(street.lean) :] = street.lean
        # The columns are the axes of the solid in the world.
        axes[:, :, 0] = np.stack([np.cos(yaw), lean[:, 0], -np.sin(yaw)], axis=1)
        axes[:, :, 1] = [0.0, 1.0, 0.0]
        axes[:, :, 2] = np.stack([np.sin(yaw), lean[:, 1], np.cos(yaw)], axis=1)
        moved = points[None] - centre[:, :, None] * offset
        shapes.append(np.linalg.solve(axes * half[:, None, :], moved))
    return shapes


def hits_cube(o, d):
    best = np.full(o.shape[::2], np.inf)
    for axis in range(3):
        for face in (-1.0, 1.0):
            t = (face - o[:, axis]) / d[:, axis]
            others = np.delete(o + t[:, None] * d, axis, axis=1)
            ok = (np.abs(others) <= 1).all(axis=1) & (t > 0)
            best = np.where(ok & (t < best), t, best)
    return best


def hits_ball(o, d):
    a, b, c = (d * d).sum(1), (o * d).sum(1), (o * o).sum(1) - 1
    t = (-b - np.sqrt(b * b - a * c)) / a
    return np.where(t > 0, t, np.inf)


def hits_cylinder(o, d):
    side = hits_ball(o[:, ::2], d[:, ::2])
    side = np.where(np.abs(o[:, 1] + side * d[:, 1]) <= 1, side, np.inf)
    for face in (-1.0, 1.0):
        t = (face - o[:, 1]) / d[:, 1]
        ok = (((o + t[:, None] * d)[:, ::2] ** 2).sum(1) <= 1) & (t > 0)
        side = np.where(ok & (t < side), t, side)
    return side


@np.errstate(all="ignore")
def all_hits(street, origins, directions):
    """Returns the distances `[N, R]` to all solids along rays `[3, R]`."""
    origins, directions = np.asarray(origins, np.float64), np.asarray(directions, np.float64)
    origins = np.broadcast_to(origins, directions.shape)
    tests = zip(
        (hits_cube, hits_ball, hits_cylinder),
        in_solids(street, origins),
        in_solids(street, directions, offset=False),
        strict=True,
    )
    # Solids that contain the origin are ignored.
    boxes, balls, cylinders = (
        np.where(inside(k, o), np.inf, hit(o, d)) for k, (hit, o, d) in enumerate(tests)
    )
    return np.concatenate([boxes, through_leaves(street, origins, directions, balls), cylinders])


def through_leaves(street, origins, directions, entries):
    """Returns the distances `[N, R]` to ellipsoids with gaps, given those to their outer shells."""
    o, d = (
        in_solids(street, points, offset)[1]
        for points, offset in ((origins, True), (directions, False))
    )
    gaps, fineness = np.asarray(leaf_gaps(street.ellipsoids), np.float64).T[:, :, None]
    a, b, c = (d * d).sum(1), (o * d).sum(1), (o * o).sum(1)
    inner = (-b - np.sqrt(b * b - a * (c - INNER_SHELL**2))) / a
    found = np.full(entries.shape, np.inf)
    for t in (entries, inner, (-b + np.sqrt(b * b - a * (c - 1))) / a):
        points = fineness[:, None] * (origins + t[:, None] * directions)
        cells = np.floor(np.einsum("ij,njr->nir", np.array(CELL_AXES), points))
        leaves = np.isfinite(entries) & np.isfinite(t) & (hashed(cells) >= gaps)
        found = np.where(np.isinf(found) & leaves, t, found)
    return found


def hashed(cells):
    """Returns a number in [0, 1) for each cell `[N, 3, R]`."""
    words = np.nan_to_num(cells).astype(np.int64).astype(np.uint32)
    words = words * np.array(FACTORS, np.uint32)[:, None]
    bits = words[:, 0] ^ words[:, 1] ^ words[:, 2]
    bits = (bits ^ (bits >> 15)) * np.uint32(0x2C1B3C6D)
    return ((bits ^ (bits >> 13)) >> 8) / 2.0**24


def inside(shape, points):
    square = points**2
    if shape == 0:
        return (square < 1).all(axis=1)
    if shape == 1:
        return square.sum(axis=1) < 1
    return (square[:, 0] + square[:, 2] < 1) & (square[:, 1] < 1)
