"""Kills a command at its operations on files, in turn; run as `python -m ... TASK FOLDER STEP`.

After each kill, a reader must find the complete old or new result, the command must succeed when it
is repeated, and nothing else may be left. Prints the number of kills.
"""

import json
import os
import pickle
import re
import shutil
import sys
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import pytest

from fcfrnet_jax.commands import convert, evaluate, render, train
from fcfrnet_jax.commands.cli import config_files
from fcfrnet_jax.commands.data import build_shards, check_data
from fcfrnet_jax.commands.inference import coarse_maps, predict, submit
from fcfrnet_jax.commands.output import results
from fcfrnet_jax.commands.recordings import project
from fcfrnet_jax.configs import coarse_maps as coarse_config
from fcfrnet_jax.configs import predict as predict_config
from fcfrnet_jax.configs import project as project_config
from fcfrnet_jax.configs import render as render_config
from fcfrnet_jax.configs import submit as submit_config
from fcfrnet_jax.data.encodings import image_headers, png_pixels
from fcfrnet_jax.data.images import write_image
from fcfrnet_jax.data.kitti.submission import Benchmark, check_zip
from fcfrnet_jax.streets.sample import write_sample
from fcfrnet_jax.weights import checkpoint
from tests import numbered_scenes, tiny_networks
from tests.commands import evaluations, runs
from tests.conftest import xla_flags
from tests.kill_points import killed_everywhere
from tests.kitti_tree import TEST, write_drive, write_test_selection
from tests.weights.narrow_states import narrow_state

T = TypeVar("T")


class Case(NamedTuple):
    """A command to kill.

    Attributes:
      prepare: makes the old result in an empty folder.
      act: the command, which makes the new result in the same folder.
      read: what a reader finds there, equal for equal results; fails for an incomplete one.
    """

    prepare: Callable[[Path], None]
    act: Callable[[Path], None]
    read: Callable[[Path], object]


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def conversion(shared: Path) -> Case:
    for name, network in (("old", "std"), ("new", "fcfrnet18_rgbd")):
        state = narrow_state(network) if network != "std" else narrow_state()
        (shared / name).write_bytes(pickle.dumps(state, protocol=4))

    def converted(name: str) -> Callable[[Path], None]:
        arguments = [str(shared / name), "--overwrite"]
        return lambda folder: convert.main([*arguments, str(folder / "model")])

    def read(folder: Path) -> object:
        spec, _ = checkpoint.load_model(folder / "model")  # checks the digest
        return spec

    return Case(converted("old"), converted("new"), read)


def rendering(shared: Path) -> Case:
    config = render_config.get_config()
    config.update(frames=2, val_share=0.5, selection_share=0.5, camera=(40, 120))

    def read(folder: Path) -> object:
        return contents(folder / "set") if (folder / "set").exists() else None

    return Case(lambda _: None, lambda folder: render.run(config, folder / "set"), read)


def evaluation(shared: Path) -> Case:
    write_sample(shared / "scenes", frames=2, height=48, width=160)

    def evaluated(split: str) -> Callable[[Path], None]:
        settings = {"data_dir": str(shared / "scenes"), "split": split}
        return lambda folder: evaluate.run(evaluations.config_of(**settings), folder) and None

    def read(folder: Path) -> object:
        record = json.loads((folder / "metrics.json").read_text())
        listed = {f"predictions/{frame['name']}.png" for frame in record["per_frame"]}
        listed |= {f"panels/{name}" for name in record["panels"]}
        kinds = (results.PREDICTIONS, results.PANELS)
        assert listed == {f"{kind}/{path}" for kind in kinds for path in contents(folder / kind)}
        return record["split"]

    return Case(evaluated("train"), evaluated("val"), read)


def training(shared: Path) -> Case:
    write_sample(shared / "scenes", frames=2, height=48, width=160)
    settings = {"steps": 3, "save_every": 1, "validate_every": 1, "batch_size": 1, "panels": 0}
    config = runs.config_of(shared / "scenes", **settings)

    def read(folder: Path) -> object:
        # A model that exists is complete.
        for name in ("best", "last"):
            if (folder / name).exists():
                checkpoint.load_model(folder / name)
        if not (folder / "last").exists():
            return None
        return runs.newest(folder), (folder / "metrics.jsonl").read_bytes()

    return Case(lambda _: None, lambda folder: train.run(config, folder), read)


def whole_files(folder: Path, count: int) -> list[str] | None:
    """The names of files that appear one by one, each complete; None if there are fewer."""
    visible = {
        name: data for name, data in contents(folder).items() if not Path(name).name.startswith(".")
    }
    for name, data in visible.items():
        assert not name.endswith(".png") or check_png(data)
    return sorted(visible) if len(visible) >= count else None


def check_png(data: bytes) -> bool:
    header, pixels = image_headers.read_png(data)
    return png_pixels.inflate(header, pixels).size > 0


def prediction(shared: Path) -> Case:
    """Frames of two folders, in the first run; the record is written before and after."""
    write_drive(shared / "kitti", numbers=range(4), size=(16, 32))
    config = predict_config.get_config()
    folders = {"image": shared / "kitti/raw", "depth": shared / "kitti/data_depth_velodyne"}
    config.update({name: str(path) for name, path in folders.items()})
    patterns = {"image_pattern": "*/*/*/*/{n}", "depth_pattern": "*/*/*/*/*/{n}"}
    config.update(checkpoint="", outputs="png,npy", **patterns)

    def read(folder: Path) -> object:
        return whole_files(folder, 4 + 4 + 1)

    return Case(lambda _: None, lambda folder: predict.run(config, folder) and None, read)


def projection(shared: Path) -> Case:
    """Scans and images of a folder."""
    for folder in ("scans", "images"):
        (shared / folder).mkdir(exist_ok=True)
    for i in range(4):
        np.save(shared / "scans" / f"{i}.npy", [[1.0, 0, 2], [0, 1, 3 + i]])
        write_image(shared / "images" / f"{i}.png", np.full((16, 32, 3), i, np.uint8))
    camera = {"K": [[9, 0, 9], [0, 9, 8], [0, 0, 1]], "width": 32, "height": 16}
    camera["T_cam_lidar"] = np.eye(4).tolist()
    # With distortion, images are written.
    (shared / "camera.json").write_text(json.dumps(camera | {"distortion": [0.1, 0, 0, 0]}))
    config = project_config.get_config()
    paths = {"scans": "scans", "image": "images", "calibration": "camera.json"}
    config.update(workers=1, **{name: str(shared / path) for name, path in paths.items()})

    def read(folder: Path) -> object:
        return whole_files(folder, 4 + 4 + 1 + 1)

    return Case(lambda _: None, lambda folder: project.run(config, folder) and None, read)


def coarse(shared: Path) -> Case:
    write_drive(shared / "kitti", numbers=range(4), size=(16, 32))
    config = coarse_config.get_config()
    config.update(checkpoint="", split="val", data_dir=str(shared / "kitti"))

    def read(folder: Path) -> object:
        return whole_files(folder, 4 + 1)

    return Case(lambda _: None, lambda folder: coarse_maps.run(config, folder) and None, read)


def submission(shared: Path) -> Case:
    write_test_selection(shared / TEST, 4, (16, 32))
    benchmark = Benchmark(4, (16, 32))
    config = submit_config.get_config()
    config.update(checkpoint="", data_dir=str(shared))

    def read(folder: Path) -> object:
        archive = folder / "submission.zip"
        # An archive that exists is valid.
        assert not archive.exists() or check_zip(archive, benchmark) == []
        return archive.exists()

    def act(folder: Path) -> None:
        submit.run(config, folder, benchmark)

    return Case(lambda _: None, act, read)


def checking(shared: Path) -> Case:
    write_drive(shared / "kitti", numbers=range(40), size=(24, 40))
    config = config_files.load("check_data").config
    config.update(data_dir=str(shared / "kitti"), splits="val", workers=1)

    def read(folder: Path) -> object:
        path = folder / "check_data.json"
        return json.loads(path.read_text())["splits"] if path.exists() else None

    return Case(lambda _: None, lambda folder: check_data.run(config, folder), read)


def building(shared: Path) -> Case:
    write_drive(shared / "kitti", numbers=range(40), size=(24, 40))
    config = config_files.load("build_shards").config
    config.update(data_dir=str(shared / "kitti"))

    def read(folder: Path) -> object:
        target = folder / "kitti_depth_completion" / "1.0.0"
        return sorted(contents(target)) if target.exists() else None

    return Case(lambda _: None, lambda folder: build_shards.run(config, folder), read)


CASES = {
    "convert": conversion,
    "render": rendering,
    "evaluate": evaluation,
    "train": training,
    "predict": prediction,
    "coarse_maps": coarse,
    "submit": submission,
    "project": projection,
    "check_data": checking,
    "build_shards": building,
}


def names(folder: Path) -> Counter[str]:
    """The files and folders of a result.

    Files whose names are random are left out: those of variables, snapshots and TensorBoard.
    """
    found = (str(path.relative_to(folder)) for path in folder.rglob("*"))
    inside = re.compile(r"(variables[^/]*|snapshots/\d+|tensorboard)/")
    return Counter(
        re.sub(r"variables-\w+(-\d+)?", "variables", name)
        for name in found
        if not inside.search(name)
    )


def check(case: Case, folder: Path, step: int) -> tuple[int, int]:
    """Returns the number of kills, and of files that were left after the next run."""
    template, work, whole = (folder / name for name in ("template", "work", "whole"))
    template.mkdir()
    in_child(lambda: case.prepare(template))
    shutil.copytree(template, work)
    shutil.copytree(template, whole)
    in_child(lambda: case.act(whole))
    allowed = [in_child(lambda folder=folder: case.read(folder)) for folder in (template, whole)]
    kills = left = 0
    for _ in killed_everywhere(lambda: case.act(work), folder, step=step):
        kills += 1
        assert in_child(lambda: case.read(work)) in allowed
        in_child(lambda: case.act(work))
        assert in_child(lambda: case.read(work)) == allowed[1]
        found = names(work) - names(whole)
        left += found.total()
        if found:
            print(*found, file=sys.stderr)
        shutil.rmtree(work)
        shutil.copytree(template, work)
    assert in_child(lambda: case.read(work)) == allowed[1]
    return kills, left


def in_child(function: Callable[[], T]) -> T:
    """Calls a function in a child: libraries forbid to fork a process that has used them."""
    receiver, sender = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            with os.fdopen(sender, "wb") as stream:
                pickle.dump(function(), stream)
            status = 0
        except BaseException:
            traceback.print_exc()
        os._exit(status)
    os.close(sender)
    with os.fdopen(receiver, "rb") as stream:
        sent = stream.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status == 0, f"status {status}"
    return pickle.loads(sent)


if __name__ == "__main__":
    task, folder, step = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    os.environ["XLA_FLAGS"] = xla_flags(1)
    os.fsync = lambda _: None  # it does not matter for a kill
    with pytest.MonkeyPatch.context() as monkeypatch:
        if task != "convert":
            tiny_networks.shorten_resnet(monkeypatch)
        numbered_scenes.put_in_place(monkeypatch)
        (folder / "shared").mkdir()
        in_child(lambda: CASES[task](folder / "shared") and None)
        kills, left = check(CASES[task](folder / "shared"), folder, step)
    print(f"{task}: {kills} kills, {left} files left")
