import itertools
import json
import os
import random
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from fcfrnet_jax.commands.cli import config_files
from fcfrnet_jax.commands.data import build_shards
from fcfrnet_jax.data import check, kitti, shards
from fcfrnet_jax.data.train_pipeline import make_train_dataset
from tests import own_data
from tests.data.shards.building import build
from tests.kitti_tree import DRIVE_NAMES, names, write_drive

TARGET = "kitti_depth_completion/1.0.0"


@pytest.fixture
def root(tmp_path):
    write_drive(tmp_path / "kitti")
    return tmp_path / "kitti"


def run(root, workdir):
    config = config_files.load("build_shards").config
    config.data_dir = str(root)
    build_shards.run(config, workdir)


def damage(shard):
    """Changes a byte of a record."""
    data = bytearray(shard.read_bytes())
    data[data.index(b"2011_09_26")] ^= 1
    shard.write_bytes(data)


def row(shown, heading):
    """The cells of a row of the table."""
    (found,) = re.findall(rf"^│ {heading} +│(.*)│$", shown, re.M)
    return [cell.strip() for cell in found.split("│")]


def test_shards_are_built_once(root, tmp_path, capsys):
    frames = kitti.find_frames(root, "val")
    frames[0].image.unlink()
    frames[1].sparse.write_bytes(b"")
    out = tmp_path / "shards"
    run(root, out)
    shown = capsys.readouterr().out
    assert row(shown, "frames") == ["0", "2", "0", "0"]
    assert row(shown, "frames of the benchmark") == ["85,898", "6,852", "1,000", "1,000"]
    assert row(shown, "missing files") == row(shown, "damaged or empty files")
    assert row(shown, "missing files") == ["0", "1", "0", "0"]
    assert f"Wrote {out / TARGET} from {root}" in shown.splitlines()
    assert names(shards.search_frames(out, "val")[0]) == DRIVE_NAMES[2:]
    assert [path.name for path in out.iterdir()] == ["kitti_depth_completion"]
    # The last moment at which a build can be killed.
    (out / f"{TARGET}.building").mkdir()
    (out / TARGET).with_name("incomplete.0A1B2C_1.0.0").mkdir()
    built = {path: path.stat().st_ctime_ns for path in (out / TARGET).iterdir()}
    # The files are the same in another place.
    root.rename(tmp_path / "moved")
    run(tmp_path / "moved", out)
    again = capsys.readouterr().out
    assert f"{out / TARGET} is complete already; delete it to build it again" in again
    assert row(again, "frames") == row(shown, "frames")
    assert {path: path.stat().st_ctime_ns for path in (out / TARGET).iterdir()} == built
    assert [path.name for path in (out / TARGET).parent.iterdir()] == ["1.0.0"]


def test_a_changed_source_is_refused_until_its_shards_are_built_again(root, tmp_path):
    write_drive(root, split="train", drive="2011_09_26_drive_0001_sync")
    target = tmp_path / "shards" / TARGET
    run(root, tmp_path / "shards")
    built = {path.name: path.stat().st_ino for path in target.glob("*.index.json")}
    os.utime(kitti.find_frames(root, "val")[0].image, (0, 0))
    message = rf"1 of the 2 shards in {target} are .* built from other files .*; rename the folder"
    with pytest.raises(ValueError, match=rf"{message} to 1.0.0.building and repeat the command"):
        run(root, tmp_path / "shards")
    target.rename(target.with_name("1.0.0.building"))
    run(root, tmp_path / "shards")
    kept = [name for name, number in built.items() if (target / name).stat().st_ino == number]
    assert kept == ["kitti_depth_completion-train.array_record-00000-of-00001.index.json"]
    shard = target / kept[0].removesuffix(".index.json")
    damage(shard)
    bad = check.check_frames(shards.search_frames(target, "train")[0], (0, 0))
    old, name = re.search(r"rename (\S+) to .* delete (\S+)\* there", bad[0].reason).groups()
    assert (old, name) == (target.name, shard.name)
    others = {path.name: path.stat().st_ino for path in target.glob("*val*")}
    target.rename(target.with_name("1.0.0.building"))
    for path in target.with_name("1.0.0.building").glob(f"{name}*"):
        path.unlink()
    run(root, tmp_path / "shards")
    assert {path.name: path.stat().st_ino for path in target.glob("*val*")} == others
    assert check.check_frames(shards.search_frames(target, "train")[0], (0, 0)) == []


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("no", "there is no such folder"),
        ("a file", "is a file, expected the folder with KITTI's archives"),
        ("empty", "is empty, expected the folder"),
        ("other", "has no frames of KITTI's depth benchmark, in folders or zip archives; it must"),
        ("own", r"is a data set of its own \(dataset.json\), which is read as it is; shards can"),
        ("nyu", "has NYU Depth v2, which is read as it is; shards can be built from KITTI's"),
        ("shards", "has shards already, expected the folder with KITTI's archives"),
    ],
)
def test_other_sources_are_refused(root, tmp_path, kind, message):
    source = tmp_path / kind
    if kind == "shards":
        build(root, source, "val")
    elif kind == "own":
        own_data.write(source)
    elif kind == "a file":
        source.touch()
    elif kind != "no":
        source.mkdir()
    if kind == "other":
        (source / "image.png").touch()
    if kind == "nyu":
        (source / "nyudepthv2/val/official").mkdir(parents=True)
        (source / "nyudepthv2/val/official/00001.h5").touch()
    with pytest.raises(ValueError, match=rf"^--config.data_dir: {source}:? {message}"):
        run(source, tmp_path / "out")
    assert not (tmp_path / "out" / TARGET).exists()


def test_other_workdirs_are_refused(root, tmp_path):
    with pytest.raises(ValueError, match=rf"--workdir={root} is --config.data_dir, too"):
        run(root, root)
    other = build(root, tmp_path / "shards", "val")
    with pytest.raises(ValueError, match=rf"--workdir={other}: {other} has shards, which would be"):
        run(root, other)
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="Not a directory"):
        run(root, tmp_path / "file" / "out")


def command(task, root, workdir):
    program = [sys.executable, "-m", "fcfrnet_jax", f"--config={task}", f"--workdir={workdir}"]
    return [*program, f"--config.data_dir={root}"]


def killed(program, building, finished):
    """Kills a build at a random moment after it has finished some shards; returns those."""
    process = subprocess.Popen(program, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and len([*building.glob("*.index.json")]) < finished:
        time.sleep(0.01)
    time.sleep(random.random() / 20)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    return {path.name: path.stat().st_ino for path in building.glob("*.index.json")}


def batches(frames, process, first_step=0, count=4):
    settings = {"batch_size": 8, "crop": (32, 64), "seed": 3, "random_crop": True}
    stream = make_train_dataset(frames, process=process, first_step=first_step, **settings)
    return list(itertools.islice(stream, count))


@pytest.mark.nightly
def test_two_thousand_frames_are_the_same_in_shards_in_spite_of_kills(
    two_thousand_frames, tmp_path
):
    root, out = two_thousand_frames, tmp_path / "shards"
    program = command("build_shards", root, out)
    for finished in (1, 4):
        kept = killed(program, out / f"{TARGET}.building", finished)
        assert finished <= len(kept) < 8
    subprocess.run(program, check=True)
    assert all((out / TARGET / name).stat().st_ino == number for name, number in kept.items())
    for folder in (root, out):
        subprocess.run(command("check_data", folder, tmp_path / "check"), check=True)
        checked = json.loads((tmp_path / "check/check_data.json").read_text())["splits"]["train"]
        assert (checked["frames"], checked["usable"]) == (2000, 2000)
    files, (stored, bad) = kitti.find_frames(root, "train"), shards.search_frames(out, "train")
    assert (names(stored), bad) == (names(files), [])
    halves = []
    for process in ((0, 2), (1, 2)):
        expected, found = batches(files, process), batches(stored, process)
        # A reader that stopped after two steps.
        found += batches(stored, process, first_step=2, count=2)
        for one, other in zip(expected + expected[2:], found, strict=True):
            assert one.keys() == other.keys() >= {"image", "sparse_depth", "ground_truth"}
            for name in one:
                np.testing.assert_array_equal(one[name], other[name], strict=True)
        halves.append({index for batch in expected for index in batch["index"].tolist()})
    assert not halves[0] & halves[1]
