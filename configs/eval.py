"""The packaged config of this name, `fcfrnet_jax/configs/eval.py`."""

from fcfrnet_jax.configs.eval import get_config as get_config
