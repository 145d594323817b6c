"""Reads the arrays in a folder that orbax has written, and computes their digest."""

import errno
import hashlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import tensorstore as ts

from fcfrnet_jax.files import differing, list_some
from fcfrnet_jax.system_errors import check_text, system_error

Arrays = dict[str, np.ndarray]
# The dtype and the shape of every array, as text.
Types = dict[str, str]
# The name of an array's metadata, and tensorstore's name of the format.
_FORMATS = {".zarray": "zarr", "zarr.json": "zarr3"}
_MANIFEST = "manifest.ocdbt"


def by_name(tree: Any) -> dict[str, Any]:
    """Returns the leaves of a tree by their path, such as `params.conv1.kernel`.

    Tuples and dictionaries are treated alike, independent of how orbax stores them.
    """
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in leaves}


def types(arrays: Mapping[str, Any]) -> Types:
    """Describes arrays, or anything that has a dtype and a shape."""
    return {name: f"{leaf.dtype.name} {tuple(leaf.shape)}" for name, leaf in arrays.items()}


def differences(found: Types, wanted: Types) -> str:
    """Names the arrays that differ in dtype or shape; empty if there are none."""
    return list_some(
        [
            f"{name} is {found.get(name, 'missing')}, expected {wanted.get(name, 'nothing')}"
            for name in differing(found, wanted)
        ]
    )


def digest(arrays: Mapping[str, np.ndarray]) -> str:
    """Returns a checksum of the names, dtypes, shapes and bytes of arrays: BLAKE2b, 128 bits."""
    found = hashlib.blake2b(digest_size=16)
    for name, array in sorted(arrays.items()):
        found.update(f"{name} {array.dtype} {array.shape}".encode())
        found.update(np.ascontiguousarray(array).view(np.uint8).data if array.size else b"")
    return found.hexdigest()


def read_arrays(folder: Path, check: Callable[[Types], None]) -> Arrays:
    """Reads all arrays of a folder that `orbax.checkpoint.StandardCheckpointer` has written.

    They are read with tensorstore. Orbax prints tracebacks of its event loop if an array is
    damaged, and takes an empty folder for a checkpoint without arrays.

    Args:
      folder: the folder.
      check: called with the types of the arrays before they are read; raises ValueError to refuse
        them.

    Returns:
      The arrays by name, as in `by_name`.

    Raises:
      ValueError: the folder is missing, incomplete or damaged. The message begins with its path.
      OSError: the system does not allow or fails to read it.
    """
    check_text(folder)
    if not folder.is_dir():
        found = "is a file, expected a folder" if folder.exists() else "is missing"
        raise ValueError(f"{folder}: {found}")
    if not (folder / _MANIFEST).is_file():
        raise ValueError(f"{folder}: has no {_MANIFEST}, so it holds no arrays")
    try:
        stores = _open(folder)
    except Exception as error:  # tensorstore raises various types
        raise _failure(folder, "the index of its arrays is damaged", error) from error
    check(types(stores))
    reads = {name: store.read() for name, store in stores.items()}
    arrays = {}
    for name, read in reads.items():
        try:
            arrays[name] = np.asarray(read.result())
        except Exception as error:  # as above
            raise _failure(folder, f"the array {name} is damaged or missing", error) from error
    return arrays


def _failure(folder: Path, reason: str, error: Exception) -> Exception:
    """An intact file that cannot be read at the moment must not be taken for a damaged one."""
    code = system_error(error)
    if code in (None, errno.ENOENT):
        return ValueError(f"{folder}: {reason}")
    return OSError(code, os.strerror(code), str(folder))


def _open(folder: Path) -> dict[str, ts.TensorStore]:
    base = {"driver": "file", "path": f"{folder.absolute()}/"}
    database = {"driver": "ocdbt", "base": base}
    keys = [key.decode() for key in ts.KvStore.open(database).result().list().result()]
    opened = {}
    for key in keys:
        name, _, kind = key.rpartition("/")
        if kind in _FORMATS:
            stored = {**database, "path": f"{name}/"}
            opened[name] = ts.open({"driver": _FORMATS[kind], "kvstore": stored}, open=True)
    return {name: store.result() for name, store in opened.items()}
