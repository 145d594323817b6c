"""Snapshots of a training run, from which it resumes exactly; they are verified when read.

On a CPU, the updates after a resume have the same bits if the number of cores is the same.
"""

from pathlib import Path
from typing import Any, TypeVar

import jax
import orbax.checkpoint as ocp
from absl import logging

from fcfrnet_jax.files import describe, read_json
from fcfrnet_jax.system_errors import cannot_write, check_text
from fcfrnet_jax.weights import arrays

T = TypeVar("T")


class Snapshots:
    """The snapshots in a folder, one subfolder per step. Writing a snapshot is atomic.

    Snapshots are written in the background. In a job of several processes, all must call every
    method; the first process writes.

    Args:
      folder: created if it does not exist.
      keep: number of snapshots to keep; older ones are deleted.

    Raises:
      ValueError: the path of the folder is not text.
    """

    def __init__(self, folder: str | Path, keep: int) -> None:
        self._folder = Path(folder).absolute()
        check_text(self._folder)
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
        named = arrays.by_name(state)
        check = ocp.args.JsonSave({"digest": arrays.digest(named)})
        arguments = ocp.args.Composite(state=ocp.args.StandardSave(named), check=check)
        try:
            self._manager.save(step, args=arguments)
        except Exception as error:  # the storage layers raise various types
            raise self._failure(f"the snapshot of step {step} cannot be saved", error) from error

    def wait(self) -> None:
        """Waits until the last snapshot is on disk.

        Raises:
          OSError: the snapshot cannot be written; earlier snapshots are kept.
        """
        try:
            self._manager.wait_until_finished()
            self._manager.check_for_errors()
        except Exception as error:  # as above
            raise self._failure("the last snapshot cannot be saved", error) from error

    def restore(self, like: T) -> T | None:
        """Reads the newest intact snapshot. Damaged ones are renamed and a warning is logged.

        Args:
          like: a tree of NumPy arrays with the expected structure, shapes and dtypes.

        Returns:
          The state, or None if there is no snapshot.

        Raises:
          ValueError: there are snapshots, but all are damaged, or the newest intact one does not
            match `like`.
          OSError: the system does not allow or fails to read a snapshot; it is not renamed.
        """
        damaged = []
        steps = self.steps()
        for step in reversed(steps):
            try:
                found = self._read(step)
            except (ValueError, FileNotFoundError) as error:
                damaged.append((step, describe(error)))
                continue
            self._set_aside(damaged, step)
            wanted = arrays.by_name(like)
            wrong = arrays.differences(arrays.types(found), arrays.types(wanted))
            if wrong:
                raise ValueError(
                    f"{self._folder}: the snapshot of step {step} does not match the model: {wrong}"
                )
            return jax.tree.unflatten(jax.tree.structure(like), [found[name] for name in wanted])
        if damaged:
            listed = "; ".join(reason for _, reason in damaged)
            raise ValueError(
                f"{self._folder}: no snapshot can be read ({listed}); restore one from a copy, or "
                "train in another folder"
            )
        return None

    def close(self) -> None:
        """Waits for the last save and releases the folder."""
        self.wait()
        self._manager.close()

    def _read(self, step: int) -> arrays.Arrays:
        folder = self._folder / str(step)
        found = arrays.read_arrays(folder / "state", check=lambda _: None)
        path = folder / "check" / "metadata"
        wanted = read_json(path, "the snapshot is damaged").get("digest")
        if wanted != arrays.digest(found):
            raise ValueError(f"{folder}: the arrays do not match their checksum")
        return found

    def _set_aside(self, damaged: list[tuple[int, str]], intact: int) -> None:
        for step, reason in damaged:
            kept = self._folder / f"damaged-{step}"
            while kept.exists():
                kept = kept.with_name(f"{kept.name}-again")
            logging.warning(
                "The snapshot of step %d is damaged (%s). Training continues from step %d. The "
                "damaged snapshot is kept as %s and can be deleted.", step, reason, intact, kept
            )  # fmt: skip
            if jax.process_index() == 0:
                (self._folder / str(step)).rename(kept)
        if damaged:
            self._manager.reload()

    def _failure(self, what: str, error: Exception) -> OSError:
        kept = ", ".join(map(str, self.steps())) or "none"
        return cannot_write(self._folder, f"{what}; snapshots kept: {kept}", error)
