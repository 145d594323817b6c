"""Kills a process at each of its operations on files in turn.

Python reports the operations to audit hooks before it carries them out, so every state that a kill
can leave between two operations is reached.
"""

import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

OPERATIONS = {
    "os.link",
    "os.mkdir",
    "os.remove",
    "os.rename",
    "os.rmdir",
    "os.symlink",
    "os.truncate",
    "fcfrnet_jax.exchange",
}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def die_at(number: int, folder: Path) -> None:
    """Lets this process kill itself before its operation with this number, counted from 1, below
    `folder`. Operations relative to an open folder, as in `shutil.rmtree`, count too.
    """
    left = number
    root = os.fspath(folder)

    def hook(event: str, arguments: tuple) -> None:
        nonlocal left
        if event == "open":
            path, _, flags = arguments
            if not isinstance(flags, int) or not flags & WRITING:
                return
        elif event in OPERATIONS:
            path = arguments[0]
        else:
            return
        name = os.fsdecode(path) if isinstance(path, str | bytes | os.PathLike) else ""
        if os.path.isabs(name) and not name.startswith(root):
            return
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def killed_everywhere(action: Callable[[], None], folder: Path, step: int = 1) -> Iterator[int]:
    """Runs an action in child processes and kills each `step` operations below `folder` later.

    Yields the number of the operation after each kill, and ends when an action was not killed.

    Raises:
      AssertionError: the action failed.
    """
    for number in count(1, step):
        child = os.fork()
        if child == 0:
            try:
                die_at(number, folder)
                action()
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if status != -signal.SIGKILL:
            assert status == 0, f"exit code {status} at operation {number}"
            return
        yield number
