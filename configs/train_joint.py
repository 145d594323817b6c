"""The packaged config, so that its path works in a checkout: `fcfrnet_jax/configs/train_joint.py`."""

from fcfrnet_jax.configs.train_joint import get_config as get_config
