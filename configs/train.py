"""The packaged config of this name, `fcfrnet_jax/configs/train.py`."""

from fcfrnet_jax.configs.train import get_config as get_config
