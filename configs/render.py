"""Renders random streets as a data set in KITTI's layout, to train or evaluate on.

  python -m fcfrnet_jax.main --config=configs/render.py --config.frames=100 \\
      --workdir=output/streets

The same command goes on after it was killed.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    config = ConfigDict()
    config.task = "render"
    config.frames = 100
    # The share of val, whose frames are of a street each; the rest are train.
    config.val_share = 0.1
    # The share of the frames that go from val into the selection, cropped, as well.
    config.selection_share = 0.05
    # Consecutive frames of a street, a metre apart, in train.
    config.drive_length = 10
    # Rows and columns; other sizes than KITTI's show the same view.
    config.camera = (375, 1242)
    # The scanner's: 64 (KITTI's), 32 or 16.
    config.beams = 64
    # Flags for the compiler, beside those of the environment's XLA_FLAGS.
    config.xla_flags = ""
    config.seed = 0
    return config
