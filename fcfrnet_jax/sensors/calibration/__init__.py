"""The calibration of a camera and a LiDAR scanner, and the readers of its files."""

from fcfrnet_jax.sensors.calibration.calibration import (
    Calibration,
    Distortion,
    check_calibration,
)
from fcfrnet_jax.sensors.calibration.read import read_calibration

__all__ = ["Calibration", "Distortion", "check_calibration", "read_calibration"]
