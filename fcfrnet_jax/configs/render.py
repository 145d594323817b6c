"""Renders random streets as a dataset in KITTI's layout, to train or evaluate on.

  fcfrnet --config=render --config.frames=100 --workdir=output/streets

An interrupted run is continued by the same command.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    config = ConfigDict()
    # The task that fcfrnet runs.
    config.task = "render"
    # Number of frames of the dataset.
    config.frames = 100
    # Share of the frames in the split val, where each frame shows another street; the rest are
    # train.
    config.val_share = 0.1
    # Share of the frames in the split val_selection: frames of val, cropped. At most val_share.
    config.selection_share = 0.05
    # Number of consecutive frames of the same street in train, 1 to 10, one metre apart.
    config.drive_length = 10
    # Rows and columns of the images; every size shows the field of view of KITTI's camera.
    config.camera = (375, 1242)
    # Number of beams of the LiDAR scanner: 64 (KITTI's), 32 or 16.
    config.beams = 64
    # Flags for the XLA compiler, added to those of the environment variable XLA_FLAGS.
    config.xla_flags = ""
    # Seed of the random streets.
    config.seed = 0
    return config
