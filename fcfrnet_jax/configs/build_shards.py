"""Builds shards of KITTI: a few large files from which training and evaluation read faster.

  fcfrnet --config=build_shards --config.data_dir=kitti --workdir=shards
  fcfrnet --config=train --config.data_dir=shards --workdir=output/train

The workdir becomes a data_dir of TensorFlow Datasets. An interrupted build is continued by the same
command.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    config = ConfigDict()
    # The task that fcfrnet runs.
    config.task = "build_shards"

    # Folder with the archives of KITTI's depth completion benchmark, as zip files or unpacked;
    # empty for a few rendered sample frames.
    config.data_dir = ""

    # Flags for the XLA compiler, added to those of the environment variable XLA_FLAGS.
    config.xla_flags = ""
    return config
