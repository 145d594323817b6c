"""Evaluations of small crops, and the same crops of arrays."""

from fcfrnet_jax.commands import evaluate
from fcfrnet_jax.configs import eval as eval_config

CROP = (32, 64)


def config_of(**settings):
    config = eval_config.get_config()
    config.update(checkpoint="", crop=CROP, panels=1, split="val")
    config.update(settings)
    return config.lock()


def evaluated(workdir, **settings):
    return evaluate.run(config_of(**settings), workdir)


def crop_of(array, crop=CROP):
    top, left = array.shape[0] - crop[0], (array.shape[1] - crop[1]) // 2
    return array[top:, left : left + crop[1]]
