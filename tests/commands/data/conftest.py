"""A data set of many frames."""

import os
import shutil

import pytest

from fcfrnet_jax.commands import render
from fcfrnet_jax.commands.cli import config_files


@pytest.fixture
def two_thousand_frames(tmp_path):
    """Rendered frames in the benchmark's layout; each is linked in 100 drives."""
    config = config_files.load("render").config
    config.update({"frames": 20, "val_share": 0.0, "selection_share": 0.0, "camera": (48, 160)})
    render.run(config, tmp_path / "rendered")
    root, rendered, date = tmp_path / "kitti", tmp_path / "rendered", "2000_01_01"
    drives = sorted(path.name for path in (rendered / "train").iterdir())
    for number in range(200):
        for place in ("train", f"raw/{date}"):
            source = rendered / place / drives[number % 2]
            target = root / place / f"{date}_drive_{number:04d}_sync"
            shutil.copytree(source, target, copy_function=os.link)
    shutil.copy(rendered / "raw" / date / "calib_cam_to_cam.txt", root / "raw" / date)
    return root
