"""Builds the shards of KITTI's depth completion benchmark."""

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from ml_collections import ConfigDict
from rich.table import Table

from fcfrnet_jax.commands.settings import named
from fcfrnet_jax.data import nyu, shards
from fcfrnet_jax.data.kitti.archives import open_source
from fcfrnet_jax.data.own import description
from fcfrnet_jax.data.shards.build import changed_shards
from fcfrnet_jax.data.shards.plan import EXPECTED, plan_splits
from fcfrnet_jax.files import list_some, remove
from fcfrnet_jax.locks import lock_folder
from fcfrnet_jax.progress import console
from fcfrnet_jax.streets import sample
from fcfrnet_jax.system_errors import check_text

if TYPE_CHECKING:
    from fcfrnet_jax.data.tfds_builder import KittiDepthCompletion


def run(config: ConfigDict, workdir: str | Path) -> None:
    """Builds the shards in `workdir`, or the rest of them, and prints what they contain.

    Raises:
      ValueError: the source is not KITTI's, the workdir has other shards, or the source has changed
        since its shards were built.
      BlockingIOError: another process writes to the workdir.
      OSError: the workdir is not writable.
    """
    # Paths may not depend on the working directory, because TFDS stores them.
    folder = Path(workdir).expanduser().absolute()
    source = (Path(config.data_dir) if config.data_dir else sample.sample_dir()).absolute()
    with named("data_dir"):
        _check_source(source)
    _check_target(folder, source)
    check_text(folder)
    with lock_folder(folder):
        # The benchmark has 283,000 files, which takes a while.
        note = console(stderr=True)
        note.print(f"Listing the files in {source}", soft_wrap=True)
        # Imported here because TFDS takes seconds.
        from fcfrnet_jax.data.tfds_builder import KittiDepthCompletion, build

        builder = KittiDepthCompletion(data_dir=folder)
        target = Path(builder.data_path)
        if target.exists():
            _check_unchanged(source, target, builder.building_dir)
            # Both are left by a build that was killed at its end.
            remove(builder.building_dir)
            builder.remove_incomplete()
            outcome = f"{target} is complete already; delete it to build it again"
        else:
            with named("data_dir"):
                build(builder, source)
            outcome = f"Wrote {target} from {source}"
    _show(builder)
    console().print(outcome, soft_wrap=True)


def _check_source(folder: Path) -> None:
    """Raises ValueError if a folder obviously does not have the files of the benchmark."""
    supported = "shards can be built from KITTI's depth completion benchmark only"
    expected = "expected the folder with KITTI's archives"
    if folder.is_file():
        raise ValueError(f"{folder} is a file, {expected}")
    if not folder.is_dir():
        raise ValueError(f"{folder}: there is no such folder")
    if not any(folder.iterdir()):
        raise ValueError(f"{folder} is empty, {expected}")
    if (folder / description.FILE).is_file():
        raise ValueError(
            f"{folder} is a data set of its own ({description.FILE}), which is read as it is; "
            f"{supported}"
        )
    if nyu.is_stored_in(folder):
        raise ValueError(f"{folder} has NYU Depth v2, which is read as it is; {supported}")
    if shards.shard_folder(folder) is not None:
        raise ValueError(f"{folder} has shards already, {expected}")


def _check_target(folder: Path, source: Path) -> None:
    """Raises ValueError if a folder is the source, or has shards where TFDS does not put them."""
    if folder.resolve() == source.resolve():
        raise ValueError(f"--workdir={folder} is --config.data_dir, too; choose another --workdir")
    found = shards.shard_folder(folder)
    if found is not None and found.parents[1] != folder:
        raise ValueError(
            f"--workdir={folder}: {found} has shards, which would be built in "
            f"{folder / 'kitti_depth_completion'}; choose another --workdir"
        )


def _check_unchanged(source_dir: Path, target: Path, building: Path) -> None:
    """Raises ValueError if the shards of a complete build are not those of the source.

    Args:
      source_dir: the source.
      target: the folder of the shards.
      building: where a build that was stopped has its shards.
    """
    with ExitStack() as stack:
        with named("data_dir"):
            source = stack.enter_context(open_source(source_dir))
            plans = plan_splits(source)
        changed, total = changed_shards(plans, source, target)
    if changed:
        raise ValueError(
            f"{len(changed)} of the {total} shards in {target} are missing, damaged, or built from "
            f"other files than {source_dir} has now ({list_some(changed)}); rename the folder to "
            f"{building.name} and repeat the command to build only those, or delete it to build "
            "all"
        )


def _show(builder: "KittiDepthCompletion") -> None:
    """Prints a table of what was built, and what no frame has."""
    output = console()
    table = Table("KITTI", *EXPECTED)
    found, splits = builder.info.metadata, builder.info.splits
    stored = {split: splits[split] for split in EXPECTED if split in splits}
    sizes = {split: f"{stored[split].num_bytes / 1e9:,.3f}" for split in stored}
    counts = {
        "frames": {split: stored[split].num_examples for split in stored},
        "frames of the benchmark": EXPECTED,
        "missing files": {split: found[split]["missing_files"] for split in stored},
        "damaged or empty files": {split: found[split]["damaged_files"] for split in stored},
    }
    for heading, row in counts.items():
        table.add_row(heading, *(f"{row.get(split, 0):,}" for split in EXPECTED))
    table.add_row("size (GB)", *(sizes.get(split, "0") for split in EXPECTED))
    output.print(table)
    for split in stored:
        if found[split]["absent"]:
            output.print(f"{split}: no frame has {list_some(found[split]['absent'])}.")
    if any(
        sum(found[split][f"{kind}_files"] for split in stored) for kind in ("missing", "damaged")
    ):
        output.print("--config=check_data with these shards names the files.", soft_wrap=True)
