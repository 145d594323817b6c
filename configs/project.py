"""The packaged config of this name, `fcfrnet_jax/configs/project.py`."""

from fcfrnet_jax.configs.project import get_config as get_config
