import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from fcfrnet_jax.commands import dataset
from fcfrnet_jax.commands.cli import config_files
from fcfrnet_jax.commands.data import check_data, opening, walk
from fcfrnet_jax.commands.data.stamps import Stamps
from fcfrnet_jax.data import check, kitti
from fcfrnet_jax.data.images import read_depth, write_depth
from fcfrnet_jax.data.shards.index import shard_path
from tests import nyu_rooms, own_data
from tests.data.shards.building import build
from tests.kitti_tree import DRIVE, random_image, write_drive

SIZE = (24, 40)
SPARSE = f"data_depth_velodyne/val/{DRIVE}/proj_depth/velodyne_raw/image_02"
TRUTH = f"data_depth_annotated/val/{DRIVE}/proj_depth/groundtruth/image_02"


@pytest.fixture
def root(tmp_path):
    write_drive(tmp_path / "kitti", numbers=range(5, 9), size=SIZE)
    return tmp_path / "kitti"


def config_of(name, root, **settings):
    config = config_files.load(name).config
    config.data_dir = str(root)
    config.update(settings)
    return config


def run(root, **settings):
    """Checks a data set; returns the entries about `val`."""
    check_data.run(config_of("check_data", root, **settings), root)
    return report(root)


def report(root):
    return json.loads((root / "check_data.json").read_text())["splits"]["val"]


def find(root, **settings):
    """The frames as training finds them."""
    settings = {"crop": (16, 32), "check_depth": False} | settings
    config = config_of("train", root, **settings)
    return dataset.find_frames(
        config, opening.open_data_set(config), "val", ("image", "ground_truth"), random_crop=True
    )


def test_a_sound_data_set_passes(root, capsys):
    found = run(root)
    assert (found["frames"], found["expected"], found["usable"]) == (4, 6852, 4)
    assert found["sizes"] == {"24x40": 4}
    shown = capsys.readouterr().out
    assert "6,848 of the benchmark's 6,852 frames are not here" in shown
    assert f"no test_completion frames under {root}.\n" in shown


def test_every_kind_of_fault_is_reported(root, capsys):
    (root / SPARSE / "0000000005.png").write_bytes(b"")
    (root / TRUTH / "0000000006.png").unlink()
    random_image(root / f"raw/2011_09_26/{DRIVE}/image_02/data/0000000007.png", (24, 41))
    (root / "raw/2011_09_26/calib_cam_to_cam.txt").unlink()
    with pytest.raises(ValueError, match=r"3 files cannot be used: .*0000000006.png is missing"):
        run(root)
    found = report(root)
    assert [item["frame"][-1] for item in found["missing"]] == ["6"]
    assert [item["frame"][-1] for item in found["damaged"]] == ["5", "7"]
    assert "is 24x41 (height x width)" in found["damaged"][1]["reason"]
    assert found["without_calibration"] == {f"{DRIVE}/image_02": 3}
    assert found["usable"] == 1


def test_frames_may_be_left_out(root):
    (root / SPARSE / "0000000005.png").write_bytes(b"")
    assert run(root, skip_bad_frames=True)["usable"] == 3


def test_frames_without_any_image_are_refused(root):
    shutil.rmtree(root / f"raw/2011_09_26/{DRIVE}")
    with pytest.raises(ValueError, match=r"4 of 4 val frames .* have no image"):
        run(root)
    assert run(root, require="ground_truth")["usable"] == 4


def test_depth_in_another_unit_is_refused(root):
    for path in (root / SPARSE).iterdir():
        write_depth(path, np.minimum(read_depth(path) * 1000 / 256, 250))
    with pytest.raises(ValueError, match=r"the depth of 100.0% of the frames of val is impossible"):
        run(root)
    assert len(run(root, max_implausible=1.0)["implausible"]) == 4


def test_a_frame_of_another_size_than_its_drive_is_odd(root):
    write_drive(root, numbers=[9], size=(24, 44))
    assert run(root)["odd_sizes"] == {f"{DRIVE}/image_02/0000000009": "24x44"}


def test_files_of_a_split_in_another_place_are_named(root, capsys):
    shutil.copytree(root / "data_depth_velodyne/val", root / "mine/train")
    run(root)
    expected = f"no train frames under {root}; did you mean data_dir={root}/mine?\n"
    assert expected in capsys.readouterr().out


def test_a_split_that_is_named_twice_is_checked_once(root, capsys):
    run(root, splits=" val,,val")
    shown = capsys.readouterr().out
    assert [cell.strip() for cell in shown.splitlines()[1].split("┃")] == ["", "KITTI", "val", ""]
    assert shown.count("val: 6,848 of the benchmark's 6,852 frames are not here.") == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"splits": "val,test"}, "--config.splits: unknown split 'test'; KITTI has train, val"),
        ({"splits": "train"}, "no train frames under"),
        ({"require": "depth"}, "--config.require: a frame can require image, .* got 'depth'"),
    ],
)
def test_what_the_data_set_does_not_have_is_named(root, settings, message):
    with pytest.raises(ValueError, match=message):
        run(root, **settings)


def test_a_stopped_check_reads_only_the_rest(root, capfd):
    run(root)
    journal = root / "check_data.journal"
    lines = journal.read_text().splitlines()
    # One line is whole, three are damaged, and one cut off by the kill.
    damaged = lines[1].replace("24", "25").encode()
    journal.write_bytes(
        b"\n".join([lines[0].encode(), damaged, b"\xff", b"[" * 9999, lines[2][:50].encode()])
    )
    capfd.readouterr()
    assert run(root)["usable"] == 4
    written = journal.read_text(errors="replace")
    assert {*lines} <= {*written.splitlines()}
    run(root)
    assert journal.read_text(errors="replace") == written
    os.utime(root / SPARSE / "0000000005.png", (0, 0))
    run(root)
    assert len(journal.read_text(errors="replace").splitlines()) == len(written.splitlines()) + 1


def test_the_journal_stays_small(root):
    frames = kitti.find_frames(root, "val")
    for change in range(9):
        for frame in frames:
            os.utime(frame.sparse, (change, change))
        keys = walk.keys_of(frames, Stamps(root), (0.9, 100))
        with walk.Journal(root) as journal:
            assert not any(map(journal.known, keys))
            journal.add(dict.fromkeys(keys, walk.Result(SIZE, True, [], [])))
        assert len((root / "check_data.journal").read_text().splitlines()) <= 3 * len(frames)
    with walk.Journal(root) as journal:
        assert all(map(journal.known, keys))


class TestTrainingReliesOnTheCheck:
    def damage(self, root):
        """Damages a file so that only reading it tells: its size and time stay."""
        path = root / SPARSE / "0000000005.png"
        status = path.stat()
        data = bytearray(path.read_bytes())
        data[-20] ^= 1
        path.write_bytes(data)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        return path

    def test_nothing_is_read_after_a_current_check(self, root, capsys):
        run(root)
        self.damage(root)
        frames, bad = find(root)
        assert (len(frames), bad) == (4, [])
        assert "The 4 frames of val are not read before the start" in capsys.readouterr().err

    def test_everything_is_read_without_a_check(self, root):
        self.damage(root)
        with pytest.raises(ValueError, match=r"0000000005\.png is damaged"):
            find(root)

    @pytest.mark.parametrize("change", ["touch", "frame", "edit", "crop"])
    def test_everything_is_read_if_the_check_does_not_hold(self, root, change):
        run(root)
        self.damage(root)
        crop = (16, 32)
        if change == "touch":
            os.utime(root / TRUTH / "0000000008.png", (0, 0))
        elif change == "frame":
            write_drive(root, numbers=[9], size=SIZE)
        elif change == "edit":
            path = root / "check_data.json"
            path.write_text(path.read_text().replace('"frames": 4', '"frames": 5'))
        else:
            crop = (32, 32)
        with pytest.raises(ValueError, match=r"0000000005\.png is damaged"):
            find(root, crop=crop)

    def test_known_bad_frames_are_left_out_as_if_they_were_read(self, root, tmp_path):
        self.damage(root)
        expected = find(root, skip_bad_frames=True)
        run(root, skip_bad_frames=True)
        (root / "check_data.json").replace(tmp_path / "found.json")
        (tmp_path / "kitti_check").mkdir()
        (tmp_path / "found.json").rename(tmp_path / "kitti_check/check_data.json")
        assert find(root, skip_bad_frames=True) == expected
        assert len(expected[1]) == 1

    @pytest.mark.parametrize("stale", ["kitti", "kitti_check"])
    def test_a_current_check_in_either_place_counts(self, root, tmp_path, stale, capsys):
        other = tmp_path / ({"kitti", "kitti_check"} - {stale}).pop()
        check_data.run(config_of("check_data", root), tmp_path / stale)
        os.utime(root / SPARSE / "0000000005.png", (0, 0))
        check_data.run(config_of("check_data", root), other)
        find(root)
        assert f"{other}/check_data.json is current" in capsys.readouterr().err

    def test_the_folder_may_be_given_by_the_home_folder(self, root, tmp_path, monkeypatch, capsys):
        monkeypatch.setenv("HOME", str(tmp_path))
        check_data.run(config_of("check_data", "~/kitti"), root)
        assert json.loads((root / "check_data.json").read_text())["data_dir"] == str(root)
        for folder in ("~/kitti", root):
            find(folder)
            assert "is current" in capsys.readouterr().err

    def test_a_small_crop_at_the_bottom_is_checked_by_reading(self, root, monkeypatch):
        read = []
        original = check.check_frames
        monkeypatch.setattr(
            check, "check_frames", lambda *a, **k: read.append(a) or original(*a, **k)
        )
        run(root)
        config = config_of("train", root, check_depth=False, crop=(16, 32))
        for crop, expected in (((16, 32), 0), ((4, 8), 1)):
            config.crop = crop
            dataset.find_frames(config, opening.open_data_set(config), "val", ("image",))
            assert len(read) == expected


@pytest.mark.parametrize("kind", ["shards", "nyu", "own"])
def test_other_data_sets_are_checked_too(root, tmp_path, kind, capsys):
    folder = tmp_path / kind
    if kind == "shards":
        splits, changed = ["val"], build(root, folder, "val") / shard_path(folder, "val", 1, 2).name
    elif kind == "nyu":
        nyu_rooms.write_hdf5(folder)
        shutil.rmtree(folder / "nyudepthv2/val")
        splits, changed = ["train", "val", "train_and_val"], next(folder.rglob("*.h5"))
    else:
        own_data.write(folder)
        splits, changed = ["train", "val"], folder / "dataset.json"
    check_data.run(config_of("check_data", folder), folder)
    found = json.loads((folder / "check_data.json").read_text())
    assert [*found["splits"]] == splits
    assert all(split["usable"] == split["frames"] > 0 for split in found["splits"].values())

    def is_current():
        capsys.readouterr()
        config = config_of("train", folder, check_depth=False, crop=(16, 32))
        for split in splits:
            dataset.find_frames(
                config,
                opening.open_data_set(config),
                split,
                ("image", "ground_truth"),
                random_crop=True,
            )
        return capsys.readouterr().err.count("are not read") == len(splits)

    assert is_current()
    os.utime(changed, (0, 0))
    assert not is_current()


def test_an_own_data_set_may_be_called_kitti(tmp_path, capsys):
    own_data.write(tmp_path / "KITTI", splits={"val": ["a/*"], "day": ["b/*"]})
    found = run(tmp_path / "KITTI")
    assert (found["frames"], found["expected"]) == (3, None)
    assert "benchmark's" not in capsys.readouterr().out


@pytest.mark.nightly
def test_two_thousand_frames_are_checked_in_spite_of_kills(two_thousand_frames):
    root = two_thousand_frames
    journal = root / "check_data.journal"
    command = [sys.executable, "-m", "fcfrnet_jax", "--config=check_data", f"--workdir={root}"]
    command += [f"--config.data_dir={root}", "--config.workers=2"]
    for lines in (100, 700):
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        while process.poll() is None and not (journal.exists() and has_lines(journal, lines)):
            time.sleep(0.02)
        process.kill()
        assert process.wait() == -signal.SIGKILL
    known = journal.read_text().splitlines()[:-1]
    broken = sorted((root / "train").glob("*/proj_depth/groundtruth/image_02/*.png"))[1999]
    broken.unlink()
    broken.write_bytes(b"")
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == 1
    assert f"1 file cannot be used: {broken} is empty" in found.stderr
    broken.unlink()
    shutil.copy(broken.with_name("0000000010.png"), broken)
    subprocess.run(command, check=True)
    lines = journal.read_text().splitlines()
    assert len({line for line in lines if line}) == 2000
    assert lines[: len(known)] == known
    config = config_of("train", root, crop=(16, 32))
    os.rename(journal, root / "read")
    frames, bad = dataset.find_frames(
        config, opening.open_data_set(config), "train", ("image", "ground_truth"), random_crop=True
    )
    assert (len(frames), bad) == (2000, [])


def has_lines(path, count):
    return len(path.read_bytes().splitlines()) >= count
