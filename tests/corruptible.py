"""Files of every kind that the commands read, small, with the reader that the commands use."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fcfrnet_jax.commands import dataset
from fcfrnet_jax.commands.data import opening
from fcfrnet_jax.commands.inference.readers import Rig, ScanReader
from fcfrnet_jax.commands.output import results
from fcfrnet_jax.configs import eval as eval_config
from fcfrnet_jax.data import shards
from fcfrnet_jax.data.frame import Frame
from fcfrnet_jax.data.images import read_depth, read_image
from fcfrnet_jax.data.own.inputs import DepthFormat
from fcfrnet_jax.data.reading import read_arrays
from fcfrnet_jax.data.shards.records import ARRAYS
from fcfrnet_jax.files import write_json
from fcfrnet_jax.networks.specs import SparseToCoarseSpec
from fcfrnet_jax.pictures.point_clouds import PointCloud, write_pcd, write_ply
from fcfrnet_jax.sensors.calibration import read_calibration
from fcfrnet_jax.streets import data_set
from fcfrnet_jax.training.journal import Journal, read_journal
from fcfrnet_jax.training.snapshots import Snapshots
from fcfrnet_jax.weights import checkpoint
from tests import kitti_tree, tiny_networks
from tests.commands import workdirs
from tests.commands.output.killed_results import write_set
from tests.data.shards.building import build
from tests.random_weights import random_variables
from tests.training.states import state_of

SPEC = SparseToCoarseSpec(18, "gd", width=4)
PLAN = data_set.Plan(train=2, val=2, selection=1)
RIG = {
    "K": [[40, 0, 24], [0, 40, 16], [0, 0, 1]],
    "T_cam_lidar": [[0, -1, 0, 0], [0, 0, -1, -0.2], [1, 0, 0, 0], [0, 0, 0, 1]],
    "width": 48,
    "height": 32,
}


@dataclass(frozen=True)
class Kind:
    """Files of one kind.

    Attributes:
      name: for the table.
      folder: a folder with the intact files.
      files: a pattern of the files to damage, below the folder.
      read: reads a copy of the folder, as a command does.
      protected: whether a checksum covers the content.
      by: what an error must name: the `path` of the file; or also its `root`, a copy of `folder`; a
        `folder` in the root that contains the file; the `name` of the file alone; or the `frame`.
    """

    name: str
    folder: Path
    files: str
    read: Callable[[Path], Any]
    protected: bool
    by: str = "path"

    def names(self, root: Path, victim: Path) -> list[str]:
        """What an error about a damaged file in a copy of the folder may name."""
        if self.by == "folder":
            return [str(path) for path in victim.parents if root in path.parents]
        if self.by == "root":
            return [str(root), str(victim)]
        if self.by == "name":
            return [victim.name]
        number = victim.stem.partition("_image_02")[0][-10:]
        return [str(victim), number] if self.by == "frame" else [str(victim)]


@contextlib.contextmanager
def short_networks() -> Iterator[None]:
    """Shortens the networks, so that their shapes are found quickly."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        tiny_networks.shorten_resnet(monkeypatch)
        yield


def make_kinds(root: Path) -> list[Kind]:
    """Writes intact files of every kind below a folder."""
    names = ("snapshots", "model", "selection", "drive", "run", "results", "rendered", "recording")
    snapshots, model, selection, drive, run, results_of, rendered, recording = (
        root / name for name in names
    )
    write_recording(recording)
    write_snapshot(snapshots)
    checkpoint.save_model(model, SPEC, random_variables(SPEC), provenance={"source": "noise"})
    kitti_tree.write_val_selection(selection / kitti_tree.SELECTION)
    kitti_tree.flat_coarse_maps(selection / "coarse", kitti_tree.SELECTION_NAMES)
    kitti_tree.write_drive(drive)
    shards_dir = build(drive, root / "shards", "val")
    workdirs.started(run)
    write_set(results_of, "a run")
    write_json(rendered / data_set.MARKER, data_set.settings(PLAN))
    (rendered / "val").mkdir()
    images = {
        "image": "image",
        "sparse depth": "velodyne_raw",
        "ground truth": "groundtruth_depth",
    }
    return [
        Kind("snapshot", snapshots, "10/**/*", restored, True, "folder"),
        Kind("model's weights", model, "variables*/**/*", loaded, True, "folder"),
        Kind("model.json", model, "model.json", loaded, True, "root"),
        *(
            Kind(kind, selection, f"**/{folder}/*.png", frames_of, True, "frame")
            for kind, folder in images.items()
        ),
        Kind("coarse depth", selection, "coarse/*.png", frames_of, True, "frame"),
        Kind("intrinsics", selection, "**/intrinsics/*.txt", intrinsics_of, False, "frame"),
        Kind("calibration", drive, "raw/*/calib_cam_to_cam.txt", intrinsics_of, False, "name"),
        Kind("config.json", run, "config.json", resumed, False, "root"),
        Kind("run.json", run, "run.json", resumed, True),
        Kind("metrics.jsonl", run, "metrics.jsonl", resumed, False),
        Kind("metrics.json", results_of, "metrics.json", check_ours, False, "root"),
        Kind("rendered.json", rendered, "rendered.json", is_complete, False, "root"),
        Kind("shard", shards_dir, "*", shards_of, True),
        Kind("raw scan", recording, "scans/*", recorded, False),
        Kind("calibration of a scanner", recording, "rigs/*", recorded, False),
    ]


def write_snapshot(folder: Path) -> None:
    snapshots = Snapshots(folder, keep=3)
    snapshots.save(10, state_of(10, 2000))
    snapshots.close()


def shards_of(folder: Path) -> Any:
    frames, bad = shards.search_frames(folder, "val")
    return [(f.name, f.intrinsics, read_arrays(f, ARRAYS)) for f in frames], bad


def restored(folder: Path) -> Any:
    snapshots = Snapshots(folder, keep=3)
    try:
        return snapshots.restore(state_of(0, 2000))
    finally:
        snapshots.close()


def loaded(folder: Path) -> Any:
    spec, variables = checkpoint.load_model(folder)
    return str(spec), checkpoint.load_provenance(folder), variables


def find(folder: Path, *require: str) -> list[Frame]:
    """Finds and checks the frames as the commands do."""
    split = "val_selection" if (folder / "depth_selection").exists() else "val"
    config = eval_config.get_config()
    # The depth maps are noise.
    config.update(data_dir=str(folder), crop=(0, 0), check_depth=False)
    if "coarse" in require:
        config.coarse_dir = str(folder / "coarse")
    return dataset.find_frames(config, opening.open_data_set(config), split, require)[0]


def frames_of(folder: Path) -> list[np.ndarray]:
    """Reads all frames as evaluation does: after the check of their files."""
    frames = find(folder, "image", "ground_truth", "coarse")
    maps = [path for frame in frames for path in (frame.sparse, frame.coarse, frame.ground_truth)]
    return [*map(read_depth, maps), *(read_image(frame.image) for frame in frames)]


def intrinsics_of(folder: Path) -> list[Any]:
    """Reads the intrinsics as training with a photometric loss does."""
    return [frame.intrinsics for frame in find(folder, "intrinsics")]


def resumed(folder: Path) -> Any:
    """Resumes a run as training does; returns what the files decide."""
    run = workdirs.compared(folder)
    Journal(folder, 20).close()
    return run.epoch, run.ends, run.facts["best_since"], read_journal(folder)


def check_ours(folder: Path) -> None:
    """Checks results as an evaluation that replaces them does."""
    results.check_ours(folder)


def is_complete(folder: Path) -> bool:
    return data_set.write_data_set(folder, PLAN)


def write_recording(folder: Path) -> None:
    """Writes scans and calibrations in formats of different kinds."""
    points = np.random.default_rng(0).uniform([8, -4, -3], [9, 4, 3], (60, 3)).astype(np.float32)
    for name in ("scans", "rigs"):
        (folder / name).mkdir(parents=True)
    np.save(folder / "scans" / "npy.npy", points)
    np.savez(folder / "scans" / "npz.npz", points=points)
    np.pad(points, ((0, 0), (0, 1))).tofile(folder / "scans" / "bin.bin")
    write_ply(folder / "scans" / "ply.ply", PointCloud(points, None))
    write_pcd(folder / "scans" / "pcd.pcd", PointCloud(points, None))
    write_json(folder / "rigs" / "json.json", RIG)
    text = "\n".join(f"{name}: {value}" for name, value in RIG.items())
    (folder / "rigs" / "yaml.yaml").write_text(text)


def recorded(folder: Path) -> list[np.ndarray]:
    """Reads every scan with every calibration as prediction does."""
    reader = ScanReader({}, DepthFormat(check=False))
    found = []
    for rig in sorted((folder / "rigs").iterdir()):
        calibration = read_calibration(rig)
        for scan in sorted((folder / "scans").iterdir()):
            frame = Frame(scan.stem, None, scan, None, None, None)
            reader = replace(reader, rigs={scan.stem: Rig(calibration, rig)})
            arrays, bad = reader(frame, (0, 0))
            if bad:
                raise ValueError(f"{bad[0].path}: {bad[0].reason}")
            found.append(arrays["sparse_depth"])
    return found
