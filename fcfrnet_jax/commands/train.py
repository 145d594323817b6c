"""Trains the coarse network, the fine network or both."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict
from rich.console import Console

import fcfrnet_jax
from fcfrnet_jax import parallel
from fcfrnet_jax.commands import dataset, train_setup, train_start
from fcfrnet_jax.commands.settings import flagged
from fcfrnet_jax.commands.train_check import check_config
from fcfrnet_jax.commands.train_setup import TrainedModel
from fcfrnet_jax.commands.workdir import claim
from fcfrnet_jax.data.frame import Frame
from fcfrnet_jax.data.pipeline import hide_accelerators
from fcfrnet_jax.evaluation.depth_maps import MAPS, make_eval_step
from fcfrnet_jax.evaluation.frames import Arrays, FrameMetrics, measure_frames
from fcfrnet_jax.evaluation.metrics import NAMES, average
from fcfrnet_jax.networks import select
from fcfrnet_jax.networks.layers import HEAD
from fcfrnet_jax.training import loop
from fcfrnet_jax.training.journal import Journal
from fcfrnet_jax.training.snapshots import Snapshots
from fcfrnet_jax.training.state import TrainState, initial_state
from fcfrnet_jax.training.update import make_update
from fcfrnet_jax.weights import checkpoint


def run(config: ConfigDict, workdir: str | Path) -> None:
    """Runs a config of the task train. It resumes from the newest snapshot in the workdir, if any.

    Writes `config.json`, `metrics.jsonl`, `tensorboard/`, `snapshots/` and the models `best/` (by
    RMSE on the validation split) and `last/` to the workdir.

    Raises:
      ValueError: a setting, checkpoint or data file cannot be used, the workdir belongs to another
        config, or a loss is not finite.
      OSError: the workdir cannot be written.
    """
    with flagged():
        parallel.join_job(config.coordinator, config.processes, config.process)
    shared = {name: value for name, value in config.to_dict().items() if name != "process"}
    parallel.check_agreement(shared)
    check_config(config)
    objective = train_setup.make_objective(config)
    model = train_setup.make_model(config)
    source = train_setup.make_source(config, model, objective)
    val_frames = train_setup.find_frames(config, config.val_split, model, objective)
    intervals = train_setup.make_intervals(config, source.epoch)
    learning_rate = train_setup.make_learning_rate(config, source.epoch, intervals.total)
    optimizer = train_setup.make_optimizer(config, learning_rate)
    ema_decay = config.ema_decay or None
    variables = train_start.starting_variables(config, model)
    state = initial_state(variables, optimizer, ema=ema_decay is not None)
    with flagged():
        update = make_update(
            model.network,
            optimizer,
            learning_rate,
            objective,
            accumulate=config.accumulate,
            ema_decay=ema_decay,
            sync_batchnorm=config.sync_batchnorm,
        )
    # What follows writes to the workdir, so everything that can be refused has been.
    workdir = Path(workdir)
    claim(workdir, config)
    snapshots = Snapshots(workdir / "snapshots", config.keep)
    state, best = loop.restore(snapshots, state)
    first = jax.process_index() == 0
    journal = Journal(workdir, int(state.step)) if first else None
    running = loop.Run(
        train_step=parallel.map_global(update, donate=True),
        frozen=parallel.replicate(model.frozen),
        source=source,
        validate=make_validation(config, model, val_frames, journal),
        keep_best=lambda step, state: save(workdir / "best", config, model, state, step),
        snapshots=snapshots,
        journal=journal,
        intervals=intervals,
    )
    if int(state.step) and first:
        _say(f"Resuming {workdir} after step {int(state.step)}")
    hide_accelerators()
    state, finished = loop.train(running, state, best)
    snapshots.close()
    if finished:
        save(workdir / "last", config, model, state, int(state.step))
    if journal:
        journal.close()
        done = "models best and last are" if finished else "stopped; the same command continues"
        _say(f"Step {int(state.step)} of {intervals.total}: {done} in {workdir}")


def make_validation(
    config: ConfigDict, model: TrainedModel, frames: list[Frame], journal: Journal | None
) -> Callable[[int, TrainState], tuple[dict[str, float], float]]:
    """Makes the function that validates a state, with the metrics of the task evaluate.

    Each process measures its share of the frames.

    Returns:
      A function of the step and the state to all metrics, and the one by which `best` is chosen.

    Raises:
      ValueError: there are fewer frames than processes.
    """
    if len(frames) < jax.process_count():
        raise ValueError(
            f"--config.val_split={config.val_split} has {len(frames)} frames, too few for "
            f"{jax.process_count()} processes; each needs one"
        )
    options = select.compiler_options(jnp.dtype(config.dtype))
    eval_step = make_eval_step(model.network, options)
    share = frames[jax.process_index() :: jax.process_count()]
    decisive = "coarse" if config.stage == "coarse" else "fine"

    def validate(step: int, state: TrainState) -> tuple[dict[str, float], float]:
        drawn: dict[str, np.ndarray] = {}

        def draw(frame: Frame, example: Arrays, maps: Arrays, metrics: FrameMetrics) -> None:
            if frame in share[: config.panels]:
                drawn[frame.name] = dataset.panel(frame, example, maps, metrics)

        measured = measure_frames(
            eval_step,
            parallel.replicate(
                model.whole(trained_variables(config, state))[1], jax.local_devices()
            ),
            share,
            batch_size=jax.local_device_count(),
            crop=tuple(config.crop),
            visit=draw,
            advance=lambda _: None,
        )
        maps = [name for name in MAPS if name in measured[0]]
        rows = [[[frame[name][m] for m in NAMES] for name in maps] for frame in measured]
        everyones = parallel.gather(np.array(rows, np.float32), len(frames)).tolist()
        figures: dict[str, float] = {}
        for i, name in enumerate(maps):
            means = average([dict(zip(NAMES, row[i], strict=True)) for row in everyones])
            figures |= {f"val/{name}/{measure}": value for measure, value in means.items()}
        if journal:
            for name, panel in drawn.items():
                journal.image(step, f"val/{name}", panel)
        return figures, figures[f"val/{decisive}/rmse_mm"]

    return validate


def trained_variables(config: ConfigDict, state: TrainState) -> dict[str, Any]:
    """The variables to evaluate and save.

    These are the moving average of the parameters, if there is one, with the fine network's
    residual scaled by `config.residual_share`.
    """
    params = state.params if state.ema_params is None else state.ema_params
    share = np.float32(config.residual_share)
    if share != 1:
        fine = params["fine"] if config.stage == "joint" else params
        # The residual is linear in the last layer only.
        fine = fine | {HEAD: jax.tree.map(lambda leaf: share * leaf, fine[HEAD])}
        params = params | {"fine": fine} if config.stage == "joint" else fine
    return {"params": params, "batch_stats": state.batch_stats}


def save(
    folder: Path, config: ConfigDict, model: TrainedModel, state: TrainState, step: int
) -> None:
    """Saves the evaluated model in the format of `--config.checkpoint`."""
    if jax.process_index() == 0:
        whole = model.whole(trained_variables(config, state))
        provenance = {
            "program": f"fcfrnet_jax {fcfrnet_jax.__version__}",
            "trained_steps": step,
            "settings": config.to_dict(),
        }
        checkpoint.save_model(folder, *whole, provenance=provenance, overwrite=True)


def _say(text: str) -> None:
    Console(stderr=True).print(text, soft_wrap=True)
