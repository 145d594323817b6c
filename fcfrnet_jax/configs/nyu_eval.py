"""Evaluates a model on the 654 test images of NYU Depth v2, with the field's protocol.

fcfrnet --config=nyu_eval --config.data_dir=NYU --config.checkpoint=output/nyu/best \\
    --workdir=output/nyu_eval

NYU is the folder of the HDF5 files of sparse-to-dense, or of nyu_depth_v2 of TensorFlow Datasets;
see docs/nyu.md.
"""

from ml_collections import ConfigDict

from fcfrnet_jax.configs import eval as eval_config


def get_config() -> ConfigDict:
    config = eval_config.get_config()
    config.data_dir = "nyudepthv2"
    config.split = "test"
    # All of the 228x304 pixels of the protocol.
    config.crop = (0, 0)
    # The compact model is for streets, and predicts no depth under 0.9 m.
    config.checkpoint = ""
    return config
