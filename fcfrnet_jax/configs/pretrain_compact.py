"""Trains a compact two-stage model on rendered streets only.

fcfrnet --config=pretrain_compact --workdir=output/pretrain
"""

from ml_collections import ConfigDict

from fcfrnet_jax.configs import train


def get_config() -> ConfigDict:
    config = train.get_config()
    config.stage = "joint"
    config.source = "synthetic"
    config.crop = (192, 288)
    config.clutter = 0.7
    config.misalignment = 3.0
    config.augmentation.update(brightness=0.3, contrast=0.3, saturation=0.5)

    config.coarse.update(layers=18, modality="rgbd", width=8, base="fill", keep_measured=True)
    config.fine.update(layers=18, modality="rgbd", width=8)

    config.depth_loss = "l1+mse"
    # The coarse depth serves the fine network more than as a result.
    config.coarse_weight = 0.3
    config.learning_rate = 2e-3
    config.warmup_steps = 100
    config.clip_norm = 10.0
    config.ema_decay = 0.998
    # Trained on rendered streets, the network trusts edges more than it should on real ones.
    config.residual_share = 0.3

    config.batch_size = 4
    config.steps = 2400
    config.log_every = 25
    config.validate_every = 400
    config.save_every = 100
    return config
