"""Scans of LiDAR scanners, and the readers of their files."""

from fcfrnet_jax.sensors.scans.read import READERS, read_scan
from fcfrnet_jax.sensors.scans.scan import Scan

__all__ = ["READERS", "Scan", "read_scan"]
