"""The packaged config, so that its path works in a checkout: `fcfrnet_jax/configs/train_coarse.py`."""

from fcfrnet_jax.configs.train_coarse import get_config as get_config
