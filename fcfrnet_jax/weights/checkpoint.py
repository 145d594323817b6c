"""Model checkpoints: a folder with a readable `model.json` and the variables, saved by orbax."""

from functools import cache
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from absl import logging

import fcfrnet_jax
from fcfrnet_jax.files import atomic_path, is_temporary, remove, sync
from fcfrnet_jax.networks.models import Variables, join_variables, variable_shapes
from fcfrnet_jax.networks.specs import CoarseToFineSpec, SparseToCoarseSpec, Spec, TwoStageSpec
from fcfrnet_jax.system_errors import cannot_write
from fcfrnet_jax.text import is_unicode, printable
from fcfrnet_jax.weights import arrays, description
from fcfrnet_jax.weights.description import REMEDY, Description

# A model: its spec and its variables.
Model = tuple[Spec, Variables]
# What orbax appends to the name of a folder while it writes it.
_UNFINISHED = ".orbax-checkpoint-tmp"
_SHIPPED = fcfrnet_jax.COMPACT.parent


def save_model(
    directory: str | Path,
    spec: Spec,
    variables: Variables,
    *,
    provenance: dict[str, Any],
    overwrite: bool = False,
) -> None:
    """Writes a model checkpoint atomically.

    A new folder appears complete or not at all. In an existing one, the new variables are written
    beside the old ones, `model.json` is replaced, and the old variables are removed. Whenever the
    process is killed, the folder therefore holds the complete old or new model. What a killed
    process left behind is removed by the next save.

    Args:
      directory: the folder to create.
      spec: the model.
      variables: `params` and `batch_stats`, as from the network's `init`.
      provenance: where the weights come from, as JSON types; it is stored in `model.json`.
      overwrite: replace an existing model checkpoint.

    Raises:
      ValueError: the folder is not empty, and is not a model checkpoint to overwrite; or the
        provenance is not JSON.
      OSError: the folder cannot be written.
    """
    directory = Path(directory).absolute()
    check_free(directory, overwrite)
    host = jax.tree.map(np.asarray, variables)
    digest = arrays.digest(arrays.by_name(host))
    if (directory / description.FILE).exists():
        _clean(directory, None)
        number = 0
        while (directory / description.variables_folder(digest, number)).exists():
            number += 1
        folder = description.variables_folder(digest, number)
        _write(directory, host, Description(spec, provenance, folder, digest))
        _clean(directory, folder)
        return
    folder = description.variables_folder(digest, 0)
    with atomic_path(directory) as temporary:
        _write(temporary, host, Description(spec, provenance, folder, digest))


def _write(directory: Path, variables: Variables, content: Description) -> None:
    folder = directory / content.folder
    try:
        with _checkpointer() as checkpointer:
            checkpointer.save(folder, variables)
    except Exception as error:  # the storage layers raise various types
        raise cannot_write(directory, "the model cannot be saved", error) from error
    # model.json must not survive a power cut that the variables do not survive.
    for path in [*folder.rglob("*"), folder]:
        sync(path)
    description.write_description(directory, content)
    sync(directory)


def _clean(directory: Path, current: str | None) -> None:
    """Removes what a killed process has left and, with `current`, the variables of other models."""
    for path in directory.iterdir():
        name = path.name.removesuffix(_UNFINISHED)
        stale = name != path.name or current not in (None, name)
        variables = path.is_dir() and description.is_variables_folder(name)
        if is_temporary(path) or (variables and stale):
            remove(path)


def check_free(directory: Path, overwrite: bool) -> None:
    """Raises ValueError unless a checkpoint may be written to `directory` (see `save_model`)."""
    if not is_unicode(directory):
        raise ValueError(
            f"{printable(directory)}: the name is not valid UTF-8, and orbax cannot write weights "
            "there; choose another folder"
        )
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


def load_spec(model: str | Path) -> Spec:
    """Reads the spec of a model checkpoint.

    Raises:
      ValueError: the folder is not a model checkpoint, or its `model.json` is damaged.
    """
    return _describe(model_dir(model)).spec


def load_provenance(model: str | Path) -> dict[str, Any]:
    """Reads the `provenance` that `save_model` stored.

    Raises:
      ValueError: the folder is not a model checkpoint, or its `model.json` is damaged.
    """
    return _describe(model_dir(model)).provenance


def load_digest(model: str | Path) -> str | None:
    """Reads the checksum of the variables; None for a checkpoint of version 0.1.

    Raises:
      ValueError: the folder is not a model checkpoint, or its `model.json` is damaged.
    """
    return _describe(model_dir(model)).digest


def load_model(model: str | Path) -> Model:
    """Reads a model checkpoint: its spec and its variables as float32 NumPy arrays.

    Models that version 0.1 wrote have no checksums; a warning says so, once for each folder.

    Args:
      model: the folder, or the name of a model of the package, see `model_dir`.

    Raises:
      ValueError: the folder is not a model checkpoint, is damaged, or its variables do not match
        its spec.
    """
    directory = model_dir(model)
    content = _describe(directory)
    while True:
        try:
            return content.spec, _read_variables(directory, content)
        except ValueError as error:
            before, content = content, _describe(directory)
            # Another process may have replaced the model in the meantime.
            if content == before:
                raise ValueError(f"{error}; {REMEDY}") from error


def model_dir(model: str | Path) -> Path:
    """Returns the folder of a model.

    Args:
      model: a folder; or a string that is the name of a model of the package, such as `compact`.
        A folder of the same name is given as a path: `./compact`.
    """
    if not isinstance(model, str) or model not in shipped_models():
        return Path(model)
    if (Path(model) / description.FILE).exists():
        logging.warning("%s is the model of the package; ./%s is the folder here", model, model)
    return _SHIPPED / model


@cache
def shipped_models() -> tuple[str, ...]:
    """The names of the models that are part of the package."""
    return tuple(path.parent.name for path in _SHIPPED.glob(f"*/{description.FILE}"))


def _describe(directory: Path) -> Description:
    if (directory / description.FILE).exists():
        return description.read_description(directory)
    if not directory.exists():
        found = "no such folder"
    else:
        found = f"no {description.FILE} in it" if directory.is_dir() else "is a file"
    inside = sorted(str(path.parent) for path in directory.glob(f"*/{description.FILE}"))
    if inside:
        raise ValueError(f"{directory}: {found}; did you mean {' or '.join(inside[:3])}?")
    raise ValueError(
        f"{directory}: {found}; expected a folder that the converter or training wrote, or the "
        f"name of a model in the package: {', '.join(shipped_models())}"
    )


def _read_variables(directory: Path, content: Description) -> Variables:
    folder = directory / content.folder
    shapes = variable_shapes(content.spec)
    wanted = arrays.types(arrays.by_name(shapes))

    def check(found: arrays.Types) -> None:
        wrong = arrays.differences(found, wanted)
        if wrong:
            raise ValueError(f"{folder}: does not match {description.FILE}: {wrong}")

    found = arrays.read_arrays(folder, check)
    if content.digest is None:
        _say_unprotected(directory.absolute())
    elif content.digest != arrays.digest(found):
        raise ValueError(f"{folder}: the weights do not match their checksum, so they are damaged")
    return jax.tree.unflatten(jax.tree.structure(shapes), [found[name] for name in wanted])


@cache
def _say_unprotected(directory: Path) -> None:
    logging.warning(
        "%s: an older version wrote this model without checksums, so damage to its weights cannot "
        "be detected.", directory
    )  # fmt: skip


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


def load_coarse(directory: str | Path) -> tuple[SparseToCoarseSpec, Variables]:
    """Reads the coarse network of a sparse-to-coarse or a two-stage model.

    Raises:
      ValueError: as for `load_model`, or a model without a coarse network.
    """
    model = load_model(directory)
    if isinstance(model[0], CoarseToFineSpec):
        raise ValueError(
            f"{directory} holds a {model[0].network} model, expected {SparseToCoarseSpec.network} "
            f"or {TwoStageSpec.network}"
        )
    spec, variables = take_stage(model, "coarse")
    assert isinstance(spec, SparseToCoarseSpec)
    return spec, variables


def take_stage(model: Model, stage: str) -> Model:
    """Takes one network, `coarse` or `fine`, out of a model.

    A model of that network alone is returned unchanged.

    Raises:
      ValueError: the model does not have the network, or `stage` has another value.
    """
    spec, variables = model
    kinds = {"coarse": SparseToCoarseSpec, "fine": CoarseToFineSpec}
    if stage not in kinds:
        raise ValueError(f"stage must be one of {', '.join(kinds)}, got {stage!r}")
    if isinstance(spec, TwoStageSpec):
        taken = {kind: tree[stage] for kind, tree in variables.items()}
        return (spec.coarse if stage == "coarse" else spec.fine), taken
    if not isinstance(spec, kinds[stage]):
        raise ValueError(f"a {spec.network} model has no {stage} network")
    return model
