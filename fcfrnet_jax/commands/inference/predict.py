"""Predicts dense depth for one image, or for the images of a folder."""

import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from absl import logging
from ml_collections import ConfigDict

from fcfrnet_jax import parallel, progress
from fcfrnet_jax.commands.inference import devices, models, records
from fcfrnet_jax.commands.inference.origins import describe_origins
from fcfrnet_jax.commands.inference.readers import DepthReader, ScanReader, parse_columns
from fcfrnet_jax.commands.inference.records import Record
from fcfrnet_jax.commands.inference.rigs import find_imu
from fcfrnet_jax.commands.inference.sources import Source, check_outside, find_source
from fcfrnet_jax.commands.inference.steps import EXPECTED_ERROR, make_step
from fcfrnet_jax.commands.settings import Range, check_choices, check_ranges, named
from fcfrnet_jax.data import plausibility
from fcfrnet_jax.data.check import LOGGED
from fcfrnet_jax.data.frame import BadFile, Frame
from fcfrnet_jax.data.own import inputs
from fcfrnet_jax.evaluation.frames import Arrays, FrameMetrics, measure_frames
from fcfrnet_jax.locks import lock_folder
from fcfrnet_jax.networks import select
from fcfrnet_jax.pictures.viewer import check_rerun
from fcfrnet_jax.prediction.depth_check import depth_limits
from fcfrnet_jax.prediction.estimate import DepthEstimate, check_confidence
from fcfrnet_jax.prediction.outputs import CLOUDS, PLACES, CloudLimits, Outputs, Prediction
from fcfrnet_jax.prediction.recordings import lidar_from_camera
from fcfrnet_jax.weights.checkpoint import Model

RANGES = {
    "depth_scale": Range(0.0),
    "max_depth": Range(0.0),
    # Depths up to 6.5 m at least, in steps of 1 m at most.
    "png_scale": Range(1.0, 10000.0),
    "colour_max_depth": Range(0.0),
    "min_confidence": Range(0.0, 1.0),
    "cloud.max_depth": Range(0.0, above=True),
    "cloud.max_jump": Range(0.0, above=True),
}
RECORD = Record(
    "predict.json",
    {folder for folder, _ in PLACES.values()},
    ("outputs",),
)


def run(config: ConfigDict, workdir: str | Path) -> dict[str, Any]:
    """Runs a config of the task predict and returns what it records.

    Writes a folder for each kind of output to the workdir, see `prediction.outputs`. For folders it
    also writes `predict.json`: the settings, the number of frames and those that were skipped, with
    the reason. Frames whose files all exist are not predicted again.

    Raises:
      ValueError: a setting or a model cannot be used, no frame can be read, the depth cannot be
        right, or the workdir holds the predictions of other settings.
      BlockingIOError: another process writes to the workdir.
      OSError: the workdir cannot be written.
    """
    outputs = check_config(config, Path(workdir))
    check_outside(config, outputs.folder)
    source = find_source(config)
    model = models.load_model(config)
    check_outputs(config, outputs, model, source)
    outputs = replace(outputs, colour_max_depth=models.colour_range(config.colour_max_depth, model))
    read = make_reader(config, source, model)
    started = time.time()
    with lock_folder(outputs.folder, partial(RECORD.clean, outputs.folder)):
        record = records.describe(config, describe_origins(config))
        record["settings"]["colour_max_depth"] = outputs.colour_max_depth
        if source.is_folder:
            RECORD.claim(outputs.folder, record)
        else:
            RECORD.check_unused(outputs.folder)
            check_inputs_kept(source.frames[0], outputs)
        left = [f for f in source.frames if not (source.is_folder and outputs.complete(f.name))]
        skipped = predict_frames(config, model, source, left, outputs, read) if left else []
        if len(skipped) == len(source.frames):
            raise ValueError(f"{skipped[0].path}: {skipped[0].reason}")
        result = records.counts(len(source.frames), len(left), skipped, time.time() - started)
        for name in ("without_depth", "without_image"):
            result[name] = [str(path) for path in getattr(source.unpaired, name)]
        result |= describe_scans(source, read)
        if source.is_folder:
            RECORD.write(outputs.folder, record | result)
    report(result, outputs)
    return record | result


def check_config(config: ConfigDict, workdir: Path) -> Outputs:
    """Returns what is written.

    Raises:
      ValueError: an invalid setting.
    """
    check_ranges(config, RANGES)
    devices.check(config)
    check_choices(config, {"cloud.frame": ("camera", "lidar")})
    kinds = [kind.strip() for kind in config.outputs.split(",")]
    wanted = tuple(dict.fromkeys(filter(None, kinds)))
    limits = CloudLimits(config.cloud.max_depth, config.cloud.max_jump, config.cloud.above_scan)
    with named("outputs"):
        return Outputs(workdir, wanted, config.png_scale, limits, config.min_confidence)


def check_outputs(
    config: ConfigDict, outputs: Outputs, model: Model | None, source: Source
) -> None:
    """Raises ValueError if the inputs or the model do not suffice for the outputs."""
    without_image = source.frames[0].image is None
    if model and model[0].uses_image and without_image:
        raise ValueError(
            "--config.image is empty, but the model needs images; give it, or a model for depth "
            "alone, such as --config.checkpoint= for the classical fill"
        )
    if "image" in outputs.kinds and without_image:
        raise ValueError("--config.image is empty, but --config.outputs contains image")
    if {*CLOUDS} & {*outputs.kinds} and not source.matrices:
        raise ValueError(
            "--config.intrinsics is empty, but point clouds and recordings need the camera: give "
            "fx,fy,cx,cy, a file or a folder"
        )
    if "rrd" in outputs.kinds:
        with named("outputs"):
            check_rerun()
    if config.cloud.frame == "lidar" and not source.rigs:
        raise ValueError(
            "--config.cloud.frame=lidar needs the calibration of a scanner: give --config.scan and "
            "--config.calibration, or choose camera"
        )
    if outputs.needs_confidence:
        if model is None:
            raise ValueError(
                "--config.checkpoint= selects the classical fill, which has no confidence; give "
                "the compact model, or remove confidence from --config.outputs and "
                "--config.min_confidence"
            )
        with named("checkpoint"):
            check_confidence(model[0])


def check_inputs_kept(frame: Frame, outputs: Outputs) -> None:
    """Raises ValueError if a file of a frame would be written over one that is read."""
    given = [path for path in (frame.image, frame.sparse) if path]
    for path in outputs.paths(frame.name).values():
        if path.exists() and any(path.samefile(one) for one in given):
            raise ValueError(f"{path} is an input and would be replaced; choose another --workdir")


def make_reader(
    config: ConfigDict, source: Source, model: Model | None = None
) -> DepthReader | ScanReader:
    """Makes the reader of the frames."""
    limits = depth_limits(model[0]) if model else plausibility.LIMITS
    form = inputs.DepthFormat(config.depth_scale, config.max_depth, config.check_depth, limits)
    if not source.rigs:
        return DepthReader(form)
    columns = parse_columns(config.columns)
    return ScanReader(source.rigs, form, columns, config.remove_hidden, find_imu(config))


def describe_scans(source: Source, read: DepthReader | ScanReader) -> dict[str, Any]:
    """Returns how many points were dropped, and whether the images were undistorted."""
    if not isinstance(read, ScanReader):
        return {}
    distorted = [rig for rig in source.rigs.values() if rig.calibration.distortion]
    return {"dropped_points": sum(read.dropped.values()), "undistorted": bool(distorted)}


def predict_frames(
    config: ConfigDict,
    model: Model | None,
    source: Source,
    frames: Sequence[Frame],
    outputs: Outputs,
    read: DepthReader | ScanReader,
) -> list[BadFile]:
    """Predicts frames and writes their files.

    Args:
      config: the config.
      model: the model, or None for the classical fill.
      source: where the frames are from.
      frames: those to predict.
      outputs: what is written.
      read: reads the files of a frame.

    Returns:
      The bad files of the frames that were skipped.

    Raises:
      ValueError: the depth of sampled frames cannot be right, or none of them can be read.
      OSError: a file cannot be written.
    """
    if len(frames) == len(source.frames):
        check_samples(frames, read)
    if isinstance(read, ScanReader):
        read.warn(frames[0])
    skipped: list[BadFile] = []

    def leave_out(bad: list[BadFile]) -> None:
        if len(skipped) < LOGGED:
            logging.warning("Skipped: %s: %s", bad[0].path, bad[0].reason)
        skipped.extend(bad)

    def write(frame: Frame, example: Arrays, maps: Arrays, metrics: FrameMetrics) -> None:
        del metrics
        outputs.write(frame.name, make_prediction(config, source, frame, example, maps))

    network, variables, options = (
        select.for_prediction(*model, jnp.dtype(config.dtype)) if model else (None, {}, {})
    )
    total = len(source.frames)
    with progress.frames_progress(total, total - len(frames), label="Predicting") as advance:
        measure_frames(
            make_step(network, options, with_error=outputs.needs_confidence),
            parallel.replicate(variables, jax.local_devices()),
            frames,
            batch_size=devices.batch_size(config),
            crop=(0, 0),
            visit=write,
            advance=advance,
            leave_out=leave_out,
            read=read,
        )
    return skipped


def make_prediction(
    config: ConfigDict, source: Source, frame: Frame, example: Arrays, maps: Arrays
) -> Prediction:
    """Collects what the outputs of a frame need."""
    confidence = None
    if EXPECTED_ERROR in maps:
        maps, error = dict(maps), maps[EXPECTED_ERROR]
        del maps[EXPECTED_ERROR]
        confidence = DepthEstimate(list(maps.values())[-1], error).confidence
    rig = source.rigs.get(frame.name)
    return Prediction(
        maps,
        example["sparse_depth"][..., 0],
        example.get("image"),
        source.matrices.get(frame.name),
        confidence,
        lidar_from_camera(rig.calibration) if rig and config.cloud.frame == "lidar" else None,
        rig is not None and rig.calibration.distortion is not None,
    )


def check_samples(frames: Sequence[Frame], read: DepthReader | ScanReader) -> None:
    """Reads a few frames, spread over the list, before a model is compiled.

    Raises:
      ValueError: none can be read.
    """
    sampled = plausibility.sample_frames(frames)
    found = [bad for frame in sampled for bad in read(frame, (0, 0))[1]]
    if len(found) == len(sampled):
        others = f" (none of {len(found)} sampled frames can be used)" if len(found) > 1 else ""
        raise ValueError(f"{found[0].path}: {found[0].reason}{others}")


def report(result: dict[str, Any], outputs: Outputs) -> None:
    """Prints what was predicted, skipped and written."""
    output = progress.console(stderr=True)
    output.print(records.summary(result), soft_wrap=True)
    unpaired = len(result["without_depth"]) + len(result["without_image"])
    counts = {
        "frames with files that cannot be used": len(result["skipped"]),
        "files without a partner": unpaired,
    }
    skipped = " and ".join(f"{count} {what}" for what, count in counts.items() if count)
    if skipped:
        place = outputs.folder / RECORD.name
        output.print(f"Skipped {skipped}; see {place}", soft_wrap=True)
    if result.get("dropped_points"):
        output.print(
            f"Dropped {result['dropped_points']} points of the scans that are NaN, infinite or "
            "(0, 0, 0)"
        )
    if result.get("undistorted"):
        output.print(
            "The images have been undistorted, and the outputs belong to the undistorted images; "
            "image in --config.outputs writes them",
            soft_wrap=True,
        )
    folders = ", ".join(PLACES[kind][0] for kind in outputs.kinds)
    output.print(f"Wrote {folders} to {outputs.folder}", soft_wrap=True)
