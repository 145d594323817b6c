"""The packaged config, so that its path works in a checkout: `fcfrnet_jax/configs/eval.py`."""

from fcfrnet_jax.configs.eval import get_config as get_config
