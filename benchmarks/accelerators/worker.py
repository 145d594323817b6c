"""Processes that measure in one framework each, and answer one request at a time.

A worker is started as `python -m benchmarks.accelerators.worker jax` (or `torch`). It reads one
JSON object `{"call": NAME, "arguments": {...}}` per line and answers with `{"result": ...}` or
`{"error": TEXT}`. Libraries that print to the standard output do not disturb the answers.
"""

import json
import os
import queue
import subprocess
import sys
import threading
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


class WorkerError(Exception):
    """A request that failed, took too long or ended its worker."""


class Worker:
    """A worker process.

    Args:
      framework: `jax` or `torch`.
      log: file to which the process appends what it prints.
      environment: variables to add to the environment.
    """

    def __init__(self, framework: str, log: Path, environment: Mapping[str, str] | None = None):
        self._log = log
        with log.open("ab") as stream:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.accelerators.worker", framework],
                cwd=ROOT,
                env=os.environ | dict(environment or {}),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stream,
                text=True,
            )
        self._answers: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def request(self, call: str, timeout: float, **arguments: Any) -> Any:
        """Returns the result of a call.

        Raises:
          WorkerError: the call failed, or took longer than `timeout` seconds. The worker is closed
            unless the call merely raised an exception.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"call": call, "arguments": arguments}) + "\n")
            self._process.stdin.flush()
            line = self._answers.get(timeout=timeout)
        except queue.Empty:
            self.close()
            raise WorkerError(f"no answer within {timeout:.0f} s") from None
        except OSError:
            line = None
        if line is None:
            status = self._process.wait()
            raise WorkerError(f"the process ended with status {status}; see {self._log.name}")
        answer = json.loads(line)
        if "error" in answer:
            raise WorkerError(answer["error"])
        return answer["result"]

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def close(self) -> None:
        self._process.kill()
        self._process.wait()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._answers.put(line)
        self._answers.put(None)


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    if sys.argv[1] == "jax":
        from benchmarks.accelerators import jax_calls as calls
    else:
        from benchmarks.accelerators import torch_calls as calls  # type: ignore[no-redef]
    for line in sys.stdin:
        request = json.loads(line)
        print(f"# {line.strip()}", file=sys.stderr, flush=True)
        try:
            answer = {"result": getattr(calls, request["call"])(**request["arguments"])}
        except Exception as error:
            traceback.print_exc()
            text = (str(error).strip() or type(error).__name__).splitlines()[0]
            answer = {"error": f"{type(error).__name__}: {text[:300]}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
