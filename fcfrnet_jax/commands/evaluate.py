"""Evaluates depth maps on a KITTI split: metrics, predictions and panels."""

import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from fcfrnet_jax import parallel
from fcfrnet_jax.commands import dataset, tables
from fcfrnet_jax.commands.data import opening
from fcfrnet_jax.commands.inference import devices, models
from fcfrnet_jax.commands.inference.origins import describe_origins
from fcfrnet_jax.commands.jobs import joining
from fcfrnet_jax.commands.output import results, run_record, shares, summary
from fcfrnet_jax.commands.output.shares import Row, shown_progress, watched
from fcfrnet_jax.commands.settings import (
    Range,
    check_choices,
    check_crop,
    check_ranges,
)
from fcfrnet_jax.data import check
from fcfrnet_jax.data.frame import BadFile, Frame
from fcfrnet_jax.data.images import write_depth, write_image
from fcfrnet_jax.data.sets import DataSet
from fcfrnet_jax.evaluation.depth_maps import make_eval_step
from fcfrnet_jax.evaluation.frames import Arrays, FrameMetrics, measure_frames
from fcfrnet_jax.networks import select
from fcfrnet_jax.networks.specs import CoarseToFineSpec, SparseToCoarseSpec, Spec
from fcfrnet_jax.weights import checkpoint
from fcfrnet_jax.weights.checkpoint import Model

COARSE_SOURCES = ("auto", "network", "files", "fill")


def run(config: ConfigDict, workdir: str | Path) -> dict[str, Any]:
    """Runs a config of the task evaluate and returns what it writes to `metrics.json`.

    Writes `metrics.json`, `predictions/` with a KITTI depth PNG for every frame, named as its
    image, and, if `panels` is not 0, `panels/` to the workdir. They appear together when the run is
    complete and replace those of an earlier run.

    Raises:
      ValueError: a setting, a checkpoint or a data file cannot be used, or the workdir holds files
        that are not results and would be replaced.
      BlockingIOError: another process writes to the workdir.
      OSError: the workdir cannot be written.
    """
    joining.join(config)
    parallel.end_on_sigterm()
    workdir, first = Path(workdir), jax.process_index() == 0
    with parallel.ending_together(), ExitStack() as stack:
        with parallel.ending_together():
            data = check_config(config)
            model = models.load_model(config)
            origins = describe_origins(config)
            source = coarse_source(config, model[0] if model else None, data)
            if model and source in ("files", "fill"):
                model = checkpoint.take_stage(model, "fine")
            # The first process locks the workdir and replaces the results.
            folder = results.new_folder(workdir)
            if first:
                stack.enter_context(results.new_results(workdir))
            started = time.time()
            frames, missing = find_frames(config, data, model, source)
        names = {"digests": origins["digests"], "frames": [frame.name for frame in frames]}
        parallel.check_agreement(names, "list of frames or the model")
        parallel.check_shared_folder(folder)
        with parallel.ending_together():
            own = evaluate_frames(config, data, model, frames, folder)
        rows, bad = shares.gather(frames, *own)
        bad = missing + bad
        if not rows:
            check.raise_bad_files(bad)
        result = run_record.describe(started) | {"batch_size": devices.batch_size(config)} | origins
        result |= summary.summarise(config, source, rows, frames[: config.panels], bad)
        if first:
            check.log_left_out(bad)
            results.write_metrics(folder, result)
    if first:
        tables.print_metrics(result, workdir, data.metrics)
    return result


def check_config(config: ConfigDict) -> DataSet:
    """Returns the data set. Raises ValueError for an invalid setting, before a model is loaded."""
    if config.data_dir and not Path(config.data_dir).expanduser().is_dir():
        # The splits of the data set are not known.
        raise ValueError(f"--config.data_dir={config.data_dir}: there is no such folder")
    data = opening.open_data_set(config)
    check_choices(config, {"split": data.splits}, data.name)
    check_choices(config, {"coarse_source": COARSE_SOURCES})
    check_ranges(config, {"panels": Range(0), "points": Range(1)})
    check_crop(config, "crop")
    devices.check(config)
    return data


def coarse_source(config: ConfigDict, spec: Spec | None, data: DataSet) -> str | None:
    """Determines where the coarse depth comes from.

    Args:
      config: its `coarse_source` is `network`, `files`, `fill` or `auto`: the stored maps if there
        is a `coarse_dir`, else the first of the three that is available.
      spec: of the model, or None for the fill alone.
      data: the data set.

    Returns:
      `network`, `files` or `fill`, or None if there is no coarse depth. With `files` and `fill`,
      only the fine network of a two-stage model runs.

    Raises:
      ValueError: the source is not available or leaves another setting unused.
    """
    source = config.coarse_source
    if config.coarse_dir and source not in ("auto", "files"):
        raise ValueError(f"--config.coarse_source={source} leaves --config.coarse_dir unused")
    has_network = spec is not None and not isinstance(spec, CoarseToFineSpec)
    if source == "network" and not has_network:
        raise ValueError(
            "--config.coarse_source=network needs a coarse network: give --config.coarse_checkpoint"
        )
    if source == "auto":
        stored = config.coarse_dir or (not has_network and data.stores_coarse(config.split))
        source = "files" if stored else "network" if has_network else "fill"
    if source in ("files", "fill") and has_network:
        _check_fine_alone(config, spec)
    return source if spec is not None or source != "fill" else None


def _check_fine_alone(config: ConfigDict, spec: Spec | None) -> None:
    setting = "coarse_dir" if config.coarse_dir else "coarse_source"
    given = f"--config.{setting}={config[setting]}"
    if config.coarse_checkpoint:
        raise ValueError(
            f"{given} leaves --config.coarse_checkpoint={config.coarse_checkpoint} unused; give "
            "one of them"
        )
    if isinstance(spec, SparseToCoarseSpec):
        raise ValueError(
            f"{given} needs a fine network, but --config.checkpoint={config.checkpoint} holds a "
            "coarse network only; give a fine or a two-stage model"
        )


def find_frames(
    config: ConfigDict, data: DataSet, model: Model | None, source: str | None
) -> tuple[list[Frame], list[BadFile]]:
    """Finds the frames of the split, with every file that the evaluation reads.

    Args:
      config: the config.
      data: its data set.
      model: the model that runs, or None for the fill alone.
      source: of the coarse depth, from `coarse_source`.

    Returns:
      The frames to evaluate, and those left out with the reason.

    Raises:
      ValueError: there are no frames, or files are missing or cannot be used.
    """
    require = {"image"} if model and model[0].uses_image else set()
    if config.split in data.truth_splits:
        require.add("ground_truth")
    if source == "files":
        require.add("coarse")
    return dataset.find_frames_to_read(config, data, config.split, require)


def evaluate_frames(
    config: ConfigDict, data: DataSet, model: Model | None, frames: list[Frame], folder: Path
) -> tuple[list[Row], list[BadFile]]:
    """Measures the share of this process and writes predictions and panels into `folder`.

    Args:
      config: the config.
      data: its data set.
      model: the model, or None for the fill alone.
      frames: the frames of all processes.
      folder: receives the files.

    Returns:
      For every frame of the share that can be used, its name and the metrics of its depth maps,
      which are empty in a split without ground truth; and the bad files of the others.
    """
    share = frames[jax.process_index() :: jax.process_count()]
    if not share:
        return [], []
    with_panel = {frame.name for frame in frames[: config.panels]}
    reads_images = model is not None and model[0].uses_image
    images = {} if reads_images else dataset.panel_images(config, data, config.split, frames)

    def write(frame: Frame, example: Arrays, maps: Arrays, metrics: FrameMetrics) -> None:
        del example, metrics
        best = maps[list(maps)[-1]]
        write_depth(folder / results.PREDICTIONS / f"{frame.name}.png", best)

    def draw(frame: Frame, example: Arrays, maps: Arrays, metrics: FrameMetrics) -> None:
        if frame.name in with_panel:
            path = folder / results.PANELS / results.panel_name(frame.name)
            write_image(path, dataset.panel(data, frame, example, maps, metrics, images))

    network, variables, options = (
        select.for_prediction(*model, jnp.dtype(config.dtype)) if model else (None, {}, {})
    )
    raise_bad = None if config.skip_bad_frames else partial(dataset.raise_bad_files, config)
    with (
        watched(share, folder, crop=tuple(config.crop), raise_bad=raise_bad) as watch,
        shown_progress(watch, len(share)) as advance,
    ):
        measured = measure_frames(
            make_eval_step(network, options, data.limits),
            parallel.replicate(variables, jax.local_devices()),
            share,
            batch_size=devices.batch_size(config) // jax.process_count(),
            crop=tuple(config.crop),
            visit=write,
            draw=draw,
            advance=advance,
            leave_out=watch.leave_out,
        )
    pairs = zip(check.without_bad(share, watch.bad), measured, strict=True)
    return [{"name": frame.name, "metrics": metrics} for frame, metrics in pairs], watch.bad
