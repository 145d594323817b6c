"""The packaged config of this name, `fcfrnet_jax/configs/train_coarse.py`."""

from fcfrnet_jax.configs.train_coarse import get_config as get_config
