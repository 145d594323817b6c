"""What a description of a data set leaves out, perhaps without intention."""

from pathlib import Path

from fcfrnet_jax.data.own.description import Description
from fcfrnet_jax.data.own.frames import find_files, frame_name
from fcfrnet_jax.files import list_some


def describe_leftovers(root: Path, description: Description) -> list[str]:
    """Describes files without sparse depth, and frames in no split or in several.

    Args:
      root: the folder of the data set.
      description: its description.

    Raises:
      ValueError: no file matches a pattern, or two frames have the same name.
    """
    fields, places = find_files(root, description)
    sparse = places["sparse_depth"]
    notes: list[str] = []
    for kind, found in places.items():
        alone = [found[key] for key in sorted(found.keys() - sparse.keys())]
        if alone:
            notes.append(f"{len(alone)} files of {kind} have no sparse depth: {list_some(alone)}")
    in_none: list[str] = []
    in_many: list[str] = []
    for key in sorted(sparse):
        texts = dict(zip(fields, key, strict=True))
        name = frame_name(texts)
        splits = description.split_of(name, texts)
        if len(splits) != 1:
            (in_many if splits else in_none).append(name)
    for names, where in ((in_none, "no split"), (in_many, "several splits")):
        if names:
            notes.append(f"{len(names)} frames are in {where}: {list_some(names)}")
    return notes
