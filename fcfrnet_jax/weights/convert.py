"""Converts released checkpoints of the two networks, with a strict table of names."""

import hashlib
import re
from pathlib import Path
from typing import Any, NamedTuple

import flax
import jax
import numpy as np

from fcfrnet_jax.locks import lock_beside
from fcfrnet_jax.networks.layers import HEAD
from fcfrnet_jax.networks.models import Variables, variable_shapes
from fcfrnet_jax.networks.specs import Spec, StageSpec, spec_to_json
from fcfrnet_jax.text import printable
from fcfrnet_jax.weights.checkpoint import check_free, combine, save_model
from fcfrnet_jax.weights.foreign import read_state
from fcfrnet_jax.weights.foreign.pickle_nodes import list_printable
from fcfrnet_jax.weights.recognition import Arrays, recognise

# Parts of our variable names, and their names in the released checkpoints.
RULES = (
    (r"block(\d+)", r"\1"),
    (r"proj_conv", "downsample.0"),
    (r"proj_norm", "downsample.1"),
    (r"conv(\d)", r"conv\1"),
    (r"norm(\d)", r"bn\1"),
    (r"conv", "0"),
    (r"norm", "1"),
    (r"kernel|scale", "weight"),
    (r"bias", "bias"),
    (r"mean", "_mean"),
    (r"var", "_variance"),
)
# PyTorch's names of the entries whose names differ from Paddle's.
PYTORCH_NAMES = {"running_mean": "_mean", "running_var": "_variance"}
# PyTorch's count of the batches that a BatchNorm has seen; not used in eval mode.
COUNTER = "num_batches_tracked"
# Entries that the network does not have, in a message or in the record of a model.
MAX_LISTED = 50


class Entry(NamedTuple):
    """How an entry of a released checkpoint becomes one of our variables.

    Attributes:
      target: the variable, such as `params/conv2/block0/conv1/kernel`.
      axes: for every axis of the entry, the axis of the variable.
      rotated: whether the kernel is rotated by 180 degrees, as for a transposed convolution.
    """

    target: str
    axes: tuple[int, ...]
    rotated: bool


def entries(shapes: dict[str, jax.ShapeDtypeStruct]) -> dict[str, Entry]:
    """The entries, by their Paddle name, for variables of these names and shapes."""
    return {
        _source_name(target): _entry(target, len(leaf.shape)) for target, leaf in shapes.items()
    }


def _source_name(target: str) -> str:
    _, top, *parts = target.split("/")
    if top == HEAD:
        parts = ["conv", *parts]
    return ".".join([top, *map(_translate, parts)])


def _translate(part: str) -> str:
    for ours, theirs in RULES:
        match = re.fullmatch(ours, part)
        if match:
            return match.expand(theirs)
    raise AssertionError(f"no rule for {part!r}")


def _entry(target: str, rank: int) -> Entry:
    if rank != 4:
        return Entry(target, tuple(range(rank)), False)
    if re.match(r"params/convt\d/", target):
        return Entry(target, (2, 3, 0, 1), True)  # IOHW in HWIO
    return Entry(target, (3, 2, 0, 1), False)  # OIHW in HWIO


class Conversion(NamedTuple):
    """A converted checkpoint.

    Attributes:
      spec: the detected network, or both in a two-stage model.
      variables: `params` and `batch_stats`, float32.
      skipped: the names of the entries in the file that the network does not have.
      provenance: the name and the SHA-256 of the file, its format and notes about its contents.
    """

    spec: Spec
    variables: Variables
    skipped: list[str]
    provenance: dict[str, Any]


def to_variables(
    arrays: Arrays, spec: StageSpec, strict: bool = False
) -> tuple[Variables, list[str]]:
    """Maps the entries of a state dict to the variables of the network `spec`.

    Returns:
      The variables, and the names of the entries that the network does not have.

    Raises:
      ValueError: reports together all variables without an entry or with two, all entries of the
        wrong shape or with invalid values, and with `strict` the first of the entries that the
        network does not have.
    """
    shapes = flax.traverse_util.flatten_dict(variable_shapes(spec), sep="/")
    wanted = entries(shapes)
    filled: Arrays = {}
    source: dict[str, str] = {}
    skipped, faults = [], []
    for name, array in arrays.items():
        stem, _, leaf = name.rpartition(".")
        key = f"{stem}.{PYTORCH_NAMES.get(leaf, leaf)}"
        if key not in wanted:
            if leaf != COUNTER:
                skipped.append(name)
            continue
        entry = wanted[key]
        fault = _fault(array, entry, shapes[entry.target].shape)
        if key in source:
            fault = f"already given by {printable(source[key])}"
        source[key] = name
        if fault:
            faults.append(f"{printable(name)} -> {entry.target}: {fault}")
        else:
            filled[entry.target] = _rearranged(array, entry)
    faults += [f"{key} -> {wanted[key].target}: missing" for key in wanted.keys() - source]
    count = len(faults)
    if strict:
        count += len(skipped)
        # The file may have any number of these.
        listed = skipped[:MAX_LISTED]
        faults += [f"{printable(name, 200)}: the network has no such entry" for name in listed]
    if faults:
        rest = [f"and {count - len(faults)} more of these"] if count > len(faults) else []
        lines = ";\n  ".join([*sorted(faults), *rest])
        raise ValueError(f"{count} entries do not match {_title(spec)}:\n  {lines}")
    return flax.traverse_util.unflatten_dict(filled, sep="/"), skipped


def _fault(array: np.ndarray, entry: Entry, shape: tuple[int, ...]) -> str | None:
    expected = tuple(shape[axis] for axis in entry.axes)
    if array.shape != expected:
        return f"shape {array.shape}, expected {expected}"
    if array.dtype.kind != "f":
        return f"holds {array.dtype}, expected floating-point numbers"
    bad = int(array.size - np.isfinite(array).sum())
    if bad:
        return f"{bad} of {array.size} values are NaN or infinite"
    if entry.target.endswith("/var") and array.min() < 0:
        return f"a variance of {array.min():.4g}"
    return None


def _rearranged(array: np.ndarray, entry: Entry) -> np.ndarray:
    if entry.rotated:
        array = array[:, :, ::-1, ::-1]
    return np.ascontiguousarray(array.transpose(np.argsort(entry.axes)), np.float32)


def convert(path: str | Path, strict: bool = False, state: str | None = None) -> Conversion:
    """Reads and converts one checkpoint file; see `convert_paddle`."""
    found = read_state(path, state, recognise)
    spec = recognise(found.arrays)
    try:
        variables, skipped = to_variables(found.arrays, spec, strict)
    except ValueError as error:
        raise ValueError(f"{printable(path)}: {error}") from error
    provenance = {
        "source": Path(path).name,
        "sha256": _sha256(path),
        "format": found.origin,
        "notes": found.notes,
        "skipped_entries": [printable(name, 200) for name in skipped[:MAX_LISTED]],
        "skipped_count": len(skipped),
    }
    return Conversion(spec, variables, skipped, provenance)


def convert_paddle(
    path: str | Path,
    output_dir: str | Path,
    *,
    coarse_path: str | Path | None = None,
    state: str | None = None,
    coarse_state: str | None = None,
    strict: bool = False,
    overwrite: bool = False,
) -> Conversion:
    """Converts a PaddlePaddle or PyTorch checkpoint and writes it as a model checkpoint.

    Nothing that the file names is executed or imported, so untrusted files are safe to convert.

    Args:
      path: a `.pdparams` file of FCFR-Net or the STD network, either a state dict or a training
        checkpoint, or a `.pth.tar` file of the original STD code.
      output_dir: the folder to create, which `fcfrnet_jax.load` reads.
      coarse_path: a file of an STD network, if `path` is FCFR-Net. The result is a two-stage model,
        from sparse depth to fine depth.
      state: the entry of the checkpoint that holds the state dict, such as `model_ema`. None for
        the usual names; of weights and their moving average, the weights are taken.
      coarse_state: the same for `coarse_path`.
      strict: raise for entries that the network does not have; otherwise they are skipped and
        listed.
      overwrite: replace a model checkpoint in `output_dir`.

    Raises:
      ValueError: the file is damaged, unsafe or does not match a network, with all mismatches
        reported together; or `output_dir` is not empty.
      OSError: a file cannot be read, the folder cannot be written, or another process writes to it.
    """
    output_dir = Path(output_dir).absolute()
    check_free(output_dir, overwrite)
    with lock_beside(output_dir):
        result = convert(path, strict, state)
        if coarse_path is not None:
            coarse = convert(coarse_path, strict, coarse_state)
            try:
                spec, variables = combine(coarse[:2], result[:2])
            except ValueError as error:
                both = f"{printable(coarse_path)} and {printable(path)}"
                raise ValueError(f"{both}: {error}") from error
            provenance = {"coarse": coarse.provenance, "fine": result.provenance}
            result = Conversion(spec, variables, coarse.skipped + result.skipped, provenance)
        save_model(output_dir, *result[:2], provenance=result.provenance, overwrite=overwrite)
    return result


def summary(conversion: Conversion) -> list[tuple[str, str]]:
    """Rows (property, value) of a table that describes a conversion."""
    count = sum(leaf.size for leaf in jax.tree.leaves(conversion.variables["params"]))
    record = spec_to_json(conversion.spec)
    rows = []
    for stage, part in record.items() if record["network"] == "two_stage" else [("", record)]:
        if isinstance(part, dict):
            rows += [(f"{stage} {name}".strip(), str(value)) for name, value in part.items()]
    rows.append(("parameters", f"{count:,}"))
    skipped = conversion.skipped
    shown = f"{len(skipped)}: {list_printable(skipped, 4)}" if skipped else "none"
    rows.append(("skipped entries", shown))
    parts = conversion.provenance
    for stage, part in {"": parts}.items() if "notes" in parts else parts.items():
        if part["notes"]:
            rows.append((f"{stage} notes".strip(), "; ".join(part["notes"])))
    return rows


def _sha256(path: str | Path) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _title(spec: StageSpec) -> str:
    return f"{spec.network} (ResNet-{spec.layers}, modality {spec.modality}, width {spec.width})"
