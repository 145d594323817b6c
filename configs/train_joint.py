"""Trains both networks end to end on KITTI, from a trained two-stage model or from a coarse one.

  python -m fcfrnet_jax.main --config=configs/train_joint.py --config.data_dir=KITTI \
      --config.checkpoint=output/fine/best --workdir=output/joint
"""

from ml_collections import ConfigDict

from configs import train_coarse


def get_config() -> ConfigDict:
    config = train_coarse.get_config()
    config.stage = "joint"
    config.epochs = 10
    return config
