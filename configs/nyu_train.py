"""The packaged config of this name, `fcfrnet_jax/configs/nyu_train.py`."""

from fcfrnet_jax.configs.nyu_train import get_config as get_config
