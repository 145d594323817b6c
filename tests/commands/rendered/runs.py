"""Settings of short trainings on a pool of rendered frames."""

from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from tests.commands import runs

POOL = {
    "source": "synthetic",
    "camera": (40, 120),
    "pool_frames": 16,
    "val_crop": (32, 96),
    "stage": "joint",
    "depth_loss": "l1+rmse",
    "exact_weight": 1.0,
    "edge_weight": 1.0,
    "scale_weight": 0.1,
}
NETWORKS = {
    "coarse": {"layers": 10, "width": 4, "patch": 4, "modality": "d", "keep_measured": True},
    "fine": {"layers": 10, "width": 4, "patch": 4},
}


def config_of(pools: Path, **settings: Any) -> ConfigDict:
    return runs.config_of("", **NETWORKS | POOL | {"pool_dir": str(pools)} | settings)
