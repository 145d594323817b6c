"""The tasks of the command line. `commands/TASK.py` runs one."""

from typing import NamedTuple


class Task(NamedTuple):
    """A task.

    Attributes:
      summary: one line about it.
      example: a command that works.
      config: the packaged config that has all settings of the task.
    """

    summary: str
    example: str
    config: str


# By the value of `config.task`, which is also the name of the module.
TASKS = {
    "evaluate": Task(
        "Evaluate depth completion on KITTI or on sample frames: metrics, depth maps, panels.",
        "fcfrnet --config=eval --workdir=output/eval",
        "eval",
    ),
    "train": Task(
        "Train or fine-tune the coarse network, the fine network or both; also resumes a run.",
        "fcfrnet --config=train --workdir=output/train",
        "train",
    ),
    "render": Task(
        "Render random streets as a dataset in KITTI's layout.",
        "fcfrnet --config=render --config.frames=100 --workdir=output/streets",
        "render",
    ),
}
# A separate program, which takes no config.
CONVERT = (
    "Convert a released checkpoint of PaddlePaddle or PyTorch.",
    "fcfrnet-convert fcfrnet.pdparams models/fine",
)
