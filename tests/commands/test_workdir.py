"""What a training workdir may hold, and workdirs of older versions."""

import json
import shutil

import pytest

from fcfrnet_jax.commands import workdir
from fcfrnet_jax.commands.effects import EFFECTS
from tests.commands.workdirs import change_record, compared, config_of, remove_settings, started
from tests.conftest import ROOT


def test_a_new_workdir(tmp_path):
    found = workdir.read(tmp_path / "new")
    assert (found.settings, found.step, found.started) == (None, 0, False)
    assert not (tmp_path / "new").exists()


def test_what_is_recorded_is_read(tmp_path):
    found = workdir.read(started(tmp_path, 20))
    assert (found.step, found.started, found.settings["seed"]) == (20, True, 0)
    assert found.facts["lengths"] == [40]
    assert found.lines == [{"step": 20}]


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("metrics.json", "an evaluation"),
        ("rendered.json", "a rendered dataset"),
        ("model.json", "a model"),
    ],
)
def test_the_output_of_another_task_is_refused(name, what, tmp_path):
    (tmp_path / name).write_text("{}")
    with pytest.raises(ValueError, match=rf"{tmp_path} holds {what} \({name}\); choose another"):
        workdir.read(tmp_path)


@pytest.mark.parametrize("name", ["metrics.jsonl", "run.json", "snapshots/3/state", "best/mine"])
def test_files_of_an_unknown_run_are_refused(name, tmp_path):
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text("x")
    with pytest.raises(ValueError, match=rf"holds {name.partition('/')[0]} but no config\.json"):
        workdir.read(tmp_path)


def test_an_empty_folder_of_snapshots_is_left_by_a_kill(tmp_path):
    (tmp_path / "snapshots").mkdir()
    assert workdir.read(tmp_path).settings is None


def test_the_folder_of_a_model_holds_other_files(tmp_path):
    started(tmp_path)
    (tmp_path / "best").mkdir()
    (tmp_path / "best" / "mine.txt").write_text("x")
    with pytest.raises(ValueError, match=r"best is for a model of the run, but holds"):
        workdir.read(tmp_path)


def test_a_file_is_no_workdir(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(ValueError, match=r"--workdir=.*file is a file, expected a folder"):
        workdir.read(tmp_path / "file")


@pytest.mark.parametrize("remains", [["snapshots"], []])
def test_a_run_whose_snapshots_are_gone_does_not_start_again(remains, tmp_path):
    """The folder itself may be left; a snapshot exists after 20 steps."""
    started(tmp_path, 50)
    (tmp_path / "snapshots" / "50").rmdir()
    if not remains:
        (tmp_path / "snapshots").rmdir()
    with pytest.raises(
        ValueError, match=r"a run up to step 50, but has no snapshots .* restore that"
    ):
        workdir.read(tmp_path)


def test_a_run_that_was_killed_before_its_first_snapshot_starts_again(tmp_path):
    started(tmp_path, 19)
    (tmp_path / "snapshots" / "19").rmdir()
    assert workdir.read(tmp_path).step == 0
    told = "The run ended after step 19 without a snapshot, so it starts again."
    assert compared(tmp_path).notes == [told]


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("snapshots", "is a file, expected a folder"),
        ("tensorboard", "is a file, expected a folder"),
        ("best", "is for a model of the run, but holds something else"),
    ],
)
def test_a_file_in_the_place_of_a_folder(name, fault, tmp_path):
    workdir.claim(workdir.read(tmp_path), config_of(), {})
    (tmp_path / name).write_text("x")
    with pytest.raises(ValueError, match=rf"{tmp_path}/{name} {fault}"):
        workdir.read(tmp_path)


@pytest.mark.parametrize("name", ["config.json", "run.json"])
@pytest.mark.parametrize("content", [b"", b'{"seed": 1', b"\xff{}", b"[]"])
def test_damaged_records_are_named(name, content, tmp_path):
    started(tmp_path)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(
        ValueError, match=rf"{tmp_path}/{name}: .*; restore it from a copy, or choo"
    ):
        workdir.read(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"magic": 3}, "has unknown settings: magic; it is of a newer version or damaged"),
        ({"save_every": "x"}, "has the value 'x' for save_every, where 20 is an example; it is d"),
        ({"crop": [32, "x"]}, r"has the value \[32, 'x'\] for crop"),
        ({"coarse": 3}, "has unknown settings: coarse"),
        ({"seed": None}, "has the value None for seed"),
        ({"check_files": 1}, "has the value 1 for check_files"),
    ],
)
def test_damaged_settings_are_named(changes, message, tmp_path):
    change_record(started(tmp_path), **changes)
    with pytest.raises(ValueError, match=rf"config\.json: {message}"):
        workdir.read(tmp_path)


def test_the_config_of_another_task_is_refused(tmp_path):
    started(tmp_path)
    change_record(tmp_path, task="render")
    with pytest.raises(ValueError, match=r"config.json: is not the config of a training run"):
        workdir.read(tmp_path)


def test_an_older_version_validated_on_the_training_crop(tmp_path):
    started(tmp_path, crop=(64, 96))
    remove_settings(tmp_path, "val_crop")
    assert compared(tmp_path, crop=(64, 96), val_crop=(64, 96)).changed == {}
    whole = compared(tmp_path, crop=(64, 96))
    assert whole.changed == {"val_crop": ([64, 96], [0, 0])}
    assert whole.new_selection


def test_nested_settings_that_an_older_version_lacked(tmp_path):
    started(tmp_path)
    change_record(tmp_path, coarse={"layers": 18, "modality": "rgbd", "width": 8})
    assert compared(tmp_path).changed == {}
    with pytest.raises(ValueError, match=r"coarse\.base was 'none', is 'fill'"):
        compared(tmp_path, **{"coarse.base": "fill"})


def test_the_home_folder_in_an_older_version_s_paths(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    run = started(tmp_path / "run")
    change_record(run, data_dir="~/kitti")
    assert workdir.read(run).settings["data_dir"] == str(tmp_path / "me" / "kitti")


def test_removed_settings(tmp_path):
    removed = {"fast": (False, "it gave wrong gradients")}
    path = tmp_path / "config.json"
    for settings in ({"seed": 1}, {"seed": 1, "fast": False}):
        upgraded = workdir.upgraded(settings, path, removed)
        assert upgraded["seed"] == 1
        assert "fast" not in upgraded
    message = r"config\.json: the setting fast=True no longer exists: it"
    with pytest.raises(ValueError, match=message):
        workdir.upgraded({"fast": True}, path, removed)


def test_a_run_with_a_scaled_residual_is_refused_with_the_use_of_its_models(tmp_path):
    run = started(tmp_path)
    change_record(run, residual_share=1.0)
    assert "residual_share" not in workdir.read(run).settings
    change_record(run, residual_share=0.3)
    message = r"residual_share=0\.3 no longer exists: .*--config.checkpoint=WORKDIR/last in another"
    with pytest.raises(ValueError, match=message):
        workdir.read(run)


def test_only_a_run_with_a_snapshot_has_settings_to_continue_with(tmp_path):
    assert workdir.recorded_settings(tmp_path / "new") == {}
    run = started(tmp_path / "run", **{"fine.width": 12})
    remove_settings(run, "freeze_batchnorm")
    recorded = workdir.recorded_settings(run)
    assert (recorded["fine.width"], recorded["freeze_batchnorm"]) == (12, False)
    shutil.rmtree(run / "snapshots")
    assert workdir.recorded_settings(run) == {}


def test_a_validation_of_the_start_alone_does_not_occupy_a_workdir(tmp_path):
    run = started(tmp_path)
    shutil.rmtree(run / "snapshots")
    (run / "metrics.jsonl").write_text('{"step": 0}\n')
    assert not workdir.read(run).started


def test_a_kill_between_the_two_records(tmp_path, monkeypatch):
    """A new workdir has its config first; in a run, the facts about a change come first."""
    written = []
    monkeypatch.setattr(workdir, "write_json", lambda path, _: written.append(path.name))
    workdir.claim(workdir.read(tmp_path), config_of(), {})
    assert written == ["config.json", "run.json"]
    (tmp_path / "config.json").write_text(json.dumps(workdir.to_json(config_of())))
    workdir.claim(workdir.read(tmp_path), config_of(), {})
    assert written[2:] == ["run.json", "config.json"]


def test_leftovers_of_killed_runs_are_removed(tmp_path):
    started(tmp_path)
    kept = sorted(path.name for path in tmp_path.iterdir())
    for name in (
        ".best.{}",
        ".last.{}.old",
        ".metrics.{}.jsonl",
        ".config.{}.json",
        ".run.{}.json",
    ):
        (tmp_path / name.format("0a" * 16)).touch()
    mine = [".best.mine", f".notes.{'0a' * 16}.txt"]
    for name in mine:
        (tmp_path / name).touch()
    with workdir.alone(tmp_path):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*kept, *mine])


def test_a_model_that_an_older_version_was_replacing_is_restored(tmp_path):
    for name in (".best.{}.old", ".last.{}"):
        folder = tmp_path / name.format("0a" * 16)
        folder.mkdir()
        (folder / "model.json").write_text(name)
    (tmp_path / f".best.{'0b' * 16}").mkdir()  # not complete
    with workdir.alone(tmp_path):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best", "last"]
    assert (tmp_path / "best" / "model.json").read_text() == ".best.{}.old"


def test_a_second_run_is_refused(tmp_path):
    with (
        workdir.alone(tmp_path),
        pytest.raises(BlockingIOError, match=rf"{tmp_path} is in use by process \d+ of .* on "),
        workdir.alone(tmp_path),
    ):
        pass
    assert not list(tmp_path.iterdir())


def test_the_settings_of_version_0_1_are_complete(tmp_path):
    """A new setting that changes the updates needs its old behaviour in `OLD_BEHAVIOUR`."""
    shutil.copy(ROOT / "tests/fixtures/workdirs/config-0.1.0.json", tmp_path / "config.json")
    settings = workdir.read(tmp_path).settings
    assert settings.keys() == EFFECTS.keys()
    assert (settings["crop"], settings["val_crop"]) == ([64, 128], [64, 128])
