"""The packaged config of this name, `fcfrnet_jax/configs/train_fine.py`."""

from fcfrnet_jax.configs.train_fine import get_config as get_config
