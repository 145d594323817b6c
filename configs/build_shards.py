"""The packaged config of this name, `fcfrnet_jax/configs/build_shards.py`."""

from fcfrnet_jax.configs.build_shards import get_config as get_config
