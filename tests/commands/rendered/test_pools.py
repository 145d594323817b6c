"""The pools of a training config."""

import pytest

from fcfrnet_jax.commands.rendered import pools
from fcfrnet_jax.sensors.views import VIEWS
from fcfrnet_jax.streets.pool import SHARD
from tests import numbered_scenes
from tests.commands.rendered.runs import config_of


def test_training_and_validation_frames_are_of_different_streets(tmp_path):
    plans = pools.plans(config_of(tmp_path, camera=(375, 1242), pool_frames=64))
    assert [plan.frames for plan in plans.values()] == [64, SHARD, SHARD]
    assert len({plan.seed for plan in plans.values()}) == 3
    assert plans["train"].views == VIEWS
    assert plans["val"].views == plans["val_dense"].views == VIEWS[:1]
    assert [plans["val"].dense, plans["val_dense"].dense] == [0.0, 1.0]


def test_runs_with_another_seed_share_their_frames(tmp_path):
    assert pools.plans(config_of(tmp_path, seed=1)) == pools.plans(config_of(tmp_path))


def test_a_folder_of_other_files_is_refused(tmp_path):
    (tmp_path / "val").mkdir()
    (tmp_path / "val" / "letter.txt").write_text("mine")
    with pytest.MonkeyPatch.context() as monkeypatch:
        numbered_scenes.put_in_place(monkeypatch)
        with pytest.raises(ValueError, match=f"--config.pool_dir: {tmp_path}/val .* is not a pool"):
            pools.render(config_of(tmp_path))


def test_a_number_of_frames_that_fills_no_file_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"--config.pool_frames: .* multiple of 16, got 20"):
        pools.training_source(config_of(tmp_path, pool_frames=20))
