"""Recordings of rerun, read back by its own reader."""

import sys

import numpy as np
import pytest

from fcfrnet_jax.pictures.point_clouds import point_cloud
from fcfrnet_jax.pictures.viewer import Recording, check_rerun

INTRINSICS = np.array([[9.0, 0, 4], [0, 9, 3], [0, 0, 1]])
REASON = "needs the extra `viewer`, which installs rerun-sdk"


def frame(seed):
    random = np.random.default_rng(seed)
    depth = random.uniform(2, 2.05, (6, 8)).astype(np.float32)
    image = random.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    sparse_depth = np.where(random.random((6, 8)) < 0.3, depth, 0)
    return image, sparse_depth, depth, point_cloud(depth, image, INTRINSICS)


def test_frames_are_read_back(tmp_path):
    pytest.importorskip("rerun", reason=REASON)
    reader = pytest.importorskip("rerun.chunk", reason="needs rerun-sdk 0.41 or newer").RrdReader
    frames = [frame(seed) for seed in (0, 1)]
    with Recording(tmp_path / "drive.rrd") as recording:
        for image, sparse_depth, depth, cloud in frames:
            maps = {"image": image, "sparse_depth": sparse_depth, "depth": depth}
            recording.add(**maps, cloud=cloud, intrinsics=INTRINSICS)
    assert [path.name for path in tmp_path.iterdir()] == ["drive.rrd"]
    columns: dict = {}
    for chunk in reader(str(tmp_path / "drive.rrd")).stream():
        table = chunk.to_record_batch()
        for name in table.schema.names:
            if ":" in name and "time" not in name:
                rows = columns.setdefault(f"{chunk.entity_path}/{name}", [])
                rows.extend(table.column(name).to_pylist())

    def pixels(name, dtype):
        rows = columns[name]
        return [np.array(row[0], np.uint8).view(dtype).ravel() for row in rows]

    for i, (image, sparse_depth, depth, cloud) in enumerate(frames):
        found = pixels("/camera/image/Image:buffer", np.uint8)[i]
        np.testing.assert_array_equal(found, image.ravel())
        for name, expected in (("depth", depth), ("sparse_depth", sparse_depth)):
            found = pixels(f"/camera/{name}/DepthImage:buffer", np.float32)[i]
            np.testing.assert_array_equal(found, expected.ravel())
        found = np.array(columns["/cloud/Points3D:positions"][i], np.float32)
        np.testing.assert_array_equal(found, cloud.points)


def test_nothing_is_left_after_an_error(tmp_path):
    pytest.importorskip("rerun", reason=REASON)
    image, sparse_depth, _, _ = frame(0)
    message = "must have the same size, got image 6x8, sparse_depth 5x8"
    with pytest.raises(ValueError, match=message), Recording(tmp_path / "a.rrd") as recording:
        recording.add(image=image, sparse_depth=sparse_depth[1:])
    with (
        pytest.raises(ValueError, match="an image, a depth map or a cloud"),
        Recording(tmp_path / "a.rrd") as recording,
    ):
        recording.add()
    assert list(tmp_path.iterdir()) == []


def test_the_extra_is_named_where_it_is_missing(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "rerun", None)
    with pytest.raises(ImportError, match=r"need rerun-sdk; .* 'fcfrnet_jax\[viewer\]'"):
        Recording(tmp_path / "a.rrd")


def test_the_missing_extra_is_found_before_anything_is_computed(monkeypatch):
    monkeypatch.setitem(sys.modules, "rerun", None)
    with pytest.raises(ValueError, match=r"need rerun-sdk; .* 'fcfrnet_jax\[viewer\]'"):
        check_rerun()
