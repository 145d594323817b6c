"""What is recorded about a run beside its settings: name, time, devices and versions."""

import platform
import secrets
import time
from importlib import metadata
from typing import Any

import jax

import fcfrnet_jax

# Distributions by the name that is recorded.
_LIBRARIES = {
    "jax": ("jax",),
    "jaxlib": ("jaxlib",),
    "flax": ("flax",),
    "numpy": ("numpy",),
    "tensorflow": ("tensorflow", "tensorflow-cpu"),
}


def describe(started: float) -> dict[str, Any]:
    """Describes the run that ends now, as JSON types.

    Args:
      started: the time of its start, as from `time.time`.

    Returns:
      `run`, a unique name that begins with the time; `started` in UTC; `seconds`; `processes`;
      `devices`, those of all processes, by `platform`, `kind` and `number`; and `versions`, of
      Python, this package and the libraries, None for one that is not installed.
    """
    utc = time.gmtime(started)
    devices = jax.local_devices()
    return {
        "run": f"{time.strftime('%Y%m%d-%H%M%S', utc)}-{secrets.token_hex(3)}",
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", utc),
        "seconds": round(time.time() - started, 3),
        "devices": {
            "platform": devices[0].platform,
            "kind": devices[0].device_kind,
            "number": jax.device_count(),
        },
        "processes": jax.process_count(),
        "versions": {
            "python": platform.python_version(),
            "fcfrnet_jax": fcfrnet_jax.__version__,
            **{name: _version(names) for name, names in _LIBRARIES.items()},
        },
    }


def _version(names: tuple[str, ...]) -> str | None:
    for name in names:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return None
