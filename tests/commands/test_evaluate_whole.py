"""The compact model on whole real frames: the evaluation against the predictor.

In a new process, because the other tests compile without optimisation, which is too slow here.
"""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from fcfrnet_jax.evaluation.depth_maps import MAPS
from tests.conftest import ROOT

# Evaluates a split, and prints how far the depth maps are from those of the predictor.
PROGRAM = """
import json, sys
import numpy as np
import fcfrnet_jax
from fcfrnet_jax.data.images import read_depth, read_image
from fcfrnet_jax.data.kitti import find_frames
from tests.commands.evaluations import evaluated

data, split, workdir = sys.argv[1:]
model = str(fcfrnet_jax.COMPACT)
result = evaluated(workdir, data_dir=data, split=split, crop=(0, 0), checkpoint=model, panels=0)
predictor = fcfrnet_jax.load(model)
found = []
for frame, metrics in zip(find_frames(data, split), result["per_frame"], strict=True):
    depth = predictor(read_image(frame.image), read_depth(frame.sparse))
    written = read_depth(f"{workdir}/predictions/{metrics['name']}.png")
    truth = read_depth(frame.ground_truth)
    rmse = 1000 * np.sqrt(np.mean((depth.astype(np.float64) - truth)[truth > 0.1] ** 2))
    error = float(np.abs(written - depth).max())
    found.append([frame.name, error, float(rmse)])
print(json.dumps([result, found]))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("split", "count"),
    [
        pytest.param("train", 26, marks=pytest.mark.nightly),
        ("val", 7),
        pytest.param("val_selection", 6, marks=pytest.mark.nightly),
    ],
)
def test_whole_real_frames_equal_the_predictor(split, count, kitti_real, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, kitti_real, split, tmp_path],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | {"XLA_FLAGS": ""},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result, found = json.loads(done.stdout.splitlines()[-1])
    assert len(found) == count
    for frame, (name, error, rmse) in zip(result["per_frame"], found, strict=True):
        assert frame["name"] == name
        # The PNG rounds to 1/256 m.
        assert error < 0.55 / 256
        assert frame["metrics"]["fine"]["rmse_mm"] == pytest.approx(rmse, abs=0.05)
    means = [np.mean([f["metrics"][m]["rmse_mm"] for f in result["per_frame"]]) for m in MAPS]
    assert means[0] > means[1] > means[2]
