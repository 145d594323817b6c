"""From a released checkpoint to metrics on real frames."""

import pickle

import jax
import numpy as np
import pytest

from fcfrnet_jax.commands import convert, evaluate
from fcfrnet_jax.configs import eval as eval_config
from fcfrnet_jax.data import kitti
from fcfrnet_jax.data.images import read_depth, read_image, write_depth
from fcfrnet_jax.evaluation import metrics
from fcfrnet_jax.networks import fill, models
from tests import golden_data
from tests.commands.evaluations import crop_of

CROP = (64, 256)


@pytest.mark.slow
def test_converted_paddle_weights_on_real_frames(kitti_real, tmp_path):
    """From a .pdparams file to metrics, with coarse maps that the fill wrote."""
    state = golden_data.state_dict("fcfrnet18_rgbd", 7)
    (tmp_path / "fine.pdparams").write_bytes(pickle.dumps(state, protocol=2))
    convert.main([str(tmp_path / "fine.pdparams"), str(tmp_path / "model")])
    frames = kitti.find_frames(kitti_real, "val_selection")
    for frame in frames:
        sparse = read_depth(frame.sparse)[None, ..., None]
        filled = np.asarray(fill.classical_fill(sparse))[0, ..., 0]
        write_depth(tmp_path / "velodyne_raw" / frame.sparse.name, filled)
    config = eval_config.get_config()
    config.update(
        data_dir=str(kitti_real),
        split="val_selection",
        crop=CROP,
        checkpoint=str(tmp_path / "model"),
        coarse_source="files",
        coarse_dir=str(tmp_path / "velodyne_raw"),
    )
    result = evaluate.run(config.lock(), tmp_path / "out")
    spec, variables = golden_data.model("fcfrnet18_rgbd", 7)
    apply = jax.jit(models.build(spec).apply)
    for frame, found in zip(frames, result["per_frame"], strict=True):
        stored = read_depth(tmp_path / "velodyne_raw" / frame.sparse.name)
        arrays = read_image(frame.image), stored, read_depth(frame.ground_truth)
        image, coarse, truth = (crop_of(array, CROP)[None] for array in arrays)
        output = apply(variables, image, coarse[..., None])
        expected = metrics.depth_metrics(np.clip(output, 0.9, 85), truth[..., None])
        for measure in ("rmse_mm", "mae_mm", "irmse_1_per_km"):
            assert found["metrics"]["fine"][measure] == pytest.approx(
                float(expected[measure][0]), rel=1e-5
            )
