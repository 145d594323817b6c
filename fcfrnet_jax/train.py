"""Trains the coarse network, the fine one or both together: `configs/train.py` and its kin."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict
from rich.console import Console

import fcfrnet_jax
from fcfrnet_jax import checkpoint, hosts, loop, optimizers, steps, train_setup, visualize
from fcfrnet_jax.data.kitti import Frame
from fcfrnet_jax.journal import Journal
from fcfrnet_jax.measure import Arrays, measure_frames
from fcfrnet_jax.metrics import NAMES, average
from fcfrnet_jax.snapshots import Snapshots
from fcfrnet_jax.train_setup import Model
from fcfrnet_jax.training import TrainState, initial_state


def run(config: ConfigDict, workdir: str | Path) -> None:
    """Runs a training config, from the newest snapshot where the workdir has one.

    The workdir gets `config.json`, `metrics.jsonl`, `tensorboard/`, `snapshots/`, and the models
    `best/`, by RMSE on the validation split, and `last/`.

    Raises:
      ValueError: a setting, checkpoint or data file that cannot be used, a workdir of another
        config, or a loss that is not finite.
      OSError: the workdir cannot be written.
    """
    hosts.start(config.coordinator, config.processes, config.process)
    shared = {name: value for name, value in config.to_dict().items() if name != "process"}
    hosts.check_agreement(shared)
    train_setup.check_config(config)
    objective = train_setup.make_objective(config)
    model = train_setup.make_model(config)
    source = train_setup.make_source(config, model, objective)
    val_frames = train_setup.find_frames(config, config.val_split, model, objective)
    schedule = train_setup.make_schedule(config, source.epoch)
    learning_rate = train_setup.make_learning_rate(config, source.epoch, schedule.total)
    optimizer = optimizers.make_optimizer(
        config.optimizer,
        learning_rate,
        weight_decay=config.weight_decay,
        clip_norm=config.clip_norm or None,
    )
    workdir = Path(workdir)
    train_setup.claim(workdir, config)
    ema_decay = config.ema_decay or None
    variables = train_setup.starting_variables(config, model)
    state = initial_state(variables, optimizer, ema=ema_decay is not None)
    snapshots = Snapshots(workdir / "snapshots", config.keep)
    state, best = loop.restore(snapshots, state)
    first = jax.process_index() == 0
    journal = Journal(workdir, int(state.step)) if first else None
    running = loop.Run(
        train_step=steps.make_train_step(
            model.network,
            model.frozen_network,
            optimizer,
            learning_rate,
            objective,
            accumulate=config.accumulate,
            ema_decay=ema_decay,
            sync_batchnorm=config.sync_batchnorm,
        ),
        frozen=steps.replicate(model.frozen),
        source=source,
        validate=make_validation(config, model, val_frames, journal),
        keep_best=lambda step, state: save(workdir / "best", config, model, state, step),
        snapshots=snapshots,
        journal=journal,
        schedule=schedule,
    )
    if int(state.step) and first:
        _say(f"Resuming {workdir} after step {int(state.step)}")
    state, finished = loop.train(running, state, best)
    snapshots.close()
    if finished:
        save(workdir / "last", config, model, state, int(state.step))
    if journal:
        journal.close()
        done = "models best and last are" if finished else "stopped; the same command goes on"
        _say(f"Step {int(state.step)} of {schedule.total}: {done} in {workdir}")


def make_validation(
    config: ConfigDict, model: Model, frames: list[Frame], journal: Journal | None
) -> Callable[[int, TrainState], tuple[dict[str, float], float]]:
    """The evaluation command's metrics on the validation split, each process taking its share.

    Raises:
      ValueError: fewer frames than processes.
    """
    if len(frames) < jax.process_count():
        raise ValueError(
            f"the {len(frames)} frames of config.val_split={config.val_split} are too few for "
            f"{jax.process_count()} processes: each needs one"
        )
    eval_step = steps.make_eval_step(*model.networks)
    share = frames[jax.process_index() :: jax.process_count()]
    decisive = "coarse" if config.stage == "coarse" else "fine"

    def validate(step: int, state: TrainState) -> tuple[dict[str, float], float]:
        pictures: dict[str, np.ndarray] = {}

        def draw(frame: Frame, example: Arrays, maps: Arrays) -> None:
            if frame in share[: config.panels]:
                shown = (example[name][..., 0] for name in ("sparse_depth", "ground_truth"))
                sparse, truth = shown
                pictures[frame.name] = visualize.panel(example.get("image"), sparse, maps, truth)

        measured = measure_frames(
            eval_step,
            steps.replicate(model.stages(trained_variables(config, state)), jax.local_devices()),
            share,
            batch_size=jax.local_device_count(),
            crop=tuple(config.crop),
            visit=draw,
            advance=lambda _: None,
        )
        maps = [name for name in steps.MAPS if name in measured[0]]
        rows = [[[frame[name][m] for m in NAMES] for name in maps] for frame in measured]
        everyones = hosts.gather(np.array(rows, np.float32), len(frames)).tolist()
        figures: dict[str, float] = {}
        for i, name in enumerate(maps):
            means = average([dict(zip(NAMES, row[i], strict=True)) for row in everyones])
            figures |= {f"val/{name}/{measure}": value for measure, value in means.items()}
        if journal:
            for name, picture in pictures.items():
                journal.picture(step, f"val/{name}", picture)
        return figures, figures[f"val/{decisive}/rmse_mm"]

    return validate


def trained_variables(config: ConfigDict, state: TrainState) -> dict[str, Any]:
    """The variables to evaluate and to keep: the moving average of the parameters where there is
    one, and `config.residual_share` of the fine network's residual.
    """
    params = state.params if state.ema_params is None else state.ema_params
    share = np.float32(config.residual_share)
    if share != 1:
        fine = params["fine"] if config.stage == "joint" else params
        # The last layer is all that the residual is linear in.
        fine = fine | {"convtf": jax.tree.map(lambda leaf: share * leaf, fine["convtf"])}
        params = params | {"fine": fine} if config.stage == "joint" else fine
    return {"params": params, "batch_stats": state.batch_stats}


def save(folder: Path, config: ConfigDict, model: Model, state: TrainState, step: int) -> None:
    """Writes the model that is evaluated, to be loaded by `--config.checkpoint`."""
    if jax.process_index() == 0:
        trained: tuple[checkpoint.Spec, Any] = (model.spec, trained_variables(config, state))
        if model.frozen_network is not None:
            trained = checkpoint.combine((model.frozen_network.spec, model.frozen), trained)
        provenance = {
            "program": f"fcfrnet_jax {fcfrnet_jax.__version__}",
            "trained_steps": step,
            "settings": config.to_dict(),
        }
        checkpoint.save_model(folder, *trained, provenance=provenance, overwrite=True)


def _say(text: str) -> None:
    Console(stderr=True).print(text, soft_wrap=True)
