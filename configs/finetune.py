"""The packaged config of this name, `fcfrnet_jax/configs/finetune.py`."""

from fcfrnet_jax.configs.finetune import get_config as get_config
