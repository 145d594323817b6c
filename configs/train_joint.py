"""Trains both networks end to end on KITTI, from a trained two-stage model or from a coarse one.

  python -m fcfrnet_jax.main --config=configs/train_joint.py --config.data_dir=KITTI \
      --config.checkpoint=output/fine/best --workdir=output/joint
"""

from ml_collections import ConfigDict

from configs import train


def get_config() -> ConfigDict:
    config = train.get_config()
    config.stage = "joint"
    config.val_split = "val_selection"
    config.crop = (352, 1216)
    # The archives hold 175 GB.
    config.check_files = False
    config.augmentation.random_crop = False

    config.coarse.update(layers=34, modality="rgbd", width=64)
    config.fine.update(layers=34, modality="rgbd", width=64)

    config.learning_rate = 1e-5
    config.schedule = "step"
    config.decay_epochs = 5
    config.warmup_steps = 0
    config.batch_size = 8
    config.dtype = "bfloat16"
    config.steps = 0
    config.epochs = 10

    config.log_every = 100
    config.validate_every = 5000
    config.save_every = 1000
    return config
