"""Trains both networks end to end on KITTI, starting from a two-stage model or a coarse one.

  fcfrnet --config=train_joint --config.data_dir=KITTI \\
      --config.checkpoint=output/fine/best --workdir=output/joint
"""

from ml_collections import ConfigDict

from fcfrnet_jax.configs import train_coarse


def get_config() -> ConfigDict:
    config = train_coarse.get_config()
    config.stage = "joint"
    config.epochs = 10
    return config
