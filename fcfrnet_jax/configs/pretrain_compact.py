"""Trains the compact model on rendered streets, for any scanner.

  fcfrnet --config=pretrain_compact --workdir=output/compact

The settings are for one GPU. On an H200, 7250 steps of this size took 155 s in all, and rendering
6464 frames took 202 s on the 16 cores of its host. CPUs need a smaller run:

  fcfrnet --config=pretrain_compact --config.batch_size=8 --config.pool_frames=1024 \\
      --config.steps=2000 --workdir=output/compact

To continue a model for some steps with a lower learning rate, on CPUs too:

  fcfrnet --config=pretrain_compact --config.checkpoint=output/compact/last --config.batch_size=8 \\
      --config.steps=400 --config.learning_rate=5e-4 --config.schedule=cosine \\
      --config.warmup_steps=30 --config.ema_decay=0.98 --config.seed=1 --workdir=output/more
"""

from ml_collections import ConfigDict

from fcfrnet_jax.configs import train


def get_config() -> ConfigDict:
    config = train.get_config()
    config.stage = "joint"
    config.source = "synthetic"
    # 24 GB in the cache folder, or in pool_dir.
    config.pool_frames = 8192
    config.crop = (240, 480)
    config.val_crop = (352, 1216)
    config.clutter = 0.5
    config.misalignment = 1.0

    # The coarse network reads the scan alone; the fine network also reads the image. For the same
    # model without images, set fine.modality=d.
    config.coarse.update(layers=10, modality="d", width=24, patch=4, base="fill")
    config.coarse.keep_measured = True
    config.fine.update(layers=10, modality="rgbd", width=32, patch=4)

    config.depth_loss = "l1+rmse"
    # A large weight of the RMSE keeps the network from committing to one of two surfaces where it
    # cannot know which one is right.
    config.rmse_weight = 1.0
    config.exact_weight = 8.0
    config.edge_weight = 8.0
    config.scale_weight = 0.1
    # The coarse depth is an input of the fine network more than a result.
    config.coarse_weight = 0.2
    config.fine_weight = 0.5
    config.optimizer = "adamw"
    config.weight_decay = 1e-4
    config.learning_rate = 2e-3
    # The length can be changed until the learning rate decays, after 70% of the steps.
    config.schedule = "plateau"
    config.warmup_steps = 200
    config.clip_norm = 5.0
    config.ema_decay = 0.999

    config.batch_size = 32
    config.steps = 8000
    config.log_every = 25
    config.validate_every = 1000
    config.save_every = 250
    return config
