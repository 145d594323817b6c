"""A process that converts hostile files, and reports what each took.

For each path on stdin it writes one line of JSON to stdout: the outcome, the message, the seconds
of the CPU, the KiB of memory above those before, and the suspicious actions.
"""

import json
import os
import resource
import sys
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any

from fcfrnet_jax.files import describe
from fcfrnet_jax.text import printable
from fcfrnet_jax.weights.convert import convert
from tests.weights.foreign.checkpoint_files import PADDLE_FILES, TORCH_FILES, write
from tests.weights.narrow_states import narrow_state

MEMORY = 1 << 30
_WATCHED = ("os.", "subprocess.", "socket.", "shutil.", "ctypes.", "pickle.", "exec", "compile")
_MESSAGE = 40_000


def main() -> None:
    """Converts the file of each line."""
    # The first conversions import modules, and names of zip archives a table of characters.
    b"a".decode("cp437")
    convert(write(Path(sys.argv[1]), narrow_state()))
    for path in (*TORCH_FILES, *PADDLE_FILES):
        with suppress(ValueError):
            convert(path)
    data = int(_status("VmData")) * 1024
    resource.setrlimit(resource.RLIMIT_DATA, (data + MEMORY, data + MEMORY))
    actions: list[str] = []
    watching = False

    def watch(event: str, arguments: tuple) -> None:
        # jax calls compiled code and makes functions while it describes a network.
        if watching and event.startswith(_WATCHED):
            actions.append(f"{event} {printable(arguments, 80)}")

    sys.addaudithook(watch)
    for line in sys.stdin:
        actions.clear()
        watching = True
        result = _measure(line.rstrip("\n"))
        watching = False
        if os.environ.pop("FCFRNET_HOSTILE", None):
            actions.append("the payload ran")
        print(json.dumps(result | {"actions": actions}), flush=True)


def _measure(path: str) -> dict[str, Any]:
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak of the memory
    before, start, message = int(_status("VmRSS")), time.process_time(), ""
    try:
        convert(path, strict=True)
        outcome = "read"
    except (ValueError, OSError) as error:
        outcome, message = "refused", describe(error)
    except BaseException:
        outcome, message = "traceback", traceback.format_exc()
    seconds = time.process_time() - start
    if outcome == "refused" and not _is_plain(message):
        outcome, message = "unprintable", ascii(message[:1000])
    memory = max(int(_status("VmHWM")) - before, 0)
    return {"outcome": outcome, "message": message, "seconds": seconds, "KiB": memory}


def _is_plain(message: str) -> bool:
    return len(message) < _MESSAGE and all(line.isprintable() for line in message.split("\n"))


def _status(name: str) -> str:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return line.split()[1]
    raise AssertionError(name)


if __name__ == "__main__":
    main()
