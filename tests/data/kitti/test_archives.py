"""The benchmark's zip archives, against the same files in folders."""

import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fcfrnet_jax.data import kitti
from fcfrnet_jax.data.images import read_image
from fcfrnet_jax.data.kitti.archives import open_source
from tests import kitti_tree as tree

RAW = "raw/2011_09_26"
ALL = ("image", "ground_truth", "intrinsics")


def pack(archive: Path, root: Path, *folders: str, prefix: str = "") -> None:
    """Moves folders into an archive, with names that begin below `root`."""
    with zipfile.ZipFile(archive, "w") as file:
        for folder in folders:
            for path in sorted((root / folder).rglob("*.*")):
                if path.is_file():
                    file.write(path, prefix + str(path.relative_to(root)))
            shutil.rmtree(root / folder)


@pytest.fixture
def folders(drive_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of `manual_dir`, all in folders."""
    tree.write_val_selection(drive_dir / tree.SELECTION)
    return shutil.copytree(drive_dir, tmp_path_factory.mktemp("kitti") / "folders")


@pytest.fixture
def manual_dir(drive_dir: Path, folders: Path) -> Path:
    """The drive as the archives of the benchmark, and the selection as folders."""
    calibration = drive_dir / RAW / "calib_cam_to_cam.txt"
    with zipfile.ZipFile(drive_dir / "2011_09_26_calib.zip", "w") as file:
        file.write(calibration, "2011_09_26/calib_cam_to_cam.txt")
    calibration.unlink()
    pack(drive_dir / "2011_09_26_drive_0009_sync.zip", drive_dir / "raw", "2011_09_26")
    for name in ("data_depth_velodyne", "data_depth_annotated"):
        pack(drive_dir / f"{name}.zip", drive_dir / name, "val", prefix=f"{name}/")
    return drive_dir


@pytest.mark.parametrize("split", ["val", "val_selection"])
def test_frames_are_those_of_the_folders(
    manual_dir: Path, folders: Path, split: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    expected = kitti.find_frames(folders, split, require=ALL)
    with open_source(manual_dir) as source:
        found = kitti.find_frames(source.root, split, require=ALL)
        assert [(f.name, f.intrinsics) for f in found] == [(f.name, f.intrinsics) for f in expected]
        for frame, files in zip(found, expected, strict=True):
            local = source.fetch(frame, tmp_path_factory.mktemp("members"))
            for kind in ("image", "sparse", "ground_truth"):
                assert getattr(local, kind).read_bytes() == getattr(files, kind).read_bytes()
    assert not source.root.exists()


def test_members_are_named_and_told_apart(manual_dir: Path) -> None:
    with open_source(manual_dir) as source:
        frames = kitti.find_frames(source.root, "val")
        (chosen,) = kitti.find_frames(source.root, "val_selection")[:1]
        name = f"val/{tree.DRIVE}/proj_depth/velodyne_raw/image_02/0000000005.png"
        archive = manual_dir / "data_depth_velodyne.zip"
        assert source.describe(frames[0].sparse) == f"{archive}/data_depth_velodyne/{name}"
        assert source.describe(chosen.image).startswith(f"{manual_dir}/{tree.SELECTION}/image/")
        assert len({source.stamp(frame.image) for frame in frames}) == len(frames)


def test_a_damaged_member_is_unpacked_as_an_empty_file(manual_dir: Path, tmp_path: Path) -> None:
    archive = manual_dir / "2011_09_26_drive_0009_sync.zip"
    data = bytearray(archive.read_bytes())
    data[data.index(b"IDAT") + 6] ^= 1
    archive.write_bytes(data)
    with open_source(manual_dir) as source:
        frames = kitti.find_frames(source.root, "val")
        assert source.fetch(frames[0], tmp_path).image.read_bytes() == b""
        image = read_image(source.fetch(frames[1], tmp_path).image)
    assert image.shape == (*tree.SIZE, 3)
    assert np.ptp(image) > 0


def test_a_truncated_archive(manual_dir: Path) -> None:
    archive = manual_dir / "data_depth_velodyne.zip"
    archive.write_bytes(archive.read_bytes()[:-40])
    with (
        pytest.raises(ValueError, match=rf"{archive}: is no complete zip archive"),
        open_source(manual_dir),
    ):
        pass


def with_unknown_compression(data: bytes) -> bytes:
    found = bytearray(data)
    for header, place in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        found[found.index(header) + place] = 99
    return bytes(found)


@pytest.mark.parametrize(
    "damage", [lambda data: data.replace(b"P_rect_02", b"P_rect_12"), with_unknown_compression]
)
def test_a_damaged_calibration_in_an_archive(
    tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    archive = tmp_path / "2011_09_26_calib.zip"
    with zipfile.ZipFile(archive, "w") as written:
        written.writestr("2011_09_26/calib_cam_to_cam.txt", "P_rect_02: 1")
    archive.write_bytes(damage(archive.read_bytes()))
    message = rf"{archive}/2011_09_26/calib_cam_to_cam\.txt: is damaged .*; download the archive"
    with pytest.raises(ValueError, match=message), open_source(tmp_path):
        pass


def test_folders_are_used_where_they_are(drive_dir: Path) -> None:
    with open_source(drive_dir) as source:
        assert source.root == drive_dir
    with (
        pytest.raises(ValueError, match="none: there is no such folder"),
        open_source(drive_dir / "none"),
    ):
        pass
