"""Evaluates depth completion on KITTI, or on sample frames that are rendered at the first run.

  fcfrnet --config=eval
  fcfrnet --config=eval --config.data_dir=KITTI --config.checkpoint=FINE \\
      --config.coarse_checkpoint=COARSE --workdir=OUTPUT
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    config = ConfigDict()
    # The task that fcfrnet runs.
    config.task = "evaluate"

    # Folder of the data set: KITTI's unpacked archives or its shards, NYU Depth v2, or a folder
    # with a dataset.json; empty for a few rendered sample frames, which are cached.
    config.data_dir = ""
    # Number of sparse points that are drawn from the ground truth of NYU Depth v2; other data sets
    # do not use it.
    config.points = 500
    # The split to evaluate: with KITTI train, val, val_selection or test_completion.
    config.split = "val_selection"
    # Rows and columns of the crop at the bottom centre; 0 keeps all of them, so that (0, 0) is for
    # whole frames.
    config.crop = (352, 1216)
    # Leave out frames with missing, damaged or empty files, and list them in metrics.json, instead
    # of failing.
    config.skip_bad_frames = False
    # Compare the depth maps of a few frames, and stop if they cannot be right: another unit, a
    # missing depth that is not 0, the ground truth as an input, or coarse maps with holes.
    config.check_depth = True

    # Folder of a coarse, a fine or a two-stage model; empty to evaluate the fill alone. The name
    # compact stands for the compact two-stage model of the package, trained on rendered streets.
    config.checkpoint = "compact"
    # Folder of a coarse or two-stage model whose coarse network runs before a fine model.
    config.coarse_checkpoint = ""
    # Where the coarse depth comes from: network, files, fill, or auto for coarse_dir or, if that is
    # empty, the first of these that is available. With files and fill, only the fine network of a
    # two-stage model runs.
    config.coarse_source = "auto"
    # Folder with stored coarse maps; empty for data_depth_dense_new in data_dir, if it exists.
    config.coarse_dir = ""

    # Global batch size, over all devices; 0 for one frame per device.
    config.batch_size = 0
    # Data type of the convolutions: float32 or bfloat16.
    config.dtype = "float32"
    # Flags for the XLA compiler, added to those of the environment variable XLA_FLAGS.
    config.xla_flags = ""
    # Number of frames, from the first one on, for which a panel, an image of their depth maps and
    # errors, is written.
    config.panels = 8

    # Address, HOST:PORT, of the first of several processes; empty for one process, and where Slurm,
    # Open MPI or a TPU pod provides it.
    config.coordinator = ""
    # Number of processes, given together with coordinator.
    config.processes = 0
    # Index of this process, from 0, given together with coordinator.
    config.process = -1
    # Seconds to wait for the other processes at the start.
    config.join_timeout = 300
    return config
