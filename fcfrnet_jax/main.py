"""The command line: `fcfrnet --config=eval`, or `python -m fcfrnet_jax.main --config=FILE`."""

import os
import re
import signal
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import NoReturn

from absl import flags as absl_flags
from absl import logging
from ml_collections import ConfigDict

import fcfrnet_jax
from fcfrnet_jax.commands.cli import flags, usage
from fcfrnet_jax.commands.cli.failures import ROOM, explain
from fcfrnet_jax.commands.cli.tasks import TASKS
from fcfrnet_jax.commands.jobs import watched
from fcfrnet_jax.files import describe
from fcfrnet_jax.system_errors import FULL
from fcfrnet_jax.text import printable

# Errors of XLA have a code. They may be due to the end of another process of a job.
CODE = re.compile(
    r"\b(ABORTED|CANCELLED|DEADLINE_EXCEEDED|FAILED_PRECONDITION|INTERNAL|UNAVAILABLE|UNKNOWN): "
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs a command line and ends the process with one line where it cannot.

    Args:
      arguments: without the program's name; None for those of the process.
    """
    # The libraries' notes would hide what a user has to see.
    absl_flags.FLAGS.mark_as_parsed()
    logging.use_absl_handler()
    logging.set_verbosity(logging.WARNING)
    try:
        run(sys.argv[1:] if arguments is None else arguments)
    except KeyboardInterrupt:
        status = 128 + signal.SIGINT
        job = watched.current()
        if job:
            job.fail("Interrupted.", "was interrupted", status)
        print("Interrupted.", file=sys.stderr)
        sys.exit(status)
    except Exception as error:  # of any library
        fail(error)


def run(arguments: Sequence[str]) -> None:
    """Runs the task of a command line, or prints the help or the version.

    Raises:
      ValueError: an unknown flag, setting or task, or a value that cannot be used.
      OSError: a file cannot be read or written.
    """
    line = flags.parse(arguments)
    if line.help:
        print(printable(usage.text(line.file), keep="\n"), end="")
        return
    if line.version:
        print(f"fcfrnet_jax {fcfrnet_jax.__version__}")
        return
    if line.config is None:
        raise ValueError("--config is missing; try --config=eval, or --help")
    if watched.is_of_job(line.config):
        watched.start(verbose=logging.get_verbosity() > logging.WARNING)
    # These import jax, for which a wrong flag should not wait.
    set_up_process(line.config)
    try:
        runner(line.config.task)(line.config, line.workdir)
    except ValueError as error:
        raise ValueError(flags.name_flags(str(error))) from error
    except OSError as error:
        if not _is_within(error.filename, line.workdir):
            raise
        if error.errno in FULL:
            raise OSError(f"{describe(error)}; {ROOM}, or choose another --workdir") from error
        raise OSError(
            f"{describe(error)}; --workdir={line.workdir} must be a folder that can be created and "
            "written"
        ) from error


def _is_within(path: object, folder: str) -> bool:
    """Whether an operation on a file or folder that is in another one has failed."""
    if not isinstance(path, str | os.PathLike):
        return False
    inner, outer = os.path.abspath(path), os.path.abspath(folder)
    return os.path.commonpath([inner, outer]) == outer


def set_up_process(config: ConfigDict) -> None:
    """Sets what holds for the whole process; must run before jax makes its backend."""
    from fcfrnet_jax import process

    if config.xla_flags:
        process.add_xla_flags(config.xla_flags)
    process.collect_rarely()
    if not process.keep_freed_memory():
        process.keep_arrays_of_frames()
    process.enable_compile_cache()
    process.quiet_tensorflow()
    process.quiet_opencv()
    process.quiet_orbax()
    process.log_printable()


def runner(task: str) -> Callable[[ConfigDict, str], object]:
    """Returns the function that runs a task. Only what it needs is imported."""
    return import_module(f"fcfrnet_jax.commands.{TASKS[task].module}").run


def fail(error: Exception) -> NoReturn:
    """Ends the process with one line on stderr and the exit code 1."""
    logging.debug("The error's origin:", exc_info=error)
    text = printable(explain(error))
    message = f"Error: {text}"
    job = watched.current()
    if job:
        job.fail(message, f"failed: {text}", 1, certain=not CODE.search(str(error)))
    sys.exit(message)


if __name__ == "__main__":
    main()
