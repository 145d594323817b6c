"""The packaged config of this name, `fcfrnet_jax/configs/nyu_eval.py`."""

from fcfrnet_jax.configs.nyu_eval import get_config as get_config
