"""Trains the coarse network on KITTI at the published size and settings (Ma et al., ICRA 2019).

fcfrnet --config=train_coarse --config.data_dir=KITTI --workdir=output/coarse
"""

from ml_collections import ConfigDict

from fcfrnet_jax.configs import train


def get_config() -> ConfigDict:
    config = train.get_config()
    config.val_split = "val_selection"
    config.crop = (352, 1216)
    # Reading all 175 GB of the archives would delay the start.
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
    config.epochs = 20

    config.log_every = 100
    config.validate_every = 5000
    config.save_every = 1000
    return config
