"""The `model.json` of a model folder: its spec, where its weights come from, and checksums."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fcfrnet_jax.files import read_json, with_digest, without_digest, write_json
from fcfrnet_jax.networks.specs import Spec, spec_from_json, spec_to_json

FILE = "model.json"
FORMAT = 2
# Version 0.1 wrote format 1: without checksums, and with the variables in `variables`.
FIRST_FORMAT, FIRST_FOLDER = 1, "variables"
# The largest part are the names of skipped entries, which may be thousands.
MAX_BYTES = 2**24
REMEDY = "restore the folder from a copy, or convert or train the model again"


@dataclass(frozen=True)
class Description:
    """The content of `model.json`.

    Attributes:
      spec: the model.
      provenance: where the weights come from, as JSON types.
      folder: name of the subfolder with the variables.
      digest: `arrays.digest` of the variables; None if version 0.1 wrote the folder.
    """

    spec: Spec
    provenance: dict[str, Any]
    folder: str
    digest: str | None


def variables_folder(digest: str, number: int) -> str:
    """The name of the n-th subfolder, from 0, for variables with a digest."""
    return f"{FIRST_FOLDER}-{digest[:12]}" + (f"-{number}" if number else "")


def is_variables_folder(name: str) -> bool:
    """Whether this package gives subfolders with variables such a name."""
    return re.fullmatch(rf"{FIRST_FOLDER}(-[0-9a-f]{{12}}(-\d+)?)?", name) is not None


def write_description(directory: Path, description: Description) -> None:
    """Writes `model.json` in the current format; it is replaced atomically.

    Raises:
      ValueError: the provenance is not JSON, or has NaN or infinity.
      OSError: the file cannot be written.
    """
    record = {
        "format": FORMAT,
        "model": spec_to_json(description.spec),
        "provenance": description.provenance,
        "variables": {"folder": description.folder, "digest": description.digest},
    }
    write_json(directory / FILE, with_digest(record))


def read_description(directory: Path) -> Description:
    """Reads the `model.json` of a folder.

    Raises:
      ValueError: the file is damaged, of a newer version, or not a model description.
      OSError: the file cannot be read.
    """
    path = directory / FILE
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise ValueError(f"{path}: has {size} bytes, expected at most {MAX_BYTES}; {REMEDY}")
    record = read_json(path, REMEDY)
    try:
        return _description(record)
    except RecursionError as error:
        raise ValueError(f"{path}: is nested too deeply; {REMEDY}") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}; {REMEDY}") from error


def _description(record: dict[str, Any]) -> Description:
    found = record.get("format")
    if type(found) is not int or found not in (FIRST_FORMAT, FORMAT):
        raise ValueError(
            f"has format {str(found)[:40]}, this version reads {FIRST_FORMAT} and {FORMAT}; "
            "update fcfrnet_jax if a newer version wrote it"
        )
    if found == FORMAT or "digest" in record:
        record = without_digest(record)
    spec = spec_from_json(record.get("model"))
    provenance = record.get("provenance")
    if not isinstance(provenance, dict):
        raise ValueError("has no object 'provenance'")
    if found == FIRST_FORMAT:
        return Description(spec, provenance, FIRST_FOLDER, None)
    variables = record.get("variables")
    if not isinstance(variables, dict):
        raise ValueError("has no object 'variables'")
    folder, digest = variables.get("folder"), variables.get("digest")
    if not (isinstance(folder, str) and isinstance(digest, str) and is_variables_folder(folder)):
        raise ValueError("does not name the folder and the checksum of its variables")
    return Description(spec, provenance, folder, digest)
