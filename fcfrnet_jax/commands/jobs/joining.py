"""Joins the processes of a job, and checks that they belong together."""

import os
import socket

import jax
from ml_collections import ConfigDict

import fcfrnet_jax
from fcfrnet_jax import parallel, process
from fcfrnet_jax.commands.jobs import watched
from fcfrnet_jax.commands.settings import Range, check_ranges, flagged


def join(config: ConfigDict) -> None:
    """Joins the processes of a job, which must have the same settings and versions.

    Raises:
      ValueError: a setting cannot be used, or the processes differ.
    """
    check_ranges(config, {"join_timeout": Range(1)})
    with flagged():
        check_job(config.coordinator, config.processes, config.process)
    watcher = watched.current()
    if watcher:
        watcher.joining(*_joining(config))
    parallel.join_job(config.coordinator, config.processes, config.process, config.join_timeout)
    if jax.process_count() == 1:
        return
    if watcher:
        host = config.coordinator.rpartition(":")[0].strip("[]")
        watcher.link(jax.process_index(), host, lambda value: parallel.gather_json(value)[0])
    versions = {"fcfrnet_jax": fcfrnet_jax.__version__, "jax": jax.__version__}
    parallel.check_agreement(versions, "version of fcfrnet_jax or JAX")
    shared = {name: value for name, value in config.to_dict().items() if name != "process"}
    parallel.check_agreement(shared)


def check_job(coordinator: str, processes: int, process: int) -> None:
    """Checks what is known of a job, and whether the first process can use its port.

    Raises:
      ValueError: only some of the three arguments are given (not empty, 0 and -1), or they cannot
        be used.
    """
    given = (bool(coordinator), processes > 0, process >= 0)
    if any(given) and not all(given):
        raise ValueError(
            "coordinator, processes and process must be given together, got "
            f"{coordinator!r}, {processes} and {process}"
        )
    if not coordinator:
        return
    host, _, port = coordinator.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError(
            f"coordinator={coordinator}: expected HOST:PORT, such as {host or port}:29500"
        )
    if process >= processes:
        raise ValueError(
            f"process={process}: the indices of {processes} processes are 0 to {processes - 1}"
        )
    if process == 0:
        _check_port(coordinator, int(port))


def _check_port(coordinator: str, port: int) -> None:
    """Raises ValueError if another program uses a port, for which JAX would crash."""
    try:
        socket.create_server(("", port)).close()
    except OSError as error:
        raise ValueError(
            f"coordinator={coordinator}: the first process cannot use the port "
            f"({os.strerror(error.errno or 0)}); choose another one, and give the index 0 to one "
            "process only"
        ) from error


def _joining(config: ConfigDict) -> tuple[str, str, dict[str, str]]:
    """What the watcher of this process tells while it waits; see `watched.Watched.joining`."""
    if config.coordinator:
        name = watched.process_name(config.process)
        count, place = config.processes, f"coordinator {config.coordinator}"
        port = f"the port of --config.coordinator={config.coordinator}"
    else:
        name, (variable, count) = "this process", process.launched(os.environ)
        place = f"{variable}={count}"
        port = "the coordinator's port; JAX_COORDINATOR_PORT chooses another one"
    missing = "1" if count == 2 else f"1 to {count - 1}"
    waiting = f"Waiting for {missing} of {count} processes, {place}"
    causes = {
        "DEADLINE_EXCEEDED": f"not all {count} processes have joined the job within "
        f"--config.join_timeout={config.join_timeout} seconds ({place})",
        "ALREADY_EXISTS": f"another process of the job has the same index as {name} ({place})",
        "Unexpected task": f"{name} is not one of the processes that the first one expects; all "
        f"need the same number of processes ({place})",
        "Failed to add port": f"another program uses {port}",
    }
    return name, waiting, causes
