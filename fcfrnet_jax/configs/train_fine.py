"""Trains FCFR-Net on a frozen coarse network, at the published size and settings.

  fcfrnet --config=train_fine --config.data_dir=KITTI \\
      --config.coarse_checkpoint=output/coarse/best --workdir=output/fine

With --config.coarse_dir instead of the checkpoint it trains on stored coarse maps.
"""

from ml_collections import ConfigDict

from fcfrnet_jax.configs import train_coarse


def get_config() -> ConfigDict:
    config = train_coarse.get_config()
    config.stage = "fine"
    config.decay_epochs = 10
    config.epochs = 21
    return config
