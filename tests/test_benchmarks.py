"""The benchmarks that time networks, on the smallest ones."""

import argparse
import json
import math
import os
import subprocess
import sys
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from benchmarks import accelerator, input_pipeline
from benchmarks.accelerators import profile
from benchmarks.accelerators.plan import Item, make_plan, seconds_of
from benchmarks.accelerators.report import tables
from benchmarks.accelerators.results import Results
from benchmarks.accelerators.toy import make_toy_plan
from benchmarks.accelerators.worker import Worker, WorkerError
from fcfrnet_jax.data.check import read_frame
from fcfrnet_jax.data.kitti import find_frames
from fcfrnet_jax.networks.initialise import initial_variables
from fcfrnet_jax.networks.specs import CoarseToFineSpec, SparseToCoarseSpec, TwoStageSpec
from fcfrnet_jax.weights.checkpoint import save_model
from tests import kitti_tree, numbered_scenes
from tests.conftest import ROOT, xla_flags
from tests.fresh_install import hide

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
@pytest.mark.parametrize("mode", ["predict", pytest.param("train", marks=pytest.mark.nightly)])
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
def test_the_torch_twin_of_a_model_of_patches_computes_the_same(tmp_path):
    pytest.importorskip("torch", reason="the peers are no requirement")
    settings = {"layers": 10, "width": 8, "patch": 4}
    coarse = SparseToCoarseSpec(modality="d", base="fill", keep_measured=True, **settings)
    spec = TwoStageSpec(coarse, CoarseToFineSpec(**settings))
    random = np.random.default_rng(0)
    variables = jax.tree.map(
        lambda x: x + np.float32(0.1) * random.random(x.shape, np.float32),
        initial_variables(spec, 0),
    )
    save_model(tmp_path / "model", spec, variables, provenance={})
    line = [sys.executable, "benchmarks/peers.py", "--checkpoint", str(tmp_path / "model")]
    line += ["--peers", "jax", "torch", "--size", "64", "96", "--rounds", "1"]
    environment = os.environ | {"XLA_FLAGS": xla_flags(1)}
    subprocess.run(line, cwd=ROOT, check=True, env=environment)


@pytest.mark.nightly
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


@pytest.mark.nightly
def test_a_robots_loop_is_measured(tmp_path):
    path = tmp_path / "times.json"
    line = [sys.executable, "benchmarks/robot_loop.py", "--height", "32", "--width", "64"]
    line += ["--frames", "2", "--rate", "9", "--json", str(path)]
    environment = os.environ | {"XLA_FLAGS": xla_flags(1)}
    subprocess.run(line, cwd=ROOT, check=True, env=environment)
    rows = json.loads(path.read_text())
    assert 0 < rows["warm start"]["first_depth_s"] < rows["first start"]["first_depth_s"]
    for name in ("call", "from_scan", "stream", "stream at 9 Hz"):
        assert 0 < rows[name]["p50_ms"] <= rows[name]["p99_ms"]
    assert rows["stream at 9 Hz"]["frames_per_s"] < 10


def test_the_whole_job_needs_frames(tmp_path):
    line = [sys.executable, "benchmarks/whole_job.py", "--data_dir", str(tmp_path)]
    done = subprocess.run(
        [*line, "--distinct", "0"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.endswith("error: --distinct must be at least 1\n")


@pytest.mark.nightly
def test_the_accelerator_benchmark(tmp_path):
    """Its rehearsal, as on a machine without TensorFlow and ml_collections."""
    output = tmp_path / "output"
    hidden = hide(tmp_path / "site", ["tensorflow", "ml_collections", "tensorboardX"])
    environment = os.environ | {"PYTHONPATH": hidden, "XLA_FLAGS": xla_flags(1)}
    line = [sys.executable, "benchmarks/accelerator.py", "--toy", "--output", str(output)]
    line += ["--minutes", "10", "--require", "cpu"]
    keys = {"about/jax", *(item.key for group in make_toy_plan() for item in group)}
    log = output / "jax.log"
    asked = []
    for _ in range(2):
        subprocess.run(line, cwd=ROOT, check=True, env=environment)
        rows = [json.loads(row) for row in (output / "results.jsonl").read_text().splitlines()]
        assert [row for row in rows if "error" in row] == []
        assert {row["key"] for row in rows} - {"about/torch"} == keys
        asked.append(log.read_text().count('"call"'))
    # The second time it asks what the device is, and nothing else.
    assert asked[1] == asked[0] + 1
    parity = next(row for row in rows if row["key"] == "parity/fcfrnet18_rgbd float32 highest")
    assert parity["result"]["predicting_rmse_mm"] < 0.05
    assert "## prediction" in (output / "tables.md").read_text()


def test_the_rehearsal_has_every_kind_of_item():
    kinds = [
        {(item.part, item.call) for group in plan for item in group}
        for plan in (make_plan(), make_toy_plan())
    ]
    assert kinds[0] - kinds[1] == {("training", "pair")}


def test_the_plan():
    plan = make_plan()
    keys = [item.key for group in plan for item in group]
    assert len(keys) == len(set(keys))
    assert all(len({item.flags for item in group}) == 1 for group in plan)
    # The comparisons fit the time of the first call.
    assert sum(map(seconds_of, plan[:3])) < 4 * 60
    assert {item.call for group in plan[1:3] for item in group} == {"pair"}


def test_a_failing_item_is_recorded_and_repeated_on_request(tmp_path, monkeypatch):
    broken = Item("device", "broken", "copy", {"megabytes": 1})
    monkeypatch.setattr(accelerator, "make_toy_plan", lambda: [[broken]])
    options = argparse.Namespace(output=tmp_path, minutes=1, only=None, again=False, toy=True)
    options.require = "cpu"
    for again, lines in ((False, 1), (False, 1), (True, 2)):
        options.again = again
        rows = accelerator.run(options).rows
        (row,) = [row for row in rows if row["key"] == "device/broken"]
        assert "unexpected keyword argument" in row["error"]
        assert (tmp_path / "jax.log").read_text().count('"copy"') == lines
    assert "- device/broken: " in tables(rows)
    options.require = "gpu"
    before = (tmp_path / "results.jsonl").read_bytes()
    with pytest.raises(SystemExit, match="jax runs on cpu"):
        accelerator.run(options)
    assert (tmp_path / "results.jsonl").read_bytes() == before


def test_results_of_another_device_and_of_rehearsals_are_set_aside(tmp_path):
    def measure(value, **about):
        results = Results(tmp_path)
        results.begin(about)
        if value:
            results.add({"key": "device/copy", "result": value})
        return results.find("device/copy")

    assert measure(1, device="card A") == 1
    assert measure(None, device="card A") == 1
    assert measure(None, device="card A", toy=True) is None
    assert measure(2, device="card-B") == 2
    assert measure(None, device="card A", version=3) == 1
    assert measure(None, device="card-B") == 2
    names = {"results.jsonl", "results_card_A.jsonl", "results_card_A_toy.jsonl"}
    assert {path.name for path in tmp_path.iterdir()} == names


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--only", "predicton"], "invalid choice: 'predicton'"),
        (["--report"], "Error: {output} has no results.jsonl"),
    ],
)
def test_wrong_arguments_of_the_accelerator_benchmark(arguments, message, tmp_path):
    output = tmp_path / "output"
    line = [sys.executable, "benchmarks/accelerator.py", "--output", str(output), *arguments]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode
    assert message.format(output=output) in done.stderr.splitlines()[-1]
    assert not output.exists()


def test_every_part_has_one_table():
    def row(part, name, **result):
        return {"key": f"{part}/{name}", "part": part, "name": name, "result": result}

    pair = {"frames_per_s": {"torch": 50.0, "jax": 60.0}, "share_of_peak": {"jax": 0.5}}
    operation = {"share": 0.1, "ms": 2.0, "launches": 1.0, "name": "fusion", "category": ""}
    operation["source"] = "jit(f)/transpose(jvp(CoarseToFine))/CoarseToFine.decode/convt1/conv"
    text = tables(
        [
            row("prediction", "a", p50_ms=4.0, frames_per_s=250.0),
            row("prediction", "b", errors={"torch-compile": "out of memory"}, **pair),
            row("profile", "train", frames_per_s=9.0, operations=[operation]),
        ]
    )
    rates = """|  | jax | torch | jax / fastest rival | share of the peak | p50 ms |
| --- | --- | --- | --- | --- | --- |
| a | 250 |  |  |  | 4 |
| b | 60 | 50 | 1.20 | 50% |  |
"""
    assert rates in text
    assert "| 10.0% | 2 | 1 | fusion | backward of decode convt1 conv |\n" in text
    assert text.endswith("## failed\n\n- prediction/b torch-compile: out of memory\n")


def test_a_worker_that_dies_or_hangs_is_reported(tmp_path):
    worker = Worker("torch", tmp_path / "log", {"PYTHONPATH": hide(tmp_path / "site", ["torch"])})
    with pytest.raises(WorkerError, match="the process ended with status 1; see log"):
        worker.request("describe", 60)
    worker = Worker("jax", tmp_path / "log")
    with pytest.raises(WorkerError, match="no answer within 0 s"):
        worker.request("describe", 0.1)
    assert not worker.alive


def test_operations_of_a_gpu_profile():
    def plane(name, **lines):
        lines = [SimpleNamespace(name=key, events=events) for key, events in lines.items()]
        return SimpleNamespace(name=name, lines=lines)

    def event(name, duration_ns, **stats):
        return SimpleNamespace(name=name, duration_ns=duration_ns, stats=stats.items())

    fprop = event("sm90_fprop", 6e6, hlo_op="conv.1", hlo_module="jit_apply")
    convert = event("nchwToNhwc", 1e6, hlo_op="conv.1")
    streams = {"Stream #13(Compute)": [fprop, convert, event("MemcpyD2D", 3e6)]}
    planes = [
        plane("/host:CPU", python=[event("conv.1", 5e6, hlo_op="conv.1")]),
        plane("/device:GPU:0", **streams, Steps=[event("1", 9e6)]),
    ]
    text = (
        "  %conv.1 = (bf16[1]{0}, u8[0]{0}) custom-call(bf16[1]{0} %x), "
        'custom_call_target="__cudnn$convForward", metadata={op_name="jit(apply)/conv1/conv"}\n'
    )
    first, second = profile.summary(planes, text, 5)
    assert first["kernels"] == ["sm90_fprop", "nchwToNhwc"]
    assert (first["name"], first["share"]) == ("conv.1", pytest.approx(0.7))
    assert first["category"] == "custom-call __cudnn$convForward"
    assert (first["source"], second["name"]) == ("jit(apply)/conv1/conv", "MemcpyD2D")
    assert first["ms"] == pytest.approx(7 / profile.CALLS)
    with pytest.raises(RuntimeError, match="no operations in the profile"):
        profile.summary([plane("/device:GPU:0")], "", 5)


def test_the_peers_commands_have_a_help():
    for name in ("peers.py", "tpu_aot.py", "model.py", "accelerator.py"):
        line = [sys.executable, "-c", BARE, f"benchmarks/{name}", "--help"]
        done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=True)
        assert "usage" in done.stdout


@pytest.mark.slow
def test_loaders_are_compared(tmp_path):
    kitti_tree.write_drive(tmp_path / "kitti", "train", numbers=range(5, 9), size=(96, 160))
    line = [sys.executable, "benchmarks/input_pipeline.py", "--data_dir", str(tmp_path / "kitti")]
    line += ["--height", "64", "--width", "96", "--batch", "8", "--steps", "2", "--rounds", "1"]
    subprocess.run([*line, "--json", str(tmp_path / "rates.json")], cwd=ROOT, check=True)
    found = json.loads((tmp_path / "rates.json").read_text())
    for rates in found["rates"].values():
        assert rates.keys() == {"PIL", "OpenCV", "folders", "shards"}
        assert min(rates.values()) > 0
    assert min(found["bytes"].values()) > 0


def test_the_peers_loaders_read_the_same(tmp_path):
    kitti_tree.write_drive(tmp_path, "train", numbers=[5], size=(96, 160))
    [frame] = find_frames(tmp_path, "train")
    loaders = input_pipeline.with_pil, input_pipeline.with_opencv
    for arrays in zip(*(load(frame, (64, 96), None) for load in loaders), strict=True):
        np.testing.assert_array_equal(*arrays)
    ours, bad = read_frame(frame, (64, 96))
    assert bad == []
    names = ("image", "sparse_depth", "ground_truth")
    for name, array in zip(names, loaders[0](frame, (64, 96), None), strict=True):
        np.testing.assert_array_equal(ours[name], array)
