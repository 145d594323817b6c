"""Writes the coarse maps of a data set, from which the second stage is trained or evaluated."""

import time
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from fcfrnet_jax import parallel
from fcfrnet_jax.commands.data.opening import check_depth, open_data_set
from fcfrnet_jax.commands.inference import devices, maps, records
from fcfrnet_jax.commands.inference.origins import describe_origins
from fcfrnet_jax.commands.inference.records import Record
from fcfrnet_jax.commands.settings import check_choices, check_crop, named
from fcfrnet_jax.data import check, plausibility
from fcfrnet_jax.data.frame import BadFile, Frame
from fcfrnet_jax.data.kitti import layout
from fcfrnet_jax.data.sets import DataSet
from fcfrnet_jax.files import count_of
from fcfrnet_jax.geometry import Size
from fcfrnet_jax.progress import console
from fcfrnet_jax.weights import checkpoint
from fcfrnet_jax.weights.checkpoint import Model


def record_of(data: DataSet) -> Record:
    """The record of the coarse maps of a data set."""
    places = {*data.splits, "depth_selection"}
    return Record("coarse_maps.json", places, ("split", "skip_bad_frames"))


def run(config: ConfigDict, workdir: str | Path) -> dict[str, Any]:
    """Runs a config of the task coarse_maps and returns what it records.

    Writes a coarse map for each frame of a split to the workdir, in the layout that `coarse_dir` of
    evaluation and training reads; several splits may share a workdir. Coarse maps that exist are
    not computed again. `coarse_maps.json` has the settings, the number of frames and those that
    were left out.

    Raises:
      ValueError: a setting, a model or a file cannot be used, or the workdir holds something else.
      BlockingIOError: another process writes to the workdir.
      OSError: the workdir cannot be written.
    """
    maps.join_job(config)
    workdir = Path(workdir)
    with parallel.ending_together(), ExitStack() as stack:
        return write_coarse_maps(config, workdir, stack)


def write_coarse_maps(config: ConfigDict, workdir: Path, stack: ExitStack) -> dict[str, Any]:
    """Writes the coarse maps that are missing in the workdir, which is locked by `stack`."""
    started, first = time.time(), jax.process_index() == 0
    with parallel.ending_together():
        data = open_data_set(config)
        check_choices(config, {"split": data.splits}, data.name)
        check_crop(config, "crop")
        devices.check(config)
        model, origins = load_coarse(config), describe_origins(config)
        frames, missing = find_frames(config, data, model)
        record = record_of(data)
        described = records.describe(config, origins)
        if first:
            stack.enter_context(maps.locked(workdir, record))
            record.claim(workdir, described)
    names = {"digests": origins["digests"], "frames": [frame.name for frame in frames]}
    parallel.check_agreement(names, "list of frames or the model")
    path_of = partial(path_of_map, workdir, data, config.split)
    crop = tuple(config.crop)
    wanted = maps.Maps(frames, path_of, workdir, "coarse" if model else "fill", crop)
    refuse = None if config.skip_bad_frames else partial(raise_bad, crop)
    left, bad = maps.write_missing(config, model, wanted, refuse)
    result = described | records.counts(len(frames), left, bad, time.time() - started)
    result["skipped"] += records.list_bad(missing)
    if first:
        record.write(workdir, result)
        report(result, workdir / record.name)
    return result


def path_of_map(workdir: Path, data: DataSet, split: str, frame: Frame) -> Path:
    """The file of a coarse map, where `DataSet.search` finds it."""
    if data.benchmark_frames and split in layout.SELECTION_FOLDERS:
        kind = layout.KIND_FOLDERS["coarse"][1]
        folder = workdir / "depth_selection" / layout.SELECTION_FOLDERS[split] / kind
        return folder / f"{frame.name}.png"
    return workdir / split / f"{frame.name}.png"


def load_coarse(config: ConfigDict) -> Model | None:
    """The coarse network of the model; None for the classical fill."""
    if not config.checkpoint:
        return None
    with named("checkpoint"):
        return checkpoint.load_coarse(config.checkpoint)


def find_frames(
    config: ConfigDict, data: DataSet, model: Model | None
) -> tuple[list[Frame], list[BadFile]]:
    """Finds the frames of the split, and the missing files of others.

    Raises:
      ValueError: there are no frames, files are missing, or the depth of sampled frames cannot be
        right.
    """
    require = {"image"} if model and model[0].uses_image else set()
    found, bad = data.search(config.split, coarse_dir=None, require=require)
    if not (found and config.skip_bad_frames):
        check.raise_bad_files(bad, ["skip_bad_frames=True leaves such frames out"] * bool(found))
    if config.check_depth and jax.process_index() == 0:
        sampled = plausibility.sample_frames(found)
        unreadable = check.check_frames(sampled, tuple(config.crop), image_pixels=False)
        good = check.without_bad(sampled, unreadable)
        check_depth(good, tuple(config.crop), data)
    return found, bad


def raise_bad(crop: Size, frames: Sequence[Frame], known: Sequence[BadFile]) -> None:
    """Raises ValueError with the bad files of all frames, of which some are known."""
    advice = ["skip_bad_frames=True leaves such frames out"]
    check.raise_bad_files(check.check_frames(frames, crop) or known, advice)


def report(result: dict[str, Any], path: Path) -> None:
    """Prints what was written; `path` is the record."""
    output = console(stderr=True)
    output.print(records.summary(result), soft_wrap=True)
    if result["skipped"]:
        frames = count_of(len({item["name"] for item in result["skipped"]}), "frame")
        output.print(
            f"Left out {frames} with files that cannot be used; see {path}",
            soft_wrap=True,
        )
    output.print(f"Use them by --config.coarse_dir={path.parent}", soft_wrap=True)
