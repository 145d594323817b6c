"""The calibration of a camera and a LiDAR scanner, and the readers of its files."""

from fcfrnet_jax.sensors.calibration.calibration import Calibration, Distortion
from fcfrnet_jax.sensors.calibration.read import read_calibration

__all__ = ["Calibration", "Distortion", "read_calibration"]
