"""Writes the coarse maps of a data set, the input of the second stage.

  fcfrnet --config=coarse_maps --config.data_dir=KITTI --config.split=train --workdir=OUTPUT

Evaluation and training read them by --config.coarse_dir=OUTPUT. An interrupted run is continued by
the same command.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    config = ConfigDict()
    # The task that fcfrnet runs.
    config.task = "coarse_maps"

    # Folder of the data set: KITTI's unpacked archives or its shards, NYU Depth v2, or a folder
    # with a dataset.json; empty for a few rendered sample frames, which are cached.
    config.data_dir = ""
    # The split: with KITTI train, val, val_selection or test_completion. Several splits may share a
    # workdir.
    config.split = "val_selection"
    # Number of sparse points that are drawn from the ground truth of NYU Depth v2; other data sets
    # do not use it.
    config.points = 500
    # Rows and columns of the crop at the bottom centre that is predicted and stored; 0 keeps all of
    # them. Training and validation need whole frames.
    config.crop = (0, 0)
    # Leave out frames with missing, damaged or empty files, and list them in coarse_maps.json,
    # instead of failing.
    config.skip_bad_frames = False
    # Compare the depth maps of a few frames, and stop if they cannot be right.
    config.check_depth = True

    # Folder of a coarse or a two-stage model, whose coarse network runs; empty for the classical
    # fill. The name compact stands for the compact model of the package.
    config.checkpoint = "compact"

    # Global batch size, over all devices; 0 for one frame per device.
    config.batch_size = 0
    # Data type of the convolutions: float32 or bfloat16.
    config.dtype = "float32"
    # Flags for the XLA compiler, added to those of the environment variable XLA_FLAGS.
    config.xla_flags = ""

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
