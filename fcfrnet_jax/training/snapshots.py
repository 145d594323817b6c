"""Snapshots of a training run, from which it resumes exactly: the newest few, checked when read."""

import hashlib
import re
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from absl import logging


class Snapshots:
    """The snapshots in a folder, one subfolder a step, each written whole or not at all.

    Saving goes on in the background. Of several processes all have to call every method; the first
    one writes.

    Args:
      folder: made if absent.
      keep: how many snapshots to keep, the newest ones.
    """

    def __init__(self, folder: str | Path, keep: int) -> None:
        self._folder = Path(folder).absolute()
        options = ocp.CheckpointManagerOptions(
            max_to_keep=keep, enable_async_checkpointing=True, cleanup_tmp_directories=True
        )
        self._manager = ocp.CheckpointManager(self._folder, options=options)

    def steps(self) -> list[int]:
        """The steps of which there is a snapshot, ascending."""
        return sorted(self._manager.all_steps())

    def save(self, step: int, state: Any) -> None:
        """Begins to save `state`, a tree of NumPy arrays; waits for the save before it.

        Raises:
          OSError: this or the save before it cannot be written; earlier snapshots are kept.
        """
        if step in self.steps():
            return
        arrays = _by_name(state)
        check = ocp.args.JsonSave({"digest": digest(arrays)})
        arguments = ocp.args.Composite(state=ocp.args.StandardSave(arrays), check=check)
        try:
            self._manager.save(step, args=arguments)
        except Exception as error:  # whatever the storage layers below raise
            raise self._failure(f"cannot save step {step}", error) from error

    def wait(self) -> None:
        """Waits until the last save is on disk.

        Raises:
          OSError: it cannot be written; earlier snapshots are kept.
        """
        try:
            self._manager.wait_until_finished()
            self._manager.check_for_errors()
        except Exception as error:  # as above
            raise self._failure("cannot finish the last save", error) from error

    def restore(self, like: Any) -> Any | None:
        """Reads the newest snapshot that is intact; damaged ones are moved aside and reported.

        Args:
          like: a tree of NumPy arrays with the structure, shapes and dtypes to expect.

        Returns:
          The state, or None where there is no snapshot.

        Raises:
          ValueError: there are snapshots, but none can be read.
        """
        damaged = []
        for step in reversed(self.steps()):
            try:
                state = self._read(step, like)
            except Exception as error:  # a damaged folder raises whatever it met first
                reason = (str(error).strip() or type(error).__name__).splitlines()[0]
                damaged.append((step, reason))
                logging.warning("The snapshot of step %d is damaged: %s", step, reason)
                continue
            self._set_aside([step for step, _ in damaged])
            return state
        if damaged:
            listed = "; ".join(f"step {step}: {reason}" for step, reason in damaged)
            raise ValueError(f"{self._folder}: no snapshot can be read ({listed})")
        return None

    def close(self) -> None:
        """Waits for the last save and lets go of the folder."""
        self.wait()
        self._manager.close()

    def _read(self, step: int, like: Any) -> Any:
        wanted = _by_name(like)
        arguments = ocp.args.Composite(
            state=ocp.args.StandardRestore(wanted), check=ocp.args.JsonRestore()
        )
        restored = self._manager.restore(step, args=arguments)
        arrays = restored["state"]
        if restored["check"]["digest"] != digest(arrays):
            raise ValueError("its arrays are not those that were saved")
        return jax.tree.unflatten(jax.tree.structure(like), [arrays[name] for name in wanted])

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
    # Tuples and dictionaries alike become names, whatever orbax makes of either.
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in leaves}


def digest(arrays: dict[str, np.ndarray]) -> str:
    """A checksum over the names, dtypes, shapes and bytes of arrays."""
    found = hashlib.blake2b(digest_size=16)
    for name, array in sorted(arrays.items()):
        found.update(f"{name} {array.dtype} {array.shape}".encode())
        found.update(np.ascontiguousarray(array).view(np.uint8).data if array.size else b"")
    return found.hexdigest()
