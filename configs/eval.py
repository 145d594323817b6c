"""Evaluates depth completion on KITTI, or on sample frames that are made on the spot.

  python -m fcfrnet_jax.main --config=configs/eval.py
  python -m fcfrnet_jax.main --config=configs/eval.py --config.data_dir=KITTI \\
      --config.checkpoint=FINE --config.coarse_checkpoint=COARSE --workdir=OUTPUT
"""

from ml_collections import ConfigDict

import fcfrnet_jax


def get_config() -> ConfigDict:
    config = ConfigDict()
    config.task = "evaluate"

    # Folder with KITTI's archives unpacked; empty: a few sample scenes, made once and cached.
    config.data_dir = ""
    # train, val, val_selection or test_completion.
    config.split = "val_selection"
    # Rows and columns cut at the bottom centre; (0, 0) keeps the frames whole.
    config.crop = (352, 1216)
    # Leave out frames with damaged files, and list them, instead of ending.
    config.skip_bad_frames = False

    # Folder of a model: the coarse network, the fine one or both. The default comes with the
    # package: both, small, trained on rendered streets. Empty: the fill alone.
    config.checkpoint = str(fcfrnet_jax.COMPACT)
    # Folder of a coarse network that runs before a fine one.
    config.coarse_checkpoint = ""
    # Where the coarse depth comes from: network, files, fill, or auto for the first of them that is
    # there.
    config.coarse_source = "auto"
    # Tree with stored coarse maps; empty: data_depth_dense_new beside velodyne_raw.
    config.coarse_dir = ""

    # Global batch size: frames in flight over all devices; 0 is one frame for each device.
    config.batch_size = 0
    # Of the convolutions: float32 or bfloat16.
    config.dtype = "float32"
    # Flags for the compiler, beside those of the environment's XLA_FLAGS.
    config.xla_flags = ""
    # How many frames get a panel picture.
    config.panels = 8
    return config
