"""The packaged config, so that its path works in a checkout: `fcfrnet_jax/configs/train_fine.py`."""

from fcfrnet_jax.configs.train_fine import get_config as get_config
