"""Snapshots of a training run, from which it resumes exactly; they are verified when read."""

import hashlib
import re
from pathlib import Path
from typing import Any, TypeVar

import jax
import numpy as np
import orbax.checkpoint as ocp
from absl import logging

from fcfrnet_jax.files import differing, first_line, list_some

T = TypeVar("T")


class Snapshots:
    """The snapshots in a folder, one subfolder per step. Writing a snapshot is atomic.

    Snapshots are written in the background. In a job of several processes, all must call every
    method; the first process writes.

    Args:
      folder: created if it does not exist.
      keep: number of snapshots to keep; older ones are deleted.
    """

    def __init__(self, folder: str | Path, keep: int) -> None:
        self._folder = Path(folder).absolute()
        options = ocp.CheckpointManagerOptions(
            max_to_keep=keep, enable_async_checkpointing=True, cleanup_tmp_directories=True
        )
        self._manager = ocp.CheckpointManager(self._folder, options=options)

    def steps(self) -> list[int]:
        """Returns the steps that have a snapshot, in ascending order."""
        return sorted(self._manager.all_steps())

    def save(self, step: int, state: Any) -> None:
        """Starts to save `state`, a tree of NumPy arrays, after waiting for the previous save.

        Raises:
          OSError: this or the previous snapshot cannot be written; earlier snapshots are kept.
        """
        if step in self.steps():
            return
        arrays = _by_name(state)
        check = ocp.args.JsonSave({"digest": digest(arrays)})
        arguments = ocp.args.Composite(state=ocp.args.StandardSave(arrays), check=check)
        try:
            self._manager.save(step, args=arguments)
        except Exception as error:  # the storage layers raise various types
            raise self._failure(f"cannot save step {step}", error) from error

    def wait(self) -> None:
        """Waits until the last snapshot is on disk.

        Raises:
          OSError: the snapshot cannot be written; earlier snapshots are kept.
        """
        try:
            self._manager.wait_until_finished()
            self._manager.check_for_errors()
        except Exception as error:  # as above
            raise self._failure("cannot finish the last save", error) from error

    def restore(self, like: T) -> T | None:
        """Reads the newest intact snapshot. Damaged ones are renamed and a warning is logged.

        Args:
          like: a tree of NumPy arrays with the expected structure, shapes and dtypes.

        Returns:
          The state, or None if there is no snapshot.

        Raises:
          ValueError: there are snapshots, but none can be read, or the newest intact one does not
            match `like`.
        """
        damaged = []
        for step in reversed(self.steps()):
            try:
                arrays = self._read(step)
            except Exception as error:  # a damaged folder raises various types
                reason = first_line(error)
                damaged.append((step, reason))
                logging.warning("The snapshot of step %d is damaged: %s", step, reason)
                continue
            self._set_aside([step for step, _ in damaged])
            wanted = _by_name(like)
            if differences := _differences(arrays, wanted):
                raise ValueError(
                    f"{self._folder}: the snapshot of step {step} does not match the model: "
                    + list_some(differences)
                )
            return jax.tree.unflatten(jax.tree.structure(like), [arrays[name] for name in wanted])
        if damaged:
            listed = "; ".join(f"step {step}: {reason}" for step, reason in damaged)
            raise ValueError(f"{self._folder}: no snapshot can be read ({listed})")
        return None

    def close(self) -> None:
        """Waits for the last save and releases the folder."""
        self.wait()
        self._manager.close()

    def _read(self, step: int) -> dict[str, np.ndarray]:
        arguments = ocp.args.Composite(
            state=ocp.args.StandardRestore(), check=ocp.args.JsonRestore()
        )
        restored = self._manager.restore(step, args=arguments)
        arrays = restored["state"]
        if restored["check"]["digest"] != digest(arrays):
            raise ValueError("the checksum of its arrays does not match")
        return arrays

    def _set_aside(self, steps: list[int]) -> None:
        for step in steps:
            if jax.process_index() == 0:
                (self._folder / str(step)).rename(self._folder / f"damaged-{step}")
        if steps:
            self._manager.reload()

    def _failure(self, what: str, error: Exception) -> OSError:
        kept = ", ".join(map(str, self.steps())) or "none"
        reason = re.sub(r"\s+", " ", str(error)).strip()[:300]
        return OSError(f"{self._folder}: {what} ({reason}); snapshots kept: {kept}")


def _by_name(tree: Any) -> dict[str, np.ndarray]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    # Names serve tuples and dictionaries alike, independent of how Orbax stores them.
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in leaves}


def _differences(found: dict[str, np.ndarray], wanted: dict[str, np.ndarray]) -> list[str]:
    """Lists the names, shapes and dtypes that differ."""

    have, want = (
        {name: f"{array.dtype} {array.shape}" for name, array in arrays.items()}
        for arrays in (found, wanted)
    )
    return [
        f"{name} is {have.get(name, 'nothing')}, expected {want.get(name, 'nothing')}"
        for name in differing(have, want)
    ]


def digest(arrays: dict[str, np.ndarray]) -> str:
    """Returns a checksum of the names, dtypes, shapes and bytes of arrays."""
    found = hashlib.blake2b(digest_size=16)
    for name, array in sorted(arrays.items()):
        found.update(f"{name} {array.dtype} {array.shape}".encode())
        found.update(np.ascontiguousarray(array).view(np.uint8).data if array.size else b"")
    return found.hexdigest()
