"""The packaged config of this name, `fcfrnet_jax/configs/check_data.py`."""

from fcfrnet_jax.configs.check_data import get_config as get_config
