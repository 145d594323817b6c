"""Predicts dense depth for one image, or for the images of a folder."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from absl import logging
from ml_collections import ConfigDict
from rich.console import Console

from fcfrnet_jax import parallel, progress
from fcfrnet_jax.commands.inference import devices, models, records
from fcfrnet_jax.commands.inference.origins import describe_origins
from fcfrnet_jax.commands.inference.records import Record
from fcfrnet_jax.commands.inference.sources import Source, find_source
from fcfrnet_jax.commands.settings import Range, check_ranges, named
from fcfrnet_jax.data import plausibility
from fcfrnet_jax.data.check import LOGGED
from fcfrnet_jax.data.frame import BadFile, Frame
from fcfrnet_jax.evaluation.depth_maps import make_predict_step
from fcfrnet_jax.evaluation.frames import Arrays, FrameMetrics, measure_frames
from fcfrnet_jax.files import describe
from fcfrnet_jax.geometry import Size
from fcfrnet_jax.locks import lock_folder
from fcfrnet_jax.networks import select
from fcfrnet_jax.prediction import inputs
from fcfrnet_jax.prediction.outputs import CLOUDS, PLACES, CloudLimits, Outputs, Prediction
from fcfrnet_jax.weights.checkpoint import Model

RANGES = {
    "depth_scale": Range(0.0),
    "max_depth": Range(0.0),
    "png_scale": Range(0.0, above=True),
    "cloud.max_depth": Range(0.0, above=True),
    "cloud.max_jump": Range(0.0, above=True),
}
RECORD = Record(
    "predict.json",
    {folder for folder, _ in PLACES.values()},
    ("outputs", "image_pattern", "depth_pattern"),
)


@dataclass(frozen=True)
class Reader:
    """Reads the files of a frame, as `data.check.read_frame` does for KITTI's.

    Attributes:
      form: how depth is stored.
    """

    form: inputs.DepthFormat

    def __call__(self, frame: Frame, crop: Size) -> tuple[Arrays, list[BadFile]]:
        """Reads whole frames; see `evaluation.batches.Read`."""
        assert not any(crop)
        arrays: Arrays = {}
        path = frame.sparse
        try:
            arrays["sparse_depth"] = inputs.read_depth(path, self.form)
            if frame.image is not None:
                path = frame.image
                arrays["image"] = inputs.read_image(path)
                inputs.check_pair(arrays["image"], arrays["sparse_depth"])
        except (OSError, ValueError) as error:
            return {}, [BadFile(frame, path, describe(error).removeprefix(f"{path}: "))]
        return arrays, []


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
    source = find_source(config)
    model = models.load_model(config)
    if model and model[0].uses_image and source.frames[0].image is None:
        raise ValueError(
            "--config.image is empty, but the model needs images; give it, or a model for depth "
            "alone, such as --config.checkpoint= for the classical fill"
        )
    if {*CLOUDS} & {*outputs.kinds} and not source.matrices:
        raise ValueError(
            "--config.intrinsics is empty, but point clouds need the camera: give fx,fy,cx,cy, a "
            "file or a folder"
        )
    started = time.time()
    with lock_folder(outputs.folder, partial(RECORD.clean, outputs.folder)):
        record = records.describe(config, describe_origins(config))
        if source.is_folder:
            RECORD.claim(outputs.folder, record)
        else:
            RECORD.check_unused(outputs.folder)
        left = [f for f in source.frames if not (source.is_folder and outputs.complete(f.name))]
        skipped = predict_frames(config, model, source, left, outputs) if left else []
        if len(skipped) == len(source.frames):
            raise ValueError(f"{skipped[0].path}: {skipped[0].reason}")
        result = records.counts(len(source.frames), len(left), skipped, time.time() - started)
        for name in ("without_depth", "without_image"):
            result[name] = [str(path) for path in getattr(source.unpaired, name)]
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
    kinds = [kind.strip() for kind in config.outputs.split(",")]
    with named("outputs"):
        return Outputs(
            workdir,
            tuple(dict.fromkeys(filter(None, kinds))),
            config.png_scale,
            CloudLimits(config.cloud.max_depth, config.cloud.max_jump, config.cloud.above_scan),
        )


def predict_frames(
    config: ConfigDict,
    model: Model | None,
    source: Source,
    frames: Sequence[Frame],
    outputs: Outputs,
) -> list[BadFile]:
    """Predicts frames and writes their files.

    Args:
      config: the config.
      model: the model, or None for the classical fill.
      source: where the frames are from.
      frames: those to predict.
      outputs: what is written.

    Returns:
      The bad files of the frames that were skipped.

    Raises:
      ValueError: the depth of sampled frames cannot be right, or none of them can be read.
      OSError: a file cannot be written.
    """
    read = Reader(inputs.DepthFormat(config.depth_scale, config.max_depth, config.check_depth))
    check_samples(frames, read)
    skipped: list[BadFile] = []

    def leave_out(bad: list[BadFile]) -> None:
        if len(skipped) < LOGGED:
            logging.warning("Skipped: %s: %s", bad[0].path, bad[0].reason)
        skipped.extend(bad)

    def write(frame: Frame, example: Arrays, maps: Arrays, metrics: FrameMetrics) -> None:
        del metrics
        sparse_depth = example["sparse_depth"][..., 0]
        matrix = source.matrices.get(frame.name)
        outputs.write(frame.name, Prediction(maps, sparse_depth, example.get("image"), matrix))

    network, variables, options = (
        select.for_prediction(*model, jnp.dtype(config.dtype)) if model else (None, {}, {})
    )
    total = len(source.frames)
    with progress.frames_progress(total, total - len(frames), label="Predicting") as advance:
        measure_frames(
            make_predict_step(network, options),
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


def check_samples(frames: Sequence[Frame], read: Reader) -> None:
    """Reads a few frames, spread over the list, before a model is compiled.

    Raises:
      ValueError: the depth of one cannot be right, or none can be read.
    """
    errors = []
    sampled = plausibility.sample_frames(frames)
    for frame in sampled:
        try:
            inputs.read_depth(frame.sparse, read.form)
        except plausibility.ImpossibleDepthError:
            raise
        except (OSError, ValueError) as error:
            errors.append(error)
    if len(errors) == len(sampled):
        raise errors[0]


def report(result: dict[str, Any], outputs: Outputs) -> None:
    """Prints what was predicted, skipped and written."""
    console = Console(stderr=True, markup=False, highlight=False)
    console.print(records.summary(result), soft_wrap=True)
    unpaired = len(result["without_depth"]) + len(result["without_image"])
    if result["skipped"] or unpaired:
        console.print(
            f"Skipped {len(result['skipped'])} frames with files that cannot be used and "
            f"{unpaired} files without a partner; see {outputs.folder / RECORD.name}",
            soft_wrap=True,
        )
    folders = ", ".join(PLACES[kind][0] for kind in outputs.kinds)
    console.print(f"Wrote {folders} to {outputs.folder}", soft_wrap=True)
