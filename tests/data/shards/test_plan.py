"""Plans of shards: what is missing."""

import shutil

from fcfrnet_jax.data import kitti
from fcfrnet_jax.data.kitti.archives import open_source
from fcfrnet_jax.data.shards.plan import plan_split
from tests import kitti_tree as tree


def test_plans_report_what_is_missing(tmp_path):
    source_dir = tmp_path
    tree.write_drive(source_dir, numbers=range(5, 10))
    shutil.rmtree(source_dir / "raw")
    kitti.find_frames(source_dir, "val", require=("ground_truth",))[3].ground_truth.unlink()
    with open_source(source_dir) as source:
        assert plan_split(source, "train") is None
        report = plan_split(source, "val").report()
    assert report.startswith(
        "val: 5 of the benchmark's 6,852 frames; no frame has image; no frame has intrinsics; "
        "1 missing file: "
    )
    assert "0000000008.png is missing, the ground truth of" in report
