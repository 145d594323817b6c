"""The packaged config, so that its path works in a checkout: `fcfrnet_jax/configs/render.py`."""

from fcfrnet_jax.configs.render import get_config as get_config
