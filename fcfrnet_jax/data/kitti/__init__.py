"""The KITTI depth-completion benchmark: finds its files and pairs them into frames."""

from fcfrnet_jax.data.kitti.calibration import read_calibration, read_intrinsics
from fcfrnet_jax.data.kitti.frames import SPLITS, find_frames, search_frames

__all__ = ["SPLITS", "find_frames", "read_calibration", "read_intrinsics", "search_frames"]
