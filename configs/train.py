"""The packaged config, so that its path works in a checkout: `fcfrnet_jax/configs/train.py`."""

from fcfrnet_jax.configs.train import get_config as get_config
