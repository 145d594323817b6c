"""Trains a compact two-stage model on rendered streets only.

fcfrnet --config=pretrain_compact --workdir=output/pretrain
"""

from ml_collections import ConfigDict

from fcfrnet_jax.configs import train


def get_config() -> ConfigDict:
    config = train.get_config()
    config.stage = "joint"
    config.source = "synthetic"
    config.pool_frames = 4096
    config.crop = (240, 480)
    config.val_crop = (352, 1216)
    config.clutter = 0.5
    config.misalignment = 1.0

    # The coarse network reads the scan alone, the fine network the image and what the scan gives.
    config.coarse.update(layers=10, modality="d", width=24, patch=4, base="fill")
    config.coarse.keep_measured = True
    config.fine.update(layers=10, modality="rgbd", width=32, patch=4)

    config.depth_loss = "l1+rmse"
    config.exact_weight = 16.0
    config.edge_weight = 16.0
    config.scale_weight = 0.1
    # The coarse depth serves the fine network more than as a result.
    config.coarse_weight = 0.2
    config.fine_weight = 0.5
    config.optimizer = "adamw"
    config.weight_decay = 1e-4
    config.learning_rate = 2e-3
    config.schedule = "plateau"
    config.warmup_steps = 200
    config.clip_norm = 5.0
    config.ema_decay = 0.999

    config.batch_size = 8
    config.steps = 16000
    config.log_every = 25
    config.validate_every = 1000
    config.save_every = 100
    return config
