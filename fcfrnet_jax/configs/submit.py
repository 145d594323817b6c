"""Predicts KITTI's 1000 test frames and packs a submission for its server, after checking it.

  fcfrnet --config=submit --config.data_dir=KITTI --workdir=OUTPUT
  fcfrnet --config=submit --config.predictions=FOLDER_OR_ZIP --workdir=OUTPUT

The second command checks depth maps that exist. An interrupted run is continued by the same
command.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    config = ConfigDict()
    # The task that fcfrnet runs.
    config.task = "submit"

    # Folder with KITTI's unpacked archives, with test_depth_completion_anonymous.
    config.data_dir = ""
    # A folder of depth maps to check and pack, or an archive to check; empty to predict them.
    config.predictions = ""
    # Compare the depth maps of a few frames, and stop if they cannot be right.
    config.check_depth = True

    # Folder of a coarse, a fine or a two-stage model; empty for the classical fill. The name
    # compact stands for the compact model of the package.
    config.checkpoint = "compact"
    # Folder of a coarse or two-stage model whose coarse network runs before a fine model.
    config.coarse_checkpoint = ""
    # Folder with stored coarse maps, which the fine network of the model refines; empty for none.
    config.coarse_dir = ""

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
