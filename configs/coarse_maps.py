"""The packaged config of this name, `fcfrnet_jax/configs/coarse_maps.py`."""

from fcfrnet_jax.configs.coarse_maps import get_config as get_config
