"""Fine-tunes a model on frames of your own.

  fcfrnet --config=finetune --config.checkpoint=compact --config.data_dir=FOLDER \\
      --workdir=output/finetune

Stage and network settings are those of the checkpoint.
"""

from ml_collections import ConfigDict

from fcfrnet_jax.configs import train


def get_config() -> ConfigDict:
    config = train.get_config()
    config.checkpoint = "compact"
    config.stage = None
    config.coarse.update(dict.fromkeys(config.coarse))
    config.fine.update(dict.fromkeys(config.fine))

    config.crop = (240, 480)
    config.depth_loss = "l1+rmse"
    config.coarse_weight = 0.2
    config.fine_weight = 0.5

    # Few frames give poor statistics.
    config.freeze_batchnorm = True
    config.optimizer = "adamw"
    config.weight_decay = 1e-4
    config.learning_rate = 2e-4
    config.warmup_steps = 10
    config.clip_norm = 5.0
    config.ema_decay = 0.98

    config.batch_size = 8
    config.steps = 100
    config.log_every = 10
    config.validate_every = 25
    config.validate_start = True
    config.save_every = 25
    return config
