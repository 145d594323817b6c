"""The packaged config of this name, `fcfrnet_jax/configs/predict.py`."""

from fcfrnet_jax.configs.predict import get_config as get_config
