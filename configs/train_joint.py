"""The packaged config of this name, `fcfrnet_jax/configs/train_joint.py`."""

from fcfrnet_jax.configs.train_joint import get_config as get_config
