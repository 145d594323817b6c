"""The packaged config, so that its path works in a checkout: `fcfrnet_jax/configs/pretrain_compact.py`."""

from fcfrnet_jax.configs.pretrain_compact import get_config as get_config
