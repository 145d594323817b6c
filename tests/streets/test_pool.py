"""Pools of rendered frames: content, interruption, growth, and folders that are refused."""

import shutil
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from fcfrnet_jax.sensors.views import SHARES, VIEWS
from fcfrnet_jax.streets import pool
from fcfrnet_jax.streets.frame import render_scene, scan_scene
from fcfrnet_jax.streets.pool import SHARD, UNIT, PoolPlan, write_pool
from tests import numbered_scenes
from tests.streets.conftest import LIDAR, SIZE

VIEW = replace(VIEWS[0].scaled(SIZE), others=(LIDAR,))
PLAN = PoolPlan(2 * SHARD, 3, (VIEW,), (1,), dense=0.0)


@pytest.fixture
def quick(monkeypatch):
    numbered_scenes.put_in_place(monkeypatch)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The pool of `PLAN`, with numbered scenes. Tests must not change it."""
    root = tmp_path_factory.mktemp("written") / "pool"
    with pytest.MonkeyPatch.context() as monkeypatch:
        numbered_scenes.put_in_place(monkeypatch)
        write_pool(root, PLAN)
    return root


def contents(root):
    return {path.name: path.read_bytes() for path in root.iterdir()}


def sparse_map(frame, scan):
    """The scan of a frame of `Pool.read` as a depth map in metres."""
    depth = np.zeros(SIZE, np.float32)
    pixel = frame["pixel"][0, scan]
    depth.ravel()[pixel[pixel >= 0]] = frame["range"][0, scan][pixel >= 0] / UNIT
    return depth


@pytest.mark.nightly
def test_stored_frames_are_the_rendered_ones(tmp_path):
    plan = replace(PLAN, frames=SHARD, dense=1.0)
    frame = write_pool(tmp_path / "pool", plan).read(np.array([5]))
    key = jax.random.fold_in(jax.random.key(3), 5)
    rendered = render_scene(key, VIEW.camera, VIEW.lidar, dense=1.0)
    other = scan_scene(key, VIEW.camera, LIDAR, 1.0)
    np.testing.assert_array_equal(frame["image"][0], rendered.image)
    known = np.unpackbits(frame["known"][0])[: SIZE[0] * SIZE[1]].reshape(SIZE)
    np.testing.assert_array_equal(known > 0, rendered.ground_truth > 0)
    depth = frame["depth"][0] / UNIT
    for stored, wanted in (
        # Depths that 16 bits cannot hold count as sky.
        (depth, np.where(rendered.depth < 255.99, rendered.depth, 0)),
        (sparse_map(frame, 0), rendered.sparse_depth),
        (sparse_map(frame, 1), other),
    ):
        np.testing.assert_allclose(stored, wanted, atol=0.5 / UNIT + 1e-5)
    beam, pixel = frame["beam"][0, 0], frame["pixel"][0, 0]
    beam, row = beam[pixel >= 0], pixel[pixel >= 0] // SIZE[1]
    rows = [np.mean(row[beam == number]) for number in np.unique(beam)]
    # Beams are numbered from the top.
    assert len(rows) >= 5
    assert np.all(np.diff(rows) > 0)
    assert list(frame["beams"][0]) == [len(LIDAR.elevations)] * 2


def test_a_finished_file_of_an_interrupted_pool_is_kept(quick, written, tmp_path, monkeypatch):
    calls = []

    def interrupted(*arguments, **settings):
        calls.append(arguments)
        if len(calls) > SHARD:
            raise KeyboardInterrupt
        return numbered_scenes.render_scene(*arguments, **settings)

    monkeypatch.setattr(pool, "render_scene", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_pool(tmp_path / "pool", PLAN)
    assert sorted(path.name for path in (tmp_path / "pool").iterdir()) == ["00000.npy", "pool.json"]
    numbered_scenes.put_in_place(monkeypatch)
    shown = []

    @contextmanager
    def show(total, done):
        shown.append([total, done])
        yield shown.append

    write_pool(tmp_path / "pool", PLAN, show)
    assert shown == [[2 * SHARD, SHARD], *[1] * SHARD]
    assert contents(tmp_path / "pool") == contents(written)


def test_a_larger_pool_starts_with_the_frames_of_a_smaller_one(quick, written, tmp_path):
    write_pool(tmp_path / "pool", replace(PLAN, frames=SHARD))
    write_pool(tmp_path / "pool", PLAN)
    assert contents(tmp_path / "pool") == contents(written)


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", None])
def test_a_damaged_file_is_named(content, written, tmp_path):
    shutil.copytree(written, tmp_path / "pool")
    path = tmp_path / "pool" / "00001.npy"
    if content is None:
        np.save(path, np.zeros(3))
    else:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"{path}: is damaged.*; delete this file, and the next"):
        write_pool(tmp_path / "pool", PLAN)


def test_a_complete_pool_is_not_touched(written, monkeypatch):
    before = contents(written)
    monkeypatch.setattr(pool, "render_scene", None)  # fails if called
    assert len(write_pool(written, replace(PLAN, frames=SHARD))) == SHARD
    assert contents(written) == before


def test_a_disk_without_enough_space_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=0))
    with pytest.raises(ValueError, match=r"32 rendered frames take 0\.0 GB, but .* 0\.0 GB left"):
        write_pool(tmp_path / "pool", PLAN)
    assert not (tmp_path / "pool").exists()


def test_what_a_killed_process_has_left_is_removed(quick, tmp_path):
    left = tmp_path / f".00000.{'0a' * 16}.npy"
    left.write_bytes(b"half")
    write_pool(tmp_path, replace(PLAN, frames=SHARD))
    assert not left.exists()


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (replace(PLAN, seed=4), r"holds a pool of other rendered frames \(different seed\)"),
        (replace(PLAN, views=VIEWS[:1]), r"other rendered frames \(different views\)"),
    ],
)
def test_another_pool_is_refused(plan, message, written):
    with pytest.raises(ValueError, match=message):
        write_pool(written, plan)


def test_a_folder_of_other_files_is_refused(tmp_path):
    (tmp_path / "letter.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"is not a pool of rendered frames \(it has no pool.json"):
        write_pool(tmp_path, PLAN)


def test_a_plan_of_part_of_a_file_is_refused():
    with pytest.raises(ValueError, match=f"positive multiple of {SHARD}, got 40"):
        PoolPlan(40)


def test_views_and_second_scanners_take_turns():
    plan = PoolPlan(SHARD)
    cameras = [plan.sensors(i)[0] for i in range(12)]
    assert (
        cameras
        == [view.camera for view, n in zip(VIEWS, SHARES, strict=True) for _ in range(n)] * 2
    )
    others = [plan.sensors(6 * turn)[2] for turn in range(4)]
    assert others == list(VIEWS[0].others)


def test_scaled_views_keep_their_field_of_view():
    for view in VIEWS:
        scaled = view.scaled(SIZE)
        assert (scaled.camera.height, scaled.camera.width) == SIZE
        assert scaled.camera.fx / SIZE[1] == pytest.approx(view.camera.fx / view.camera.width)
        share = SIZE[0] / view.camera.height
        assert len(scaled.lidar.elevations) == round(share * len(view.lidar.elevations))
        assert view.scaled((view.camera.height, view.camera.width)) == view
