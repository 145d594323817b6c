"""Processes that measure in one framework each, and answer one request at a time.

A worker is started as `python -m benchmarks.accelerators.worker jax` (or `torch`). It reads one
JSON object `{"call": NAME, "key": KEY, "arguments": {...}}` per line and answers with `{"result":
...}` or `{"error": TEXT}`. Libraries that print to the standard output do not disturb the answers.

A call that is a generator function prepares a measurement up to its `yield`, which is answered with
`{"prepared": true}`. The call `resume` with the same key measures and answers with the result.
"""

import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import traceback
import zlib
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
# What `Worker.request` returns for a prepared measurement.
PREPARED = object()
# Workers of both frameworks share the memory.
ENVIRONMENT = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}


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

    def request(self, call: str, timeout: float, *, key: str = "", **arguments: Any) -> Any:
        """Returns the result of a call, or `PREPARED`.

        Raises:
          WorkerError: the call failed, or took longer than `timeout` seconds. The worker is closed
            unless the call merely raised an exception.
        """
        assert self._process.stdin is not None
        try:
            request = {"call": call, "key": key, "arguments": arguments}
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            line = self._answers.get(timeout=timeout)
        except queue.Empty:
            self.close()
            raise WorkerError(f"no answer within {timeout:.0f} s") from None
        except (OSError, ValueError):
            line = None
        if line is None:
            status = self._process.wait()
            raise WorkerError(f"the process ended with status {status}; see {self._log.name}")
        answer = json.loads(line)
        if "error" in answer:
            raise WorkerError(answer["error"])
        return PREPARED if "prepared" in answer else answer["result"]

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


class Workers:
    """The processes of both frameworks, started when they are needed first."""

    def __init__(self, folder: Path):
        self.folder = folder
        self._temporary = tempfile.TemporaryDirectory()
        self.temporary = Path(self._temporary.name)
        self._running: dict[str, tuple[str, Worker]] = {}
        # One thread for each framework.
        self._lock = threading.Lock()

    def get(self, framework: str, flags: str = "") -> Worker:
        """A worker with the given compiler flags. One with other flags is closed."""
        with self._lock:
            if framework in self._running:
                running, worker = self._running[framework]
                if running == flags and worker.alive:
                    return worker
                worker.close()
            environment = self._environment(flags)
            if framework == "torch":
                # It draws the same variables by jax, on the host.
                environment["JAX_PLATFORMS"] = "cpu"
            worker = Worker(framework, self.folder / f"{framework}.log", environment)
            self._running[framework] = flags, worker
            return worker

    def _environment(self, flags: str) -> dict[str, str]:
        given = f"{os.environ.get('XLA_FLAGS', '')} {flags}".strip()
        # Choices that were measured with other flags must not be reused.
        compiled = self.temporary / f"compiled_{zlib.crc32(flags.encode())}"
        return ENVIRONMENT | {"XLA_FLAGS": given, "JAX_COMPILATION_CACHE_DIR": str(compiled)}

    def close(self) -> None:
        while self._running:
            self._running.popitem()[1][1].close()
        self._temporary.cleanup()


class _Calls:
    """Answers requests with the functions of a module."""

    def __init__(self, module: Any):
        self._module = module
        self._prepared: dict[str, Generator[None, None, Any]] = {}

    def answer(self, call: str, key: str, arguments: dict[str, Any]) -> dict[str, Any]:
        if call == "resume":
            try:
                next(self._prepared.pop(key))
            except StopIteration as stop:
                return {"result": stop.value}
            raise RuntimeError("it yielded twice")
        result = getattr(self._module, call)(**arguments)
        if isinstance(result, Generator):
            next(result)
            self._prepared[key] = result
            return {"prepared": True}
        return {"result": result}


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    if sys.argv[1] == "jax":
        from benchmarks.accelerators import jax_calls as module
    else:
        from benchmarks.accelerators import torch_calls as module  # type: ignore[no-redef]
    calls = _Calls(module)
    for line in sys.stdin:
        print(f"# {line.strip()}", file=sys.stderr, flush=True)
        try:
            answer = calls.answer(**json.loads(line))
        except Exception as error:
            traceback.print_exc()
            text = (str(error).strip() or type(error).__name__).splitlines()[0]
            answer = {"error": f"{type(error).__name__}: {text[:300]}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
