"""A camera with a scanner above it, and a scene of a wall and a plate, in float64 NumPy."""

import numpy as np

from fcfrnet_jax.sensors.calibration import Calibration

# The scanner has x forward, y to the left and z up, and is `ABOVE` the camera.
ROTATION = np.array([[0.0, -1, 0], [0, 0, -1], [1, 0, 0]])
SIZE = (180, 300)
K = np.array([[240.0, 0, 150], [0, 240, 90], [0, 0, 1]])


def rig(offset=(0.0, -0.5, -0.2), size=SIZE):
    """The calibration of a scanner at `offset` metres in the camera's frame."""
    transform = np.eye(4)
    transform[:3, :3], transform[:3, 3] = ROTATION, offset
    return Calibration(np.concatenate([K, np.zeros((3, 1))], axis=1), transform, size)


# Metres in the camera's frame: the plate's left, right, top and bottom edges.
WALL, PLATE, EDGES = 20.0, 6.0, (-1.0, 1.5, -0.4, 1.0)


def meets_plate(start, direction):
    """Whether rays `[N, 3]` from `start` in the camera's frame meet the plate."""
    x, y, _ = (start + (PLATE - start[2]) / direction[:, 2:] * direction).T
    left, right, top, bottom = EDGES
    return (x > left) & (x < right) & (y > top) & (y < bottom)


def scan(offset=(0.0, -0.5, -0.2)):
    """The points of a scanner with 40 beams, in its frame, and whether the camera sees them."""
    azimuth, elevation = np.meshgrid(np.arange(-40, 40, 0.4), np.arange(-24, 16, 1.0))
    azimuth, elevation = np.radians(azimuth.ravel()), np.radians(elevation.ravel())
    level = np.cos(elevation)
    directions = np.stack([level * np.cos(azimuth), level * np.sin(azimuth), np.sin(elevation)], 1)
    rays, start = directions @ ROTATION.T, np.array(offset)
    depth = np.where(meets_plate(start, rays), PLATE, WALL)
    points = start + ((depth - start[2]) / rays[:, 2])[:, None] * rays
    hidden = (depth == WALL) & meets_plate(np.zeros(3), points)
    return (points - start) @ ROTATION, ~hidden
