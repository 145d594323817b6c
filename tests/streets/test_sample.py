"""The sample dataset: its content, its folder, and samples written by older versions."""

import shutil
from pathlib import Path

import jax
import numpy as np
import pytest

from fcfrnet_jax.data import kitti
from fcfrnet_jax.sensors.calibration import read_calibration
from fcfrnet_jax.sensors.projection import project
from fcfrnet_jax.sensors.scans import read_scan
from fcfrnet_jax.streets import data_set, frame_files, sample
from fcfrnet_jax.streets.frame import render_scene
from fcfrnet_jax.streets.sample import sample_dir, write_sample, write_scan
from tests import numbered_scenes
from tests.conftest import ROOT
from tests.streets.conftest import CAMERA, LIDAR, SIZE

# Written by the version before the renderer was moved to `streets`.
OLD_MARKER = ROOT / "tests/fixtures/streets/rendered.json"


@pytest.fixture
def plans(monkeypatch) -> list[data_set.Plan]:
    """The plans of the datasets that would be written."""
    found = []
    monkeypatch.setattr(sample, "write_data_set", lambda root, plan: found.append(plan))
    return found


def test_the_splits_of_the_sample(monkeypatch, tmp_path):
    numbered_scenes.put_in_place(monkeypatch)
    write_sample(tmp_path / "set", frames=3, seed=7, height=48, width=160)
    counts = [
        len(kitti.find_frames(tmp_path / "set", split))
        for split in ("train", "val", "val_selection")
    ]
    assert counts == [2, 3, 3]


def test_the_sample_is_in_the_users_cache(plans, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert sample_dir() == tmp_path / "xdg" / "fcfrnet_jax" / "sample-v4"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert sample_dir() == tmp_path / ".cache" / "fcfrnet_jax" / "sample-v4"
    assert sample_dir(tmp_path / "own") == tmp_path / "own" / "sample-v4"
    assert len(set(plans)) == 1


def test_a_sample_of_the_previous_version_is_recognised(tmp_path, monkeypatch):
    monkeypatch.setattr(data_set, "render_scene", None)  # fails if called
    root = tmp_path / "sample-v4"
    root.mkdir()
    shutil.copy(OLD_MARKER, root)
    write_sample(root)
    assert [path.name for path in root.iterdir()] == ["rendered.json"]


def test_a_different_sample_is_refused(tmp_path):
    shutil.copy(OLD_MARKER, tmp_path)
    with pytest.raises(ValueError, match="drive_length is 3, not 2; selection is 6, not 3"):
        write_sample(tmp_path, frames=3)


def test_zero_frames_are_refused(tmp_path):
    with pytest.raises(ValueError, match="at least 1 frame, got 0"):
        write_sample(tmp_path / "set", frames=0)


def test_too_many_frames_are_refused(tmp_path):
    with pytest.raises(ValueError, match="1 to 10 frames, got 11"):
        write_sample(tmp_path / "set", frames=21)


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_writing_continues_after_an_interruption(tmp_path, monkeypatch, error):
    def interrupt(*_):
        raise error

    numbered_scenes.put_in_place(monkeypatch)
    with monkeypatch.context() as broken:
        broken.setattr(frame_files, "write_image", interrupt)
        with pytest.raises(error):
            write_sample(tmp_path / "set", frames=1, height=48, width=160)
    assert not (tmp_path / "set").exists()
    write_sample(tmp_path / "set", frames=1, height=48, width=160)
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_a_cache_that_is_not_writable_names_the_variable(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="set XDG_CACHE_HOME to a writable folder"):
        sample_dir(tmp_path / "file")


def every_file(root):
    return sorted(path for path in root.rglob("*") if path.is_file())


def damage(root):
    """Damages a file in each of several ways."""
    images = [path for path in every_file(root) if path.suffix == ".png"]
    images[0].unlink()
    images[1].write_bytes(images[1].read_bytes()[:-9])
    images[2].write_bytes(images[3].read_bytes())  # intact, but another frame
    images[4].unlink()
    images[4].mkdir()
    shutil.rmtree(root / "raw")
    (root / "raw").touch()
    (root / "rendered.json").write_text("{")


@pytest.mark.slow
def test_a_damaged_sample_is_repaired(tmp_path, monkeypatch, caplog):
    numbered_scenes.put_in_place(monkeypatch)
    files = {path: path.read_bytes() for path in every_file(sample_dir(tmp_path))}
    monkeypatch.setattr(data_set, "render_scene", None)  # fails if called
    assert sample_dir(tmp_path) == tmp_path / "sample-v4"
    assert not caplog.records
    damage(tmp_path / "sample-v4")
    numbered_scenes.put_in_place(monkeypatch)
    sample_dir(tmp_path)
    assert {path: path.read_bytes() for path in files} == files
    assert "of its files are damaged or missing and are written again: " in caplog.text
    # Without a record of digests, as in earlier versions, what can be decoded is kept.
    (tmp_path / "sample-v4.digests.json").unlink()
    next(path for path in files if path.suffix == ".png").write_bytes(b"\x89PNG")
    sample_dir(tmp_path)
    assert {path: path.read_bytes() for path in files} == files


@pytest.mark.slow
def test_the_scan_of_the_sample_projects_to_its_sparse_depth(tmp_path):
    files = write_scan(tmp_path / "set", tmp_path / "scan", frames=2, seed=3, size=SIZE)
    # The first drive is that of `train`.
    assert "drive_0002" in str(files.image)
    frame = render_scene(jax.random.fold_in(jax.random.key(3), 2), CAMERA, LIDAR, 0.0)
    scan, rig = read_scan(files.scan), read_calibration(files.calibration)
    assert rig.size == SIZE
    found = project(scan, rig, remove_hidden=False)
    wrong = np.abs(found - frame.sparse_depth) > 1e-3
    # Rounding may put a point into the next pixel.
    assert wrong.sum() <= 0.01 * np.count_nonzero(found)
    assert np.count_nonzero(found) > 100
