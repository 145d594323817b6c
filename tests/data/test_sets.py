"""Which data set a folder holds, and what is known of it."""

import pytest

from fcfrnet_jax.data import nyu
from fcfrnet_jax.data.sets import open_folder
from fcfrnet_jax.metric_sets import INDOOR, KITTI
from tests import own_data


@pytest.mark.parametrize(
    "file",
    [
        "nyudepthv2/val/official/00001.h5",
        "val/official/00001.h5",
        "train/study_0001/00001.h5",
        "nyu_depth_v2/0.0.1/nyu_depth_v2-train.tfrecord-00000-of-00001",
    ],
)
def test_folders_of_nyu(file, tmp_path):
    path = tmp_path / file
    path.parent.mkdir(parents=True)
    path.touch()
    (path.parent / "dataset_info.json").touch()
    data = open_folder(tmp_path)
    assert (data.name, data.splits) == ("NYU Depth v2", nyu.SPLITS)
    assert (data.limits, data.metrics) == ((0.1, 10.0), INDOOR)
    assert not data.stores_coarse("test")


def test_other_folders_are_those_of_kitti(tmp_path):
    (tmp_path / "train" / "drive" / "proj_depth").mkdir(parents=True)
    data = open_folder(tmp_path)
    assert (data.name, data.metrics) == ("KITTI", KITTI)


@pytest.mark.parametrize(("largest", "shown"), [(10, INDOOR), (60, KITTI)])
def test_described_data_of_rooms_is_measured_in_metres(largest, shown, tmp_path):
    own_data.write(tmp_path, limits=[0.2, largest])
    assert open_folder(tmp_path).metrics == shown
