"""Checks every file of a data set, and says whether training may start with it.

  fcfrnet --config=check_data --config.data_dir=KITTI --workdir=KITTI

The results are a table and check_data.json in the workdir. If that is the folder of the data set,
or KITTI_check beside it, training does not read the files at its start. An interrupted check is
continued by the same command. The exit code is 0 if training may start.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    config = ConfigDict()
    # The task that fcfrnet runs.
    config.task = "check_data"

    # Folder of the data set: KITTI's unpacked archives or its shards, NYU Depth v2, or a folder
    # with a dataset.json; empty for a few rendered sample frames.
    config.data_dir = ""
    # The splits to check, with commas between them; empty for all that the data set has.
    config.splits = ""
    # What every frame needs besides sparse depth, with commas between them: image, ground_truth,
    # intrinsics and coarse.
    config.require = "image,ground_truth"
    # Folder with stored coarse maps, for training the second stage.
    config.coarse_dir = ""
    # Number of sparse points that are drawn from the ground truth of NYU Depth v2; other data sets
    # do not use it.
    config.points = 500
    # Do not fail because of missing, damaged or empty files: training with the same setting leaves
    # their frames out.
    config.skip_bad_frames = False
    # The largest share of the frames of a split whose depth may be impossible. A wrong unit affects
    # nearly all frames.
    config.max_implausible = 0.01

    # Number of processes; 0 for one per CPU core.
    config.workers = 0
    # Flags for the XLA compiler, added to those of the environment variable XLA_FLAGS.
    config.xla_flags = ""
    return config
