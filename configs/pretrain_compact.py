"""The packaged config of this name, `fcfrnet_jax/configs/pretrain_compact.py`."""

from fcfrnet_jax.configs.pretrain_compact import get_config as get_config
