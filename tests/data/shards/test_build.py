"""Building shards: missing and damaged files, and builds that are stopped."""

import os
import shutil

import pytest

from fcfrnet_jax.data import kitti, shards
from tests import kitti_tree as tree
from tests.data.shards.building import build
from tests.file_operations import copies_at_every_change


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def source_dir(tmp_path):
    tree.write_drive(tmp_path / "kitti", numbers=range(5, 10))
    return tmp_path / "kitti"


def test_a_build_goes_on_from_every_point_at_which_it_is_killed(source_dir, tmp_path):
    target = tmp_path / "shards"
    with copies_at_every_change(target, tmp_path / "copies") as copies:
        build(source_dir, target, "val")
    expected = content(target)
    counts = []
    for copy in copies:
        if copy.is_dir():
            before = {path: path.stat().st_mtime_ns for path in copy.glob("kitti*")}
            counts.append(sum(path.suffix == ".json" for path in before))
            build(source_dir, copy, "val")
            assert {k: v for k, v in content(copy).items() if k[0] != "."} == expected
            # Finished shards are kept.
            kept = [p for p in before if p.suffix == ".json"]
            assert all(path.stat().st_mtime_ns == before[path] for path in kept)
    assert {0, 1, 2} <= set(counts)


def test_the_progress_counts_frames_that_exist(source_dir, tmp_path):
    for expected in ((5, 0), (0, 5)):
        written, kept = [], []
        build(source_dir, tmp_path / "shards", "val", advance=written.append, keep=kept.append)
        assert (sum(written), sum(kept)) == expected


def test_a_changed_source_is_built_again(source_dir, tmp_path):
    target = build(source_dir, tmp_path / "shards", "val")
    frame = kitti.find_frames(source_dir, "val")[4]
    tree.random_image(frame.image.with_name("other.png"))
    shutil.move(frame.image.with_name("other.png"), frame.image)
    before = content(target)
    build(source_dir, target, "val")
    changed = [name for name, data in content(target).items() if data != before[name]]
    assert sorted(name.rpartition("array_record-")[2] for name in changed) == [
        "00002-of-00003",
        "00002-of-00003.index.json",
    ]


def test_a_source_that_changes_while_it_is_read_is_built_again(source_dir, tmp_path):
    image = kitti.find_frames(source_dir, "val")[0].image
    build(source_dir, tmp_path / "shards", "val", advance=lambda frames: os.utime(image, (0, 0)))
    written = []
    build(source_dir, tmp_path / "shards", "val", advance=written.append)
    assert sum(written) == 2


@pytest.mark.parametrize("kind", ["image", "sparse", "ground_truth"])
@pytest.mark.parametrize("damage", ["missing", "truncated"])
def test_bad_files_of_the_source_are_reported(source_dir, tmp_path, kind, damage):
    path = getattr(kitti.find_frames(source_dir, "val")[2], kind)
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-30])
    target = build(source_dir, tmp_path / "shards", "val")
    frames, (bad,) = shards.search_frames(target, "val")
    expected, _ = kitti.search_frames(source_dir, "val")
    assert bad.path == path
    assert bad.reason.startswith(f"is {damage}")
    assert tree.names(frames) == [n for n in tree.names(expected) if n != bad.frame.name]
    # It is no fault where the file is not needed.
    others = {"image", "ground_truth"} - {kind}
    frames, bad_files = shards.search_frames(target, "val", require=others)
    assert (len(frames), bad_files) == ((5, []) if kind != "sparse" else (4, [bad]))


def test_frames_of_another_size_than_their_image(source_dir, tmp_path):
    frame = kitti.find_frames(source_dir, "val")[0]
    tree.random_image(frame.image, (9, 16))
    target = build(source_dir, tmp_path / "shards", "val")
    (bad,) = shards.search_frames(target, "val")[1]
    assert (bad.path, bad.frame.name) == (frame.image, frame.name)
    assert bad.reason.startswith("is 9x16")


def test_frames_without_calibration(source_dir, tmp_path):
    path = source_dir / "raw/2011_09_26/calib_cam_to_cam.txt"
    path.unlink()
    target = build(source_dir, tmp_path / "shards", "val")
    assert all(frame.intrinsics is None for frame in shards.search_frames(target, "val")[0])
    with pytest.raises(ValueError, match=r"none of the 5 val frames .* has intrinsics"):
        shards.search_frames(target, "val", require=("intrinsics",))
