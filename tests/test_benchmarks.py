"""The benchmarks that time networks, on the smallest ones."""

import json
import math
import os
import subprocess
import sys

import pytest

from tests import numbered_scenes
from tests.conftest import ROOT, xla_flags

# Runs a command as on a machine that has jax, flax and optax alone.
BARE = """
import runpy, sys
missing = ["cv2", "ml_collections", "PIL", "tensorboardX", "tensorflow"]
sys.modules.update(dict.fromkeys(missing))
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
TINY = ["--layers", "18", "--width", "4", "--size", "32", "48", "--batch", "8", "--repeats", "2"]


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["predict", "train"])
def test_rows_of_a_model(mode, tmp_path):
    path = tmp_path / "rows.json"
    line = [sys.executable, "-c", BARE, "benchmarks/model.py", "--mode", mode, *TINY]
    line += ["--json", str(path)]
    subprocess.run(line, cwd=ROOT, check=True)
    (row,) = json.loads(path.read_text())
    assert (row["mode"], row["batch"], row["dtype"]) == (mode, 8, "float32")
    assert all(math.isfinite(value) for value in row.values() if isinstance(value, float))
    assert 0 < row["p50_ms"] <= row["p99_ms"]
    # Of the published network, ResNet-34, for this size and 4 of its 64 channels.
    published = 2.12 * (32 * 48) / (352 * 1216) * (4 / 64) ** 2
    assert 0.3 < row["tflop_a_frame"] / published < 5


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["predict", "train"])
def test_the_torch_twin_computes_the_same(mode):
    pytest.importorskip("torch", reason="the peers are no requirement")
    tiny = ["--layers", "18", "--width", "8", "--size", "32", "48", "--rounds", "1"]
    # Compares the outputs with those of jax and fails where they differ.
    line = [sys.executable, "benchmarks/peers.py", "--mode", mode, "--peers", "jax", "torch", *tiny]
    # The batch of one frame needs one device.
    environment = os.environ | {"XLA_FLAGS": xla_flags(1)}
    subprocess.run(line, cwd=ROOT, check=True, env=environment)


@pytest.mark.slow
def test_the_whole_job_is_measured(tmp_path):
    numbered_scenes.write_sample(tmp_path / "scenes", frames=3, height=48, width=160)
    line = [sys.executable, "benchmarks/whole_job.py", "--data_dir", str(tmp_path / "scenes")]
    line += ["--split", "val", "--checkpoint", "", "--height", "32", "--width", "64"]
    line += ["--frames", "5", "--panels", "2", "--rounds", "1", "--distinct", "2", "--batch", "4"]
    environment = os.environ | {"XLA_FLAGS": xla_flags(1)}
    done = subprocess.run(
        line, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "2 panels: " in done.stdout
    assert "write prediction" in done.stdout


def test_the_peers_commands_have_a_help():
    for name in ("peers.py", "tpu_aot.py", "model.py"):
        line = [sys.executable, "-c", BARE, f"benchmarks/{name}", "--help"]
        done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=True)
        assert "usage" in done.stdout
