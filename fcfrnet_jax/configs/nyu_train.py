"""Trains the coarse and the fine network end to end on NYU Depth v2, with the field's protocol.

fcfrnet --config=nyu_train --config.data_dir=NYU --workdir=output/nyu

NYU is the folder of the HDF5 files of sparse-to-dense, or of nyu_depth_v2 of TensorFlow Datasets;
see docs/nyu.md.
"""

from ml_collections import ConfigDict

from fcfrnet_jax.configs import train


def get_config() -> ConfigDict:
    config = train.get_config()
    config.data_dir = "nyudepthv2"
    config.stage = "joint"
    # The largest multiples of 16 in the 228x304 pixels of the protocol; validation has all of them.
    config.crop = (224, 304)
    # Reading all files would delay the start.
    config.check_files = False

    # The changes of the codes of sparse-to-dense, CSPN and NLSPN.
    config.augmentation.scale = 1.5
    config.augmentation.rotation = 5.0
    config.augmentation.brightness = 0.4
    config.augmentation.contrast = 0.4
    config.augmentation.saturation = 0.4
    config.augmentation.points = 500

    limits = {"min_depth": 0.1, "max_depth": 10.0}
    config.coarse.update(layers=34, width=64, base="fill", keep_measured=True, **limits)
    config.fine.update(layers=34, width=64, **limits)

    # The loss of NLSPN.
    config.depth_loss = "l1+mse"
    config.optimizer = "adamw"
    config.weight_decay = 1e-4
    config.learning_rate = 1e-3
    config.warmup_steps = 500
    config.clip_norm = 5.0
    config.ema_decay = 0.999

    config.batch_size = 16
    config.dtype = "bfloat16"
    config.steps = 0
    config.epochs = 20
    config.log_every = 100
    config.validate_every = 3000
    config.save_every = 1000
    return config
