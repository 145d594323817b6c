"""The tasks of the command line."""

from typing import NamedTuple


class Task(NamedTuple):
    """A task.

    Attributes:
      summary: one line about it.
      example: a command that works.
      config: the packaged config that has all settings of the task.
      module: the module of `commands` that runs the task.
    """

    summary: str
    example: str
    config: str
    module: str


# By the value of `config.task`.
TASKS = {
    "predict": Task(
        "Predict dense depth for an image and its scan or sparse depth, or for folders.",
        "fcfrnet --config=predict --workdir=output/predict",
        "predict",
        "inference.predict",
    ),
    "project": Task(
        "Project the scans of whole drives to depth maps in KITTI's layout.",
        "fcfrnet --config=project --config.data_dir=kitti_raw --workdir=output/projected",
        "project",
        "recordings.project",
    ),
    "submit": Task(
        "Predict KITTI's test frames and pack a checked submission for its server.",
        "fcfrnet --config=submit --config.data_dir=kitti --workdir=output/submit",
        "submit",
        "inference.submit",
    ),
    "coarse_maps": Task(
        "Write the coarse maps of a data set, the input of the second stage.",
        "fcfrnet --config=coarse_maps --workdir=output/coarse_maps",
        "coarse_maps",
        "inference.coarse_maps",
    ),
    "evaluate": Task(
        "Evaluate depth completion on KITTI or on sample frames: metrics, depth maps, panels.",
        "fcfrnet --config=eval --workdir=output/eval",
        "eval",
        "evaluate",
    ),
    "train": Task(
        "Train or fine-tune the coarse network, the fine network or both; also resumes a run.",
        "fcfrnet --config=train --workdir=output/train",
        "train",
        "train",
    ),
    "check_data": Task(
        "Check every file of a data set, so that training need not read them before it starts.",
        "fcfrnet --config=check_data --config.data_dir=kitti --workdir=kitti",
        "check_data",
        "data.check_data",
    ),
    "build_shards": Task(
        "Build shards of KITTI, from which training and evaluation read faster.",
        "fcfrnet --config=build_shards --config.data_dir=kitti --workdir=shards",
        "build_shards",
        "data.build_shards",
    ),
    "render": Task(
        "Render random streets as a dataset in KITTI's layout.",
        "fcfrnet --config=render --config.frames=100 --workdir=output/streets",
        "render",
        "render",
    ),
}
# A separate program, which takes no config.
CONVERT = (
    "Convert a released checkpoint of PaddlePaddle or PyTorch.",
    "fcfrnet-convert fcfrnet.pdparams models/fine",
)
