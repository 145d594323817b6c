"""Predicts KITTI's test frames and packs a submission for its server, or tells what is wrong."""

import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from fcfrnet_jax import parallel
from fcfrnet_jax.commands.inference import devices, maps, models, records
from fcfrnet_jax.commands.inference.origins import describe_origins
from fcfrnet_jax.commands.inference.records import Record
from fcfrnet_jax.commands.settings import named
from fcfrnet_jax.data import check, plausibility, sets
from fcfrnet_jax.data.frame import BadFile, Frame
from fcfrnet_jax.data.kitti.submission import (
    Benchmark,
    Defect,
    check_folder,
    check_zip,
    describe,
    write_zip,
)
from fcfrnet_jax.networks.specs import CoarseToFineSpec
from fcfrnet_jax.progress import console
from fcfrnet_jax.weights import checkpoint
from fcfrnet_jax.weights.checkpoint import Model

SPLIT = "test_completion"
MAPS, ARCHIVE = "predictions", "submission.zip"
RECORD = Record("submit.json", {MAPS}, ("predictions",))


def run(
    config: ConfigDict, workdir: str | Path, benchmark: Benchmark | None = None
) -> dict[str, Any] | None:
    """Runs a config of the task submit and returns what it records, or None if nothing is run.

    Writes `predictions/`, `submission.zip` and `submit.json` to the workdir. Depth maps that exist
    are not predicted again. With `config.predictions`, an archive is checked, or the depth maps of
    a folder are checked and packed; nothing is predicted.

    Args:
      config: the config.
      workdir: the folder to write to.
      benchmark: what the server expects; None for 1000 depth maps of 1216x352 pixels.

    Raises:
      ValueError: a setting, a model or a file cannot be used, or the server would not accept the
        depth maps; the message lists every kind of defect.
      BlockingIOError: another process writes to the workdir.
      OSError: the workdir cannot be written.
    """
    benchmark, workdir = benchmark or Benchmark(), Path(workdir)
    if config.predictions:
        pack_existing(Path(config.predictions), workdir, benchmark)
        return None
    maps.join_job(config)
    with parallel.ending_together(), ExitStack() as stack:
        return predict(config, workdir, benchmark, stack)


def pack_existing(source: Path, workdir: Path, benchmark: Benchmark) -> None:
    """Checks an archive, or checks the depth maps of a folder and packs them."""
    if not source.exists():
        raise ValueError(f"--config.predictions={source}: there is no such file or folder")
    if source.is_dir():
        refuse(check_folder(source, benchmark), source)
        pack(source, workdir, benchmark)
    else:
        refuse(check_zip(source, benchmark), source)
        _say(f"{source} is a valid submission with {benchmark.frames} depth maps")


def predict(
    config: ConfigDict, workdir: Path, benchmark: Benchmark, stack: ExitStack
) -> dict[str, Any]:
    """Predicts what is missing in the workdir, which is locked by `stack`, and packs it."""
    started, first = time.time(), jax.process_index() == 0
    with parallel.ending_together():
        devices.check(config)
        model, origins = models.load_model(config), describe_origins(config)
        model = fine_alone(config, model)
        frames = find_frames(config, model, benchmark)
        described = records.describe(config, origins)
        if first:
            stack.enter_context(maps.locked(workdir, RECORD))
            RECORD.claim(workdir, described)
    names = {"digests": origins["digests"], "frames": [frame.name for frame in frames]}
    parallel.check_agreement(names, "list of frames or the model")
    folder = workdir / MAPS
    wanted = maps.Maps(frames, lambda frame: folder / f"{frame.name}.png", workdir)
    left, _ = maps.write_missing(config, model, wanted, raise_bad)
    result = described | records.counts(len(frames), left, [], time.time() - started)
    with parallel.ending_together():
        if first:
            refuse(check_folder(folder, benchmark), folder)
            pack(folder, workdir, benchmark)
            RECORD.write(workdir, result)
            _say(records.summary(result))
    return result


def fine_alone(config: ConfigDict, model: Model | None) -> Model | None:
    """The fine network of the model if there are stored coarse maps, else the model."""
    if not config.coarse_dir:
        return model
    if model is None or config.coarse_checkpoint:
        raise ValueError(
            f"--config.coarse_dir={config.coarse_dir} needs a fine or a two-stage model in "
            "--config.checkpoint, and no --config.coarse_checkpoint"
        )
    return model if isinstance(model[0], CoarseToFineSpec) else checkpoint.take_stage(model, "fine")


def find_frames(config: ConfigDict, model: Model | None, benchmark: Benchmark) -> list[Frame]:
    """Finds the test frames.

    Raises:
      ValueError: files are missing, there are not as many frames as the server expects, or the
        depth of sampled frames cannot be right.
    """
    if not config.data_dir:
        raise ValueError(
            "--config.data_dir is empty; give the folder with KITTI's "
            "test_depth_completion_anonymous"
        )
    require = {"image"} if model and model[0].uses_image else set()
    coarse_dir = config.coarse_dir or None
    with named("data_dir"):
        data = sets.open_folder(Path(config.data_dir).expanduser())
    if not data.benchmark_frames:
        raise ValueError(
            f"--config.data_dir={config.data_dir} has {data.name}, but KITTI's test frames are "
            "submitted"
        )
    found, bad = data.search(SPLIT, coarse_dir=coarse_dir, require=require)
    check.raise_bad_files(bad)
    expected = {Path(name).stem for name in benchmark.names()}
    missing = sorted(expected - {frame.name for frame in found})
    extra = sorted({frame.name for frame in found} - expected)
    if missing or extra:
        defects = [Defect("missing frame", name) for name in missing]
        defects += [Defect("frame that the server does not expect", name) for name in extra]
        raise ValueError(
            f"{config.data_dir} has {len(found)} test frames, expected {benchmark.frames}: "
            f"{describe(defects)}"
        )
    if config.check_depth:
        plausibility.check_depth(plausibility.sample_frames(found), (0, 0))
    return found


def raise_bad(frames: Sequence[Frame], known: Sequence[BadFile]) -> None:
    """Raises ValueError with the bad files of all frames, of which some are known."""
    check.raise_bad_files(check.check_frames(frames, (0, 0)) or known)


def refuse(defects: list[Defect], source: Path) -> None:
    """Raises ValueError if there are defects."""
    if defects:
        raise ValueError(f"{source}: KITTI's server would not accept this: {describe(defects)}")


def pack(folder: Path, workdir: Path, benchmark: Benchmark) -> None:
    """Packs the depth maps of a folder and checks the archive."""
    archive = workdir / ARCHIVE
    write_zip(folder, archive, benchmark)
    refuse(check_zip(archive, benchmark), archive)
    _say(f"Wrote {archive}, a valid submission with {benchmark.frames} depth maps")


def _say(text: str) -> None:
    console(stderr=True).print(text, soft_wrap=True)
