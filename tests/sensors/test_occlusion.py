"""Points of a wall that a plate hides from the camera and not from the scanner."""

import numpy as np
import pytest

from fcfrnet_jax.sensors.occlusion import hidden_points, rasterize
from fcfrnet_jax.sensors.projection import pixel_indices, project_points
from tests.sensors.rigs import SIZE, rig, scan


def hidden_and_visible(offset):
    points, visible = scan(offset)
    pixels = project_points(points, rig(offset), SIZE)
    rows, columns = pixel_indices(pixels)
    seen = pixels.seen
    hidden = hidden_points(points[seen], rig(offset), rows, columns, pixels.depth[seen], SIZE)
    return hidden, visible[seen]


# Above, beside, and in front of the camera.
@pytest.mark.parametrize("offset", [(0.0, -0.5, -0.2), (0.6, 0.0, 0.0), (-0.4, -0.4, 0.5)])
def test_points_behind_a_surface_are_found(offset):
    hidden, visible = hidden_and_visible(offset)
    assert (~visible).sum() > 40
    # At the edge of the plate, the surface ends at the last point on it.
    assert hidden[~visible].mean() > 0.7
    # Both are rounded to pixels, so that a few points beside the plate fall onto it.
    assert hidden[visible].mean() < 0.005


def test_a_scanner_at_the_camera_sees_what_the_camera_sees():
    hidden, _ = hidden_and_visible((0.0, 0.0, 0.0))
    assert not hidden.any()


def test_many_triangles_are_drawn_like_each_alone():
    random, size, count = np.random.default_rng(0), (300, 400), 10
    # More pixels than are tested at once.
    columns = np.array([0, 200, 399]) * np.ones((count, 1), int)
    rows = random.permuted([[0, 150, 299]] * count, axis=1)
    depth, farthest = random.uniform(5, 50, (count, 3)), np.full(size, np.inf)
    alone = [
        rasterize(columns[i : i + 1], rows[i : i + 1], depth[i : i + 1], farthest)
        for i in range(count)
    ]
    found = rasterize(columns, rows, depth, farthest)
    np.testing.assert_array_equal(found, np.min(alone, axis=0))
    assert np.isfinite(found).sum() > 10000


@pytest.mark.parametrize("count", [1, 2, 3, 30])
def test_points_on_a_line_hide_nothing(count):
    points = np.stack([np.arange(1.0, count + 1), np.zeros(count), np.zeros(count)], axis=1)
    rows, columns = np.full(count, 90), np.full(count, 150)
    assert not hidden_points(points, rig(), rows, columns, points[:, 0], SIZE).any()
