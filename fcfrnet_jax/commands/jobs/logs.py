"""What the libraries of a process write to stderr, without the notes about other processes."""

import re

# The beginning of a log line from C++: severity, date, time, thread, file and line number.
_CPP = re.compile(r"([IWEF])\d{4} [\d:.]+ +\d+ [\w./-]+\.(?:cc|cpp|cu|h):\d+\] (.*)")
# Seconds after which a line is shown that might have announced the end of the process.
_HOLD = 2.0


class Log:
    """Collects the lines that a process writes.

    Errors from C++, and all that follows, are held for some seconds. If the process ends, they are
    dropped, because they are about its end.

    Args:
      verbose: hold and drop nothing.

    Attributes:
      fatal: the message with which C++ has ended the process; empty if it has not.
      error: the last error from C++.
    """

    def __init__(self, verbose: bool = False) -> None:
        self.fatal = self.error = ""
        self._verbose, self._complete = verbose, False
        self._rest = b""
        self._held: list[tuple[float, str]] = []

    def add(self, data: bytes, now: float) -> list[str]:
        """Adds what the process has written; returns the lines to show at once."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        shown = []
        for line in lines:
            text = line.decode(errors="replace")
            severity = self._classify(text)
            if self._verbose:
                shown.append(text)
            elif self._held or severity == "E":
                self._held.append((now, text))
            elif not self.fatal:
                shown.append(text)
        return shown

    def due(self, now: float) -> list[str]:
        """Returns the held lines if the process has outlived them."""
        if self.fatal or not self._held or now < self._held[0][0] + _HOLD:
            return []
        lines, self._held = self._held, []
        return [line for _, line in lines]

    def _classify(self, line: str) -> str:
        """Returns the severity of a line from C++; empty for others."""
        log = _CPP.match(line)
        if not log:
            if self.fatal and not self._complete:
                self._complete = line.startswith(("***", "RPC:"))
                self.fatal += "" if self._complete else f" {line}"
            return ""
        if log[1] == "F" and not self.fatal:
            self.fatal = log[2]
        elif log[1] == "E":
            self.error = log[2]
        return log[1]
