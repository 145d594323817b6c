"""The KITTI depth completion benchmark: where its files are and which of them form a frame."""

from fcfrnet_jax.data.kitti.frames import (
    SPLITS,
    find_frames,
    read_calibration,
    read_intrinsics,
)

__all__ = ["SPLITS", "find_frames", "read_calibration", "read_intrinsics"]
