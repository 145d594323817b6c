"""The packaged config of this name, `fcfrnet_jax/configs/render.py`."""

from fcfrnet_jax.configs.render import get_config as get_config
