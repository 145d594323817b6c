"""The command line: `python -m fcfrnet_jax.main --config=configs/eval.py`."""

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

import jax
from absl import app, flags, logging
from ml_collections import ConfigDict, config_flags

from fcfrnet_jax.files import describe
from fcfrnet_jax.process import (
    add_xla_flags,
    collect_rarely,
    keep_compiled,
    keep_freed_memory,
    quiet_tensorflow,
)

CONFIG = config_flags.DEFINE_config_file(
    "config", None, "What to run, such as configs/eval.py.", lock_config=True
)
WORKDIR = flags.DEFINE_string("workdir", "output", "Folder for everything that the run writes.")


def main(arguments: Sequence[str]) -> None:
    if len(arguments) > 1:
        raise app.UsageError(f"unexpected argument {arguments[1]!r}; flags look like --config=FILE")
    if CONFIG.value is None:
        raise app.UsageError("--config is missing; try --config=configs/eval.py")
    if not flags.FLAGS["verbosity"].present:
        # The libraries' notes would bury what a user has to see.
        logging.set_verbosity(logging.WARNING)
    if CONFIG.value.xla_flags:
        add_xla_flags(CONFIG.value.xla_flags)
    collect_rarely()
    keep_freed_memory()
    keep_compiled()
    quiet_tensorflow()
    run = runner(CONFIG.value.task)
    run(CONFIG.value, WORKDIR.value)


def runner(task: str) -> Callable[[ConfigDict, str], None]:
    """What runs a task. Only that is imported, as what training needs takes seconds, and only now,
    so that a wrong flag is told within one.

    Raises:
      ValueError: an unknown task.
    """
    run: Callable
    match task:
        case "evaluate":
            from fcfrnet_jax.commands.evaluate import run
        case "render":
            from fcfrnet_jax.commands.render import run
        case "train":
            from fcfrnet_jax.commands.train import run
        case _:
            raise ValueError(f"config.task must be evaluate or render or train, got {task!r}")
    return run


def parse(arguments: Sequence[str]) -> list[str]:
    for argument in arguments:
        name, _, value = argument.partition("=")
        # ml_collections takes five lines to say so.
        if name.lstrip("-") == "config" and value and not Path(value.split(":")[0]).is_file():
            fail(ValueError(f"--config={value}: there is no such file"))
    try:
        return flags.FLAGS(arguments)
    except Exception as error:  # from a flag, or whatever the config file that it names raises
        fail(error)


def guarded_main(arguments: Sequence[str]) -> None:
    try:
        main(arguments)
    except KeyboardInterrupt:
        sys.exit("Interrupted.")
    except (app.UsageError, ValueError, OSError) as error:
        fail(error)


def fail(error: Exception) -> NoReturn:
    logging.debug("The error's origin:", exc_info=error)
    message = f"Error: {' '.join(describe(error).split())}"
    if jax.distributed.is_initialized():
        # An orderly exit would wait for the other processes, which wait for this one.
        print(message, file=sys.stderr, flush=True)
        os._exit(1)
    sys.exit(message)


if __name__ == "__main__":
    app.run(guarded_main, flags_parser=parse)
