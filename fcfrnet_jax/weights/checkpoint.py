"""Model checkpoints: a folder with a readable `model.json` and the variables, saved by orbax."""

import json
import shutil
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from fcfrnet_jax.files import atomic_path, differing, first_line, write_json
from fcfrnet_jax.networks.models import Variables, join_variables, variable_shapes
from fcfrnet_jax.networks.specs import (
    Spec,
    TwoStageSpec,
    spec_from_json,
    spec_to_json,
)

# A model: its spec and its variables.
Model = tuple[Spec, Variables]
FORMAT = 1


def save_model(
    directory: str | Path,
    spec: Spec,
    variables: Variables,
    *,
    provenance: dict[str, Any],
    overwrite: bool = False,
) -> None:
    """Writes a model checkpoint. The folder appears complete or not at all.

    Args:
      directory: the folder to create.
      spec: the model.
      variables: `params` and `batch_stats`, as from the network's `init`.
      provenance: where the weights come from, as JSON types; it is stored in `model.json`.
      overwrite: replace an existing model checkpoint.

    Raises:
      ValueError: the folder is not empty, and is not a model checkpoint to overwrite.
      OSError: the folder cannot be written.
    """
    directory = Path(directory).absolute()
    check_free(directory, overwrite)
    record = {"format": FORMAT, "model": spec_to_json(spec), "provenance": provenance}
    with atomic_path(directory) as temporary:
        with _checkpointer() as checkpointer:
            checkpointer.save(temporary / "variables", jax.tree.map(np.asarray, variables))
        write_json(temporary / "model.json", record)
        old = directory.with_name(f"{temporary.name}.old")
        if directory.exists():
            directory.rename(old)
    shutil.rmtree(old, ignore_errors=True)


def check_free(directory: Path, overwrite: bool) -> None:
    """Raises ValueError unless a checkpoint may be written to `directory` (see `save_model`)."""
    if not directory.exists():
        return
    if not directory.is_dir():
        raise ValueError(f"{directory}: expected a folder to write to, found a file")
    if not any(directory.iterdir()):
        return
    if not (directory / "model.json").is_file():
        raise ValueError(f"{directory}: holds other files; choose a new folder")
    if not overwrite:
        raise ValueError(
            f"{directory}: holds a model already; choose a new folder or set overwrite=True"
        )


def load_spec(directory: str | Path) -> Spec:
    """Reads the spec of a model checkpoint.

    Raises:
      ValueError: the folder is not a model checkpoint, or its `model.json` is damaged.
    """
    return _description(Path(directory))[0]


def load_provenance(directory: str | Path) -> dict[str, Any]:
    """Reads the `provenance` that `save_model` stored.

    Raises:
      ValueError: the folder is not a model checkpoint, or its `model.json` is damaged.
    """
    return _description(Path(directory))[1]


def _description(directory: Path) -> tuple[Spec, dict[str, Any]]:
    path = directory / "model.json"
    if not path.is_file():
        found = "no such folder" if not directory.exists() else "no model.json in it"
        hint = "a folder that the converter or training wrote"
        raise ValueError(f"{directory}: {found}; expected {hint}")
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        if record["format"] != FORMAT:
            raise ValueError(f"format {record['format']!r}, this version reads {FORMAT}")
        return spec_from_json(record["model"]), dict(record["provenance"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: not a readable model description ({error})") from error


def load_model(directory: str | Path) -> Model:
    """Reads a model checkpoint: its spec and its variables as float32 NumPy arrays.

    Raises:
      ValueError: the folder is not a model checkpoint, is damaged, or its variables do not match
        its spec.
    """
    spec = load_spec(directory)
    path = Path(directory).absolute() / "variables"
    wanted = variable_shapes(spec)
    try:
        with _checkpointer() as checkpointer:
            found = checkpointer.metadata(path).item_metadata
            _check_same(_shapes(found.tree if hasattr(found, "tree") else found), _shapes(wanted))
            target = jax.tree.map(lambda leaf: np.empty(leaf.shape, leaf.dtype), wanted)
            return spec, checkpointer.restore(path, target)
    except Exception as error:  # orbax raises errors of many types for a damaged folder
        raise ValueError(f"{path}: cannot read the variables: {first_line(error)}") from error


def _checkpointer() -> ocp.StandardCheckpointer:
    # Otherwise orbax would wait for all processes of a job.
    me = jax.process_index()
    alone = ocp.options.MultiprocessingOptions(
        primary_host=me, active_processes={me}, barrier_sync_key_prefix=f"process{me}"
    )
    return ocp.StandardCheckpointer(multiprocessing_options=alone)


def combine(coarse: Model, fine: Model) -> tuple[TwoStageSpec, Variables]:
    """Joins two models, each (spec, variables), into one two-stage model.

    Raises:
      ValueError: the models are not a sparse-to-coarse and a coarse-to-fine network, in this order.
    """
    spec = TwoStageSpec(coarse[0], fine[0])  # type: ignore[arg-type]  # checked by the class
    return spec, join_variables(coarse[1], fine[1])


def _shapes(tree: Any) -> dict[str, tuple[int, ...]]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): tuple(leaf.shape)
        for path, leaf in leaves
    }


def _check_same(found: dict[str, tuple], wanted: dict[str, tuple]) -> None:
    wrong = [
        f"{name} is {found.get(name, 'missing')}, expected {wanted.get(name, 'nothing')}"
        for name in differing(found, wanted)
    ]
    if wrong:
        raise ValueError(f"{len(wrong)} do not match model.json: {'; '.join(wrong[:3])}")
