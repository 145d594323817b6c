"""What a description of a data set leaves out, perhaps without intention."""

from fcfrnet_jax.data.own.listing import Listing
from fcfrnet_jax.files import count_of, list_some


def describe_leftovers(listing: Listing) -> list[str]:
    """Describes files without sparse depth, frames in no split or several, splits without truth.

    Args:
      listing: the files of the data set.

    Raises:
      ValueError: no file matches a pattern, or two frames have the same name.
    """
    sparse = listing.files["sparse_depth"]
    notes: list[str] = []
    for kind, found in listing.files.items():
        alone = [found[key] for key in sorted(found.keys() - sparse.keys())]
        if alone:
            files = count_of(len(alone), "file")
            notes.append(f"{files} of {kind} without sparse depth: {list_some(alone)}")
    in_none: list[str] = []
    in_many: list[str] = []
    for key in sorted(sparse):
        splits = listing.splits_of(key)
        if len(splits) != 1:
            (in_many if splits else in_none).append(listing.name_of(key))
    for names, where in ((in_none, "no split"), (in_many, "several splits")):
        if names:
            notes.append(f"{count_of(len(names), 'frame')} in {where}: {list_some(names)}")
    if listing.description.ground_truth:
        without = [split for split in listing.splits if split not in listing.truth_splits]
        notes += [f"no frame of {split} has ground truth" for split in without]
    return notes
