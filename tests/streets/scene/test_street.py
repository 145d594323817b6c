"""Streets: their ground, their variety, and where the camera is."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fcfrnet_jax.streets.scene import solids as materials
from fcfrnet_jax.streets.scene.street import camera_rotation
from tests.numpy_caster import in_solids, inside
from tests.streets.conftest import SEEDS, draw_streets, pick

VEHICLES = (materials.CAR, materials.CABIN, materials.TRUCK)


def test_camera_rotations_are_orthogonal(streets):
    for matrix in np.asarray(streets.rotation, np.float64):
        np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-6)
        assert np.linalg.det(matrix) == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize(
    ("angles", "expected"),
    [
        ((0.3, 0.0, 0.0), (np.sin(0.3), 0.0, np.cos(0.3))),
        ((0.0, 0.2, 0.0), (0.0, -np.sin(0.2), np.cos(0.2))),
        ((0.0, 0.0, 0.4), (0.0, 0.0, 1.0)),
    ],
)
def test_yaw_and_pitch_turn_the_optical_axis(angles, expected):
    axis = camera_rotation(*jnp.float32(angles)) @ jnp.array([0.0, 0.0, 1.0])
    np.testing.assert_allclose(axis, expected, atol=1e-6)


def test_driving_on_moves_only_the_camera(streets):
    ahead = draw_streets(2.0, 0.05)
    for shape in ("boxes", "ellipsoids", "cylinders"):
        jax.tree.map(np.testing.assert_array_equal, getattr(ahead, shape), getattr(streets, shape))
    moved = np.asarray(ahead.camera - streets.camera)
    np.testing.assert_allclose(moved, np.tile([0, 0, 2.0], (SEEDS, 1)), atol=1e-6)
    turned = np.einsum("nij,njk->nik", ahead.rotation, np.swapaxes(streets.rotation, 1, 2))
    yaw = [[np.cos(0.05), 0, np.sin(0.05)], [0, 1, 0], [-np.sin(0.05), 0, np.cos(0.05)]]
    np.testing.assert_allclose(turned, np.tile(yaw, (SEEDS, 1, 1)), atol=1e-5)


def test_dense_traffic_is_near_and_moves_nothing_else(streets):
    dense = draw_streets(dense=1.0)
    near = []
    for drawn in (streets, dense):
        x, y, z = np.moveaxis(np.asarray(drawn.boxes.centre), -1, 0)
        ahead = np.abs(x - np.asarray(drawn.camera)[:, :1]) < 1.0
        vehicle = np.isin(drawn.boxes.material, VEHICLES) & (y < 100)
        near.append(np.mean((vehicle & ahead & (z > 3.5) & (z < 12)).any(axis=1)))
    assert near[1] > 0.8 > 2 * near[0]
    # Each slot is for the same kind of solid in all streets.
    other = ~np.isin(streets.boxes.material, VEHICLES).any(axis=0)
    found, expected = (np.asarray(drawn.boxes.centre)[:, other] for drawn in (dense, streets))
    np.testing.assert_array_equal(found, expected)
    assert np.count_nonzero(other) > 50


def test_half_of_the_streets_are_dense_at_a_probability_of_one_half(streets):
    drawn = [np.asarray(draw_streets(dense=share).boxes.centre) for share in (0.5, 1.0)]
    ordinary = np.asarray(streets.boxes.centre)
    same = [(centre == ordinary).all(axis=(1, 2)) for centre in (drawn[0], drawn[1])]
    assert 0.25 < np.mean(same[0]) < 0.75
    np.testing.assert_array_equal(drawn[0][~same[0]], drawn[1][~same[0]])


def test_the_camera_hits_no_solid_while_driving(streets):
    for seed in range(SEEDS):
        street = pick(streets, seed)
        z = np.linspace(-6.0, 6.0, 49)
        x, y, _ = np.asarray(street.camera, np.float64)
        path = np.stack([np.full_like(z, x), np.full_like(z, y), z])
        for shape, points in enumerate(in_solids(street, path)):
            assert not inside(shape, points).any()


def test_streets_vary(streets):
    present = np.asarray(streets.boxes.centre)[..., 1] < 100
    counts = present.sum(axis=1)
    assert counts.max() > 2 * counts.min()
    found = set()
    for solids in (streets.boxes, streets.ellipsoids, streets.cylinders):
        found |= set(np.asarray(solids.material)[np.asarray(solids.centre)[..., 1] < 100].tolist())
    assert found == set(range(materials.GROUND, materials.PLAIN + 1))
    assert 0.2 < np.mean(np.asarray(streets.ground.slope) != 0) < 0.8
