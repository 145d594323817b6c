"""Scans of LiDAR scanners, and the readers of their files."""

from fcfrnet_jax.sensors.scans.read import NAMELESS, READERS, read_scan
from fcfrnet_jax.sensors.scans.scan import Scan

__all__ = ["NAMELESS", "READERS", "Scan", "read_scan"]
