"""Streets and the rays cast into them, against another ray caster in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fcfrnet_jax.streets.rays.raycast import camera_rays, trace
from fcfrnet_jax.streets.scene import solids as materials
from fcfrnet_jax.streets.scene.solids import Primitives
from fcfrnet_jax.streets.scene.street import camera_rotation, make_street
from tests.numpy_caster import all_hits, in_solids, inside

SIZE = (44, 150)
INTRINSICS = np.array([[93.0, 0.0, 72.0], [0.0, 92.0, 21.0], [0.0, 0.0, 1.0]])
SEEDS = 48

draw_streets = jax.jit(jax.vmap(make_street, in_axes=(0, None, None)))
cast = jax.jit(trace, static_argnames="width")


@pytest.fixture(scope="module")
def streets():
    return draw_streets(jax.random.split(jax.random.key(0), SEEDS), 0.0, 0.0)


def pick(streets, seed):
    return jax.tree.map(lambda array: array[seed], streets)


def picture_rays(street):
    rays = camera_rays(*SIZE, jnp.asarray(INTRINSICS), street.rotation)
    return street.camera[:, None], rays


def compare(street, origins, directions, distance, index):
    hits = all_hits(street, origins, directions)
    close = np.isclose(distance, hits.min(axis=0), rtol=1e-4, atol=1e-4)
    # A ray that just touches an edge may fall on either side of it in float32.
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
def test_pictures_and_shadows_show_what_another_ray_caster_finds(seed, streets):
    street = pick(streets, seed)
    origin, rays = picture_rays(street)
    distance, index = map(np.asarray, cast(street, origin, rays, width=SIZE[1]))
    some = slice(seed, None, 7)
    compare(street, origin, rays[:, some], distance[some], index[some])

    # Rays without an origin meet nothing.
    cut = np.isinf(distance) | (np.arange(len(distance)) % 5 == 0)
    points = np.where(cut, np.nan, origin + (distance - 0.01) * rays)
    sun = street.sun[:, None]
    distance, index = map(np.asarray, cast(street, points, sun, width=SIZE[1]))
    assert np.isinf(distance[cut]).all()
    some = np.flatnonzero(~cut)[::7]
    sun = np.broadcast_to(sun, (3, len(some)))
    compare(street, points[:, some], sun, distance[some], index[some])


def test_rays_that_do_not_fill_rows_are_refused(streets):
    with pytest.raises(ValueError, match="10 rays do not fill rows of 4"):
        trace(pick(streets, 0), jnp.zeros((3, 1)), jnp.ones((3, 10)), width=4)


def one(centre, half):
    arrays = (jnp.array([centre]), jnp.array([half]), jnp.zeros(1), jnp.zeros((1, 3)))
    return Primitives(*arrays, jnp.zeros(1, jnp.int32))


@pytest.mark.parametrize("distance", [0.5, 8.0, 90.0, 400.0])
@pytest.mark.parametrize("radius", [0.03, 0.3])
def test_thin_things_are_exact_far_away(distance, radius, streets):
    empty = one((0.0, 500.0, 0.0), (1.0, 1.0, 1.0))
    street = pick(streets, 0)._replace(boxes=empty, lean=jnp.zeros((0, 2)))
    thing = one((0.3 * distance, -1.0, distance), (radius, 3.0, radius))
    share = np.linspace(-0.9, 0.9, 7)
    # Rays whose nearest points to the axis are at these shares of the radius, in the plane.
    length = np.hypot(0.3 * distance, distance)
    angle = np.arctan2(0.3, 1.0) + np.arcsin(share * radius / length)
    rays = np.stack([np.sin(angle), 0.0 * angle, np.cos(angle)])
    expected = np.sqrt(length**2 - (share * radius) ** 2) - radius * np.sqrt(1 - share**2)
    for shape in ("ellipsoids", "cylinders"):
        alone = street._replace(ellipsoids=empty, cylinders=empty)._replace(**{shape: thing})
        found, _ = cast(alone, jnp.array([[0.0], [-1.0], [0.0]]), jnp.float32(rays))
        np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_rays_of_pixels_project_to_them(streets):
    for seed in range(3):
        street = pick(streets, seed)
        _, rays = picture_rays(street)
        u, v, w = INTRINSICS @ np.asarray(street.rotation, np.float64).T @ rays
        np.testing.assert_allclose(w, 1.0, rtol=1e-5)
        expected = np.mgrid[: SIZE[0], : SIZE[1]].reshape(2, -1)
        np.testing.assert_allclose(np.stack([v / w, u / w]), expected, atol=1e-3)


@np.errstate(invalid="ignore")
def test_the_road_is_where_the_ground_says(streets):
    slopes = set()
    for seed in range(8):
        street = pick(streets, seed)
        origin, rays = picture_rays(street)
        distance, index = map(np.asarray, cast(street, origin, rays, width=SIZE[1]))
        _, y, z = np.asarray(origin + distance * rays)
        # The first box is the level ground, the first that leans is the hill.
        hill = street.boxes.yaw.shape[0] - street.lean.shape[0]
        road = np.isfinite(distance) & ((index == 0) | (index == hill))
        level = float(street.ground.slope) * np.maximum(z - float(street.ground.bend), 0.0)
        np.testing.assert_allclose(y[road], level[road], atol=2e-3)
        assert road.mean() > 0.05
        slopes.add(round(float(street.ground.slope), 3))
    assert len(slopes) > 2


def test_rotations_turn_the_axes(streets):
    for matrix in np.asarray(streets.rotation, np.float64):
        np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-6)
        assert np.linalg.det(matrix) == pytest.approx(1.0, abs=1e-6)
    ahead = camera_rotation(*jnp.float32([0.3, 0.0, 0.0])) @ jnp.array([0.0, 0.0, 1.0])
    np.testing.assert_allclose(ahead, [np.sin(0.3), 0.0, np.cos(0.3)], atol=1e-6)
    up = camera_rotation(*jnp.float32([0.0, 0.2, 0.0])) @ jnp.array([0.0, 0.0, 1.0])
    np.testing.assert_allclose(up, [0.0, -np.sin(0.2), np.cos(0.2)], atol=1e-6)


def test_driving_on_moves_the_camera_and_nothing_else(streets):
    keys = jax.random.split(jax.random.key(0), SEEDS)
    ahead = draw_streets(keys, 2.0, 0.05)
    for shape in ("boxes", "ellipsoids", "cylinders"):
        jax.tree.map(np.testing.assert_array_equal, getattr(ahead, shape), getattr(streets, shape))
    moved = np.asarray(ahead.camera - streets.camera)
    np.testing.assert_allclose(moved, np.tile([0, 0, 2.0], (SEEDS, 1)), atol=1e-6)
    turned = np.einsum("nij,njk->nik", ahead.rotation, np.swapaxes(streets.rotation, 1, 2))
    yaw = [[np.cos(0.05), 0, np.sin(0.05)], [0, 1, 0], [-np.sin(0.05), 0, np.cos(0.05)]]
    np.testing.assert_allclose(turned, np.tile(yaw, (SEEDS, 1, 1)), atol=1e-5)


def test_the_camera_drives_clear_of_all_solids(streets):
    for seed in range(SEEDS):
        street = pick(streets, seed)
        z = np.linspace(-6.0, 6.0, 49)
        x, y, _ = np.asarray(street.camera, np.float64)
        path = np.stack([np.full_like(z, x), np.full_like(z, y), z])
        for shape, points in enumerate(in_solids(street, path)):
            assert not inside(shape, points).any()


def test_streets_are_various(streets):
    present = np.asarray(streets.boxes.centre)[..., 1] < 100
    counts = present.sum(axis=1)
    assert counts.max() > 2 * counts.min()
    found = set()
    for solids in (streets.boxes, streets.ellipsoids, streets.cylinders):
        found |= set(np.asarray(solids.material)[np.asarray(solids.centre)[..., 1] < 100].tolist())
    assert found == set(range(materials.GROUND, materials.PLAIN + 1))
    assert 0.2 < np.mean(np.asarray(streets.ground.slope) != 0) < 0.8
