"""Evaluates depth maps on a KITTI split: metrics, predictions and panels."""

import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from fcfrnet_jax import checkpoint, models, report, specs, steps, visualize
from fcfrnet_jax.data import frame_check, kitti, kitti_layout, sample
from fcfrnet_jax.data.images import write_depth, write_image
from fcfrnet_jax.files import write_json
from fcfrnet_jax.fold import prepare
from fcfrnet_jax.measure import Arrays, measure_frames
from fcfrnet_jax.metrics import average
from fcfrnet_jax.predict import DTYPES

COARSE_SOURCES = ("auto", "network", "files", "fill")


@dataclass
class Stages:
    """The networks of an evaluation; None where a stage has none."""

    coarse: models.SparseToCoarse | None = None
    fine: models.CoarseToFine | None = None
    variables: dict[str, Any] = field(default_factory=dict)


def run(config: ConfigDict, workdir: str | Path) -> dict[str, Any]:
    """Runs `configs/eval.py` and returns what it writes to `metrics.json`.

    The workdir gets `metrics.json`, `predictions/` with a KITTI depth PNG for every frame, named as
    its image, and `panels/`; each appears when the run is complete and replaces that of an earlier
    run.

    Raises:
      ValueError: a setting, a checkpoint or a data file that cannot be used.
      OSError: the workdir cannot be written.
    """
    check_config(config)
    stages = load_stages(config)
    frames, bad = find_frames(config, stages)
    workdir = Path(workdir)
    workdir.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=".incomplete-", dir=workdir))
    try:
        per_frame = evaluate_frames(config, stages, frames, staging)
        result = summarise(config, per_frame, bad)
        for folder in ("predictions", "panels"):
            _replace(staging / folder, workdir / folder)
        write_json(workdir / "metrics.json", result)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    report.print_table(result, workdir)
    return result


def check_config(config: ConfigDict) -> None:
    """Raises ValueError for a setting that cannot be, before anything is loaded."""
    for name, allowed in (
        ("split", kitti.SPLITS),
        ("coarse_source", COARSE_SOURCES),
        ("dtype", DTYPES),
    ):
        if config[name] not in allowed:
            raise ValueError(
                f"config.{name} must be one of {', '.join(allowed)}, got {config[name]!r}"
            )
    if len(config.crop) != 2 or min(config.crop) < 0 or any(size % 16 for size in config.crop):
        raise ValueError(f"config.crop must be two multiples of 16, or (0, 0), got {config.crop}")
    devices = jax.local_device_count()
    if config.batch_size < 0 or config.batch_size % devices:
        raise ValueError(
            f"config.batch_size={config.batch_size} does not divide by the {devices} devices here"
        )


def load_stages(config: ConfigDict) -> Stages:
    """Loads the checkpoints that the config names.

    Raises:
      ValueError: a folder that is no checkpoint, or one of another network than its setting wants.
    """
    stages = Stages()
    for setting in ("coarse_checkpoint", "checkpoint"):
        if config[setting]:
            for spec, variables in checkpoint.stages(checkpoint.load_model(config[setting])):
                _add_stage(stages, spec, variables, config, setting)
    if config.coarse_source == "network" and stages.coarse is None:
        raise ValueError(
            "config.coarse_source=network needs a coarse network: give --config.coarse_checkpoint"
        )
    return stages


def _add_stage(
    stages: Stages, spec: specs.ModelSpec, variables: Any, config: ConfigDict, setting: str
) -> None:
    stage = "coarse" if spec.network == specs.SPARSE_TO_COARSE else "fine"
    if setting == "coarse_checkpoint" and stage == "fine":
        raise ValueError(
            f"--config.coarse_checkpoint={config.coarse_checkpoint} holds a {spec.network} "
            f"network, expected {specs.SPARSE_TO_COARSE}; --config.checkpoint takes either"
        )
    if getattr(stages, stage) is not None:
        raise ValueError(
            f"--config.checkpoint={config.checkpoint} holds a coarse network, and so does "
            f"--config.coarse_checkpoint={config.coarse_checkpoint}; give one of them"
        )
    if stage == "coarse" and config.coarse_source in ("files", "fill"):
        raise ValueError(
            f"config.coarse_source={config.coarse_source} leaves the coarse network of "
            f"--config.{setting}={config[setting]} unused; give one of them"
        )
    network, stages.variables[stage] = prepare(spec, variables, jnp.dtype(config.dtype))
    setattr(stages, stage, network)


def find_frames(
    config: ConfigDict, stages: Stages
) -> tuple[list[kitti.Frame], list[frame_check.BadFrame]]:
    """Finds and checks the frames of the split, with every file that the evaluation reads.

    Returns:
      The frames to evaluate, and the files for which others are left out.

    Raises:
      ValueError: no frames, files without a partner, or files that cannot be used.
    """
    data_dir = Path(config.data_dir).expanduser() if config.data_dir else sample.sample_dir()
    depth_only = stages.fine is None and stages.coarse and not stages.coarse.spec.uses_image
    require = set() if depth_only else {"image"}
    if config.split != "test_completion":
        require.add("ground_truth")
    if config.coarse_dir and config.coarse_source not in ("auto", "files"):
        raise ValueError(
            f"config.coarse_source={config.coarse_source} leaves --config.coarse_dir unused"
        )
    if config.coarse_dir and stages.coarse is not None:
        raise ValueError(
            f"the coarse network leaves --config.coarse_dir={config.coarse_dir} unused: give the "
            "maps, or a --config.checkpoint with a coarse network"
        )
    stored = config.coarse_source == "auto" and stages.coarse is None
    if config.coarse_source == "files" or (
        stored and (config.coarse_dir or kitti_layout.depth_files(data_dir, config.split, "coarse"))
    ):
        require.add("coarse")
    frames = kitti.find_frames(
        data_dir, config.split, coarse_dir=config.coarse_dir or None, require=require
    )
    bad = frame_check.check_frames(frames, _crop(config))
    if not config.skip_bad_frames:
        frame_check.raise_bad_frames(bad)
    frames = frame_check.drop_bad_frames(frames, bad)
    frame_check.check_density(frames)
    return frames, bad


def evaluate_frames(
    config: ConfigDict, stages: Stages, frames: list[kitti.Frame], folder: Path
) -> list[dict[str, Any]]:
    """Measures all frames and writes predictions and panels into `folder`.

    Returns:
      For every frame its name and the metrics of every depth map; none for a split without truth.
    """
    with_panel = {frame.name for frame in frames[: config.panels]}
    for name in ("predictions", "panels"):
        (folder / name).mkdir()

    def write(frame: kitti.Frame, example: Arrays, maps: Arrays) -> None:
        best = maps[list(maps)[-1]]
        write_depth(folder / "predictions" / f"{frame.name}.png", best)
        if frame.name in with_panel:
            picture = visualize.panel(
                example.get("image"),
                example["sparse_depth"][..., 0],
                maps,
                example["ground_truth"][..., 0] if frame.ground_truth else None,
            )
            write_image(folder / "panels" / f"{frame.name.replace('/', '_')}.png", picture)

    with report.frames_progress(len(frames)) as advance:
        measured = measure_frames(
            steps.make_eval_step(stages.coarse, stages.fine),
            steps.replicate(stages.variables, jax.local_devices()),
            frames,
            batch_size=config.batch_size or jax.local_device_count(),
            crop=_crop(config),
            visit=write,
            advance=advance,
        )
    pairs = zip(frames, measured, strict=True)
    return [{"name": frame.name, "metrics": metrics} for frame, metrics in pairs]


def summarise(
    config: ConfigDict, per_frame: list[dict[str, Any]], bad: list[frame_check.BadFrame]
) -> dict[str, Any]:
    """The content of `metrics.json`: settings, means, every frame, and what is left out."""
    maps = per_frame[0]["metrics"]
    return {
        "split": config.split,
        "frames": len(per_frame),
        "checkpoint": config.checkpoint or None,
        "coarse_checkpoint": config.coarse_checkpoint or None,
        "provenance": {
            setting: checkpoint.load_provenance(config[setting])
            for setting in ("checkpoint", "coarse_checkpoint")
            if config[setting]
        },
        "data": config.data_dir or "sample scenes",
        "metrics": {
            name: average([frame["metrics"][name] for frame in per_frame]) for name in maps
        },
        "per_frame": per_frame,
        "skipped": [
            {"name": item.frame.name, "path": str(item.path), "reason": item.reason} for item in bad
        ],
    }


def _crop(config: ConfigDict) -> tuple[int, int] | None:
    return tuple(config.crop) if any(config.crop) else None


def _replace(source: Path, target: Path) -> None:
    if target.exists():
        shutil.rmtree(target)
    source.rename(target)
