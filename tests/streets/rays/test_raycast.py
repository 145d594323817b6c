"""Rays cast into streets, against another ray caster in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fcfrnet_jax.streets.rays.raycast import camera_rays, trace
from fcfrnet_jax.streets.scene.solids import Primitives
from tests.numpy_caster import all_hits
from tests.streets.conftest import pick

SIZE = (44, 150)
INTRINSICS = np.array([[93.0, 0.0, 72.0], [0.0, 92.0, 21.0], [0.0, 0.0, 1.0]])

cast = jax.jit(trace, static_argnames=("width", "tiled"))


def image_rays(street):
    rays = camera_rays(*SIZE, jnp.asarray(INTRINSICS), street.rotation)
    return street.camera[:, None], rays


def compare(street, origins, directions, distance, index):
    hits = all_hits(street, origins, directions)
    close = np.isclose(distance, hits.min(axis=0), rtol=1e-4, atol=1e-4)
    # In float32, a ray that touches an edge may fall on either side of it.
    assert close.mean() > 0.997
    hit = close & np.isfinite(distance)
    own = hits[index, np.arange(len(index))]
    np.testing.assert_allclose(distance[hit], own[hit], rtol=1e-4, atol=1e-4)
    assert hit.sum() > 20


@pytest.mark.parametrize("seed", range(4))
def test_random_rays_hit_what_another_ray_caster_finds(seed, streets):
    street = pick(streets, seed)
    rng = np.random.default_rng(seed)
    directions = np.float32(rng.normal(size=(3, 900)) * rng.uniform(0.5, 2.0, 900))
    origins = np.float32(rng.uniform([[-12], [-8], [-5]], [[12], [-0.3], [90]], (3, 900)))
    distance, index = map(np.asarray, cast(street, origins, directions))
    compare(street, origins, directions, distance, index)


@pytest.mark.parametrize("seed", range(4))
def test_images_and_shadows_show_what_another_ray_caster_finds(seed, streets):
    street = pick(streets, seed)
    origin, rays = image_rays(street)
    distance, index = map(np.asarray, cast(street, origin, rays, width=SIZE[1]))
    some = slice(seed, None, 7)
    compare(street, origin, rays[:, some], distance[some], index[some])

    # Rays with a NaN origin hit nothing.
    cut = np.isinf(distance) | (np.arange(len(distance)) % 5 == 0)
    points = np.where(cut, np.nan, origin + (distance - 0.01) * rays)
    sun = street.sun[:, None]
    distance, index = map(np.asarray, cast(street, points, sun, width=SIZE[1]))
    assert np.isinf(distance[cut]).all()
    some = np.flatnonzero(~cut)[::7]
    sun = np.broadcast_to(sun, (3, len(some)))
    compare(street, points[:, some], sun, distance[some], index[some])


@pytest.mark.slow
def test_without_tiles_rays_hit_the_same(streets):
    """As on accelerators."""
    origin, rays = image_rays(pick(streets, 0))
    found, wanted = (
        cast(pick(streets, 0), origin, rays, width=SIZE[1], tiled=tiled) for tiled in (False, True)
    )
    jax.tree.map(np.testing.assert_array_equal, found, wanted)


def test_rays_must_form_whole_rows(streets):
    with pytest.raises(ValueError, match="10 rays are not a multiple of the width 4"):
        trace(pick(streets, 0), jnp.zeros((3, 1)), jnp.ones((3, 10)), width=4)


def one(centre, half):
    arrays = (jnp.array([centre]), jnp.array([half]), jnp.zeros(1), jnp.zeros((1, 3)))
    return Primitives(*arrays, jnp.zeros(1, jnp.int32))


@pytest.mark.parametrize("distance", [0.5, 8.0, 90.0, 400.0])
@pytest.mark.parametrize("radius", [0.03, 0.3])
def test_thin_solids_are_exact_far_away(distance, radius, streets):
    empty = one((0.0, 500.0, 0.0), (1.0, 1.0, 1.0))
    street = pick(streets, 0)._replace(boxes=empty, lean=jnp.zeros((0, 2)))
    thing = one((0.3 * distance, -1.0, distance), (radius, 3.0, radius))
    share = np.linspace(-0.9, 0.9, 7)
    # The horizontal rays pass the axis at these shares of the radius.
    length = np.hypot(0.3 * distance, distance)
    angle = np.arctan2(0.3, 1.0) + np.arcsin(share * radius / length)
    rays = np.stack([np.sin(angle), 0.0 * angle, np.cos(angle)])
    expected = np.sqrt(length**2 - (share * radius) ** 2) - radius * np.sqrt(1 - share**2)
    for shape in ("ellipsoids", "cylinders"):
        alone = street._replace(ellipsoids=empty, cylinders=empty)._replace(**{shape: thing})
        found, _ = cast(alone, jnp.array([[0.0], [-1.0], [0.0]]), jnp.float32(rays))
        np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_rays_project_back_to_their_pixels(streets):
    for seed in range(3):
        street = pick(streets, seed)
        _, rays = image_rays(street)
        u, v, w = INTRINSICS @ np.asarray(street.rotation, np.float64).T @ rays
        np.testing.assert_allclose(w, 1.0, rtol=1e-5)
        expected = np.mgrid[: SIZE[0], : SIZE[1]].reshape(2, -1)
        np.testing.assert_allclose(np.stack([v / w, u / w]), expected, atol=1e-3)


@np.errstate(invalid="ignore")
def test_the_road_follows_the_ground(streets):
    slopes = set()
    for seed in range(8):
        street = pick(streets, seed)
        origin, rays = image_rays(street)
        distance, index = map(np.asarray, cast(street, origin, rays, width=SIZE[1]))
        _, y, z = np.asarray(origin + distance * rays)
        # The first box is the level ground, the first sheared box is the hill.
        hill = street.upright
        road = np.isfinite(distance) & ((index == 0) | (index == hill))
        level = float(street.ground.slope) * np.maximum(z - float(street.ground.bend), 0.0)
        np.testing.assert_allclose(y[road], level[road], atol=2e-3)
        assert road.mean() > 0.05
        slopes.add(round(float(street.ground.slope), 3))
    assert len(slopes) > 2
