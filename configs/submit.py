"""The packaged config of this name, `fcfrnet_jax/configs/submit.py`."""

from fcfrnet_jax.configs.submit import get_config as get_config
