"""Projects the scans of whole drives to depth maps in KITTI's layout."""

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from absl import logging
from ml_collections import ConfigDict

from fcfrnet_jax import progress
from fcfrnet_jax.commands.cli.flags import name_flags
from fcfrnet_jax.commands.inference import records
from fcfrnet_jax.commands.inference.readers import Rig, parse_columns, warn_of_rig
from fcfrnet_jax.commands.inference.records import Record
from fcfrnet_jax.commands.recordings import plans
from fcfrnet_jax.commands.recordings.frames import Job, Rules, Skipped, find_faults, write_frames
from fcfrnet_jax.commands.recordings.pool import map_in_processes
from fcfrnet_jax.commands.settings import Range, check_choices, check_crop, check_ranges
from fcfrnet_jax.data.check import LOGGED
from fcfrnet_jax.evaluation.batches import reading_threads
from fcfrnet_jax.locks import lock_folder

RANGES = {
    "depth_scale": Range(0.0),
    "period": Range(0.0, above=True),
    "ground_truth_scans": Range(0),
    "workers": Range(0),
}
SPLITS = ("train", "val")
CHOICES = {
    "split": SPLITS,
    "compensate": ("auto", "oxts", "poses", "none"),
    "poses_of": ("camera", "scanner"),
}
RECORD = Record("project.json", SPLITS, ("split", "drives", "workers", "check_depth"))
# Consecutive frames that a process works on, so that it reads their scans once.
TOGETHER = 8
# Scans that are projected before anything is written.
SAMPLES = 5


def run(config: ConfigDict, workdir: str | Path) -> dict[str, Any]:
    """Runs a config of the task project and returns what it records.

    Writes sparse depth and possibly ground truth to the workdir, in the layout of KITTI's drives,
    links to the images, and the calibration. `project.json` has the settings, the number of frames
    and those that were skipped, with the reason. Frames whose files all exist are not made again.

    Raises:
      ValueError: a setting or a file cannot be used, no frame can be made, or the workdir holds
        something else.
      BlockingIOError: another process writes to the workdir.
      OSError: the workdir cannot be written.
    """
    check_config(config)
    workdir = Path(workdir)
    started = time.time()
    drives = plans.find_drives(config, workdir)
    check_several(config, [drive.name for drive in drives])
    for drive in drives:
        drive.read_motion()
    first = next(iter(drives[0].calibrations.values()))
    rig = Rig(first, Path(config.calibration or config.data_dir))
    warn_of_rig(
        drives[0].drive.scans[0], parse_columns(config.columns), rig, first.size or drives[0].size
    )
    with lock_folder(workdir, partial(RECORD.clean, workdir)):
        record = records.describe(config, {"digests": {}})
        RECORD.claim(workdir, record)
        total = sum(len(drive.frames) for drive in drives)
        left = {drive.name: drive.missing() for drive in drives}
        count = sum(map(len, left.values()))
        if count == total:
            check_samples(config, drives, left)
        for drive in drives:
            drive.write_shared()
        parts = split_jobs(drives, left)
        skipped = write_parts(config, parts, total, count)
        if count == total and len(skipped) == total:
            raise ValueError(f"{skipped[0].path}: {skipped[0].reason}")
        result = counts(total, count, skipped, time.time() - started)
        RECORD.write(workdir, record | result)
    report(result, workdir)
    return record | result


def check_config(config: ConfigDict) -> None:
    """Raises ValueError for an invalid setting."""
    check_choices(config, CHOICES)
    check_ranges(config, RANGES)
    parse_columns(config.columns)
    check_crop(config, "size")
    if config.ground_truth_scans and config.ground_truth_scans % 2 == 0:
        raise ValueError(
            "--config.ground_truth_scans must be odd, with as many scans before the image as after "
            f"it, or 0, got {config.ground_truth_scans}"
        )
    if bool(config.data_dir) == bool(config.scans):
        given = "both are" if config.scans else "neither is"
        raise ValueError(
            "give either --config.data_dir, KITTI's raw data, or --config.scans, a folder of "
            f"scans; {given} given"
        )
    if config.scans and not config.calibration:
        raise ValueError(
            "--config.calibration is empty, but scans need the calibration of the camera: KITTI, "
            "ROS or JSON, see docs/sensors.md"
        )
    unused = [name for name in ("calibration", "extrinsics", "image") if config[name]]
    if config.data_dir and unused:
        raise ValueError(
            f"--config.{unused[0]}={config[unused[0]]} is for --config.scans: KITTI's raw data "
            "have their own calibration and images"
        )
    if config.compensate == "poses" and not config.poses:
        raise ValueError("--config.compensate=poses needs --config.poses, the poses of the scans")
    if config.poses and not config.ground_truth_scans and config.compensate != "poses":
        raise ValueError(
            f"--config.poses={config.poses} would not be used: they are for ground truth, see "
            "--config.ground_truth_scans, and for --config.compensate=poses"
        )


def check_several(config: ConfigDict, names: Sequence[str]) -> None:
    """Raises ValueError if several drives would have the same poses or images."""
    if len(names) < 2:
        return
    for setting, place in (("poses", "{}.txt"), ("image", "{}")):
        given = Path(config[setting])
        missing = [name for name in names if not (given / place.format(name)).exists()]
        if config[setting] and missing:
            raise ValueError(
                f"--config.{setting}={given} is not for each of the {len(names)} drives, there is "
                f"no {place.format(missing[0])} in it; give a folder with {place.format('DRIVE')} "
                "for each drive, or choose one of them by --config.drives"
            )


def split_jobs(
    drives: Sequence[plans.DrivePlan], left: dict[str, list[int]]
) -> Iterator[list[Job]]:
    """The frames to make, some consecutive ones at a time."""
    for drive in drives:
        numbers = left[drive.name]
        for start in range(0, len(numbers), TOGETHER):
            yield [drive.job(number) for number in numbers[start : start + TOGETHER]]


def write_parts(
    config: ConfigDict, parts: Iterator[list[Job]], total: int, count: int
) -> list[Skipped]:
    """Writes frames in processes.

    Args:
      config: the config.
      parts: the frames to make.
      total, count: the number of all frames, and of those to make.

    Returns:
      The frames that were skipped.

    Raises:
      ValueError: the oxts files of a drive are damaged.
      OSError: a file cannot be written.
    """
    rules = make_rules(config)
    # A process takes a second to start.
    workers = min(config.workers or reading_threads(), -(-count // TOGETHER) or 1)
    skipped: list[Skipped] = []
    with progress.frames_progress(total, total - count, label="Projecting") as advance:
        results = map_in_processes(partial(write_counted, rules), parts, workers)
        for done, bad in results:
            bad = [replace(item, reason=name_flags(item.reason)) for item in bad]
            for item in bad[: max(0, LOGGED - len(skipped))]:
                logging.warning("Skipped %s: %s: %s", item.name, item.path, item.reason)
            skipped += bad
            advance(done)
    return skipped


def make_rules(config: ConfigDict) -> Rules:
    """How scans become depth maps."""
    return Rules(
        parse_columns(config.columns),
        config.period,
        config.clockwise,
        config.remove_hidden,
        config.depth_scale or 1.0,
        config.check_depth,
    )


def check_samples(
    config: ConfigDict, drives: Sequence[plans.DrivePlan], left: dict[str, list[int]]
) -> None:
    """Projects a few scans, spread over the drives, before anything is written.

    Raises:
      ValueError: none can be used.
    """
    numbers = [(drive, number) for drive in drives for number in left[drive.name]]
    jobs = [drive.job(number) for drive, number in numbers[:: -(-len(numbers) // SAMPLES) or 1]]
    faults = find_faults(make_rules(config), jobs)
    if jobs and len(faults) == len(jobs):
        others = f" (none of {len(jobs)} sampled scans can be used)" if len(jobs) > 1 else ""
        raise ValueError(f"{faults[0].path}: {faults[0].reason}{others}")


def write_counted(rules: Rules, jobs: list[Job]) -> tuple[int, list[Skipped]]:
    """`write_frames` with the number of frames."""
    return len(jobs), write_frames(rules, jobs)


def counts(total: int, count: int, skipped: Sequence[Skipped], seconds: float) -> dict[str, Any]:
    """What a run has done, as JSON types."""
    written = count - len(skipped)
    return {
        "frames": total,
        "existed": total - count,
        "written": written,
        "seconds": round(seconds, 3),
        "frames_per_s": round(written / max(seconds, 1e-9), 3),
        "skipped": [vars(item) for item in skipped],
    }


def report(result: dict[str, Any], workdir: Path) -> None:
    """Prints what was written and skipped."""
    output = progress.console(stderr=True)
    text = f"Projected {result['written']} of {result['frames']} frames"
    if result["existed"]:
        text += f"; {result['existed']} existed before"
    if result["written"] > 1:
        text += f", {result['frames_per_s']:.3g} frames/s"
    output.print(text, soft_wrap=True)
    if result["skipped"]:
        output.print(
            f"Skipped {len(result['skipped'])} frames with files that cannot be used; see "
            f"{workdir / RECORD.name}",
            soft_wrap=True,
        )
    output.print(f"Use them by --config.data_dir={os.fspath(workdir)}", soft_wrap=True)
