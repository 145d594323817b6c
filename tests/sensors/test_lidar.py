"""Models of laser scanners, against KITTI's calibration and a real scan."""

from dataclasses import replace

import numpy as np
import pytest

from fcfrnet_jax.sensors.lidar import HDL64, Lidar, spinning, thinned


def test_the_mount_is_that_of_kittis_calibration(kitti_real):
    lines = {}
    for name in ("calib_cam_to_cam", "calib_velo_to_cam"):
        path = kitti_real / "raw/2011_09_26" / f"{name}.txt"
        lines |= dict(line.split(":", 1) for line in path.read_text().splitlines())
    rectify, rotation, offset, projection = (
        np.array(lines[name].split(), float) for name in ("R_rect_00", "R", "T", "P_rect_02")
    )
    projection = projection.reshape(3, 4)
    baseline = np.linalg.solve(projection[:, :3], projection[:, 3])
    position = rectify.reshape(3, 3) @ offset + baseline
    np.testing.assert_allclose(HDL64.position, position, atol=0.01)
    # KITTI's scanner frame has x forward, y left and z up.
    axes = np.array([[0, 0, 1], [-1, 0, 0], [0, -1, 0]])
    turn = rectify.reshape(3, 3) @ rotation.reshape(3, 3) @ axes
    np.testing.assert_allclose(HDL64.rotation(), turn, atol=0.002)


def test_the_beams_are_those_of_a_real_scan(kitti_real):
    path = next(kitti_real.glob("raw/*/*/velodyne_points/data/*.bin"))
    x, y, z = np.fromfile(path, np.float32).reshape(-1, 4)[:, :3].T
    azimuth = np.arctan2(y, x) % (2 * np.pi)
    ring = np.cumsum(np.diff(azimuth, prepend=0.0) < -np.pi)
    level = np.hypot(x, y)
    for beam in range(0, 64, 9):
        slope = np.tan(np.radians(HDL64.elevations[beam]))
        miss = np.median(z[ring == beam] - HDL64.heights[beam] - slope * level[ring == beam])
        # 0.2 degrees at the median distance; the beams are 0.34 to 0.51 degrees apart.
        assert abs(miss) < 0.0035 * np.median(level[ring == beam])


def test_a_thinned_scanner_has_a_share_of_the_beams_and_shots():
    lidar = thinned(HDL64, 0.25)
    assert len(lidar.elevations) == 16
    np.testing.assert_allclose(lidar.elevations[0], np.mean(HDL64.elevations[:4]))
    np.testing.assert_allclose(lidar.heights[5], np.mean(HDL64.heights[20:24]))
    assert lidar.azimuth_step == pytest.approx(4 * HDL64.azimuth_step)
    assert lidar.reach == HDL64.reach


@pytest.mark.parametrize(("beams", "highest", "lowest"), [(16, 15.0, -15.0), (32, 10.67, -30.67)])
def test_scanners_with_fewer_beams(beams, highest, lowest):
    lidar = spinning(beams)
    assert len(lidar.elevations) == len(lidar.heights) == beams
    assert (lidar.elevations[0], lidar.elevations[-1]) == (highest, lowest)
    assert (lidar.position, lidar.tilt) == (HDL64.position, HDL64.tilt)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"elevations": (), "heights": ()}, "got 0 elevations and 0 heights"),
        ({"heights": (0.0,)}, "got 64 elevations and 1 heights"),
        ({"elevations": (0.0,) * 64}, "elevations must descend"),
        ({"reach": 0.0}, "reach must be positive, got 0.0"),
        ({"azimuth_step": float("nan")}, "azimuth_step must be positive, got nan"),
        ({"range_noise": -0.1}, "range_noise must be at least 0, got -0.1"),
    ],
)
def test_invalid_scanners_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        replace(HDL64, **changes)


def test_other_numbers_of_beams_are_refused():
    with pytest.raises(ValueError, match="16 or 32 beams are available, got 20"):
        spinning(20)


@pytest.mark.parametrize("share", [0.0, 1.5])
def test_shares_out_of_range_are_refused(share):
    with pytest.raises(ValueError, match=f"above 0 and at most 1, got {share}"):
        thinned(Lidar((1.0,), (0.0,)), share)
