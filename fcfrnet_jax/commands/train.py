"""Trains the coarse network, the fine network or both."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import jax
from ml_collections import ConfigDict

from fcfrnet_jax import parallel
from fcfrnet_jax.commands import resume, train_setup, validation, workdir
from fcfrnet_jax.commands.jobs import joining
from fcfrnet_jax.commands.rendered import pools
from fcfrnet_jax.commands.settings import flagged
from fcfrnet_jax.commands.train_check import check_config
from fcfrnet_jax.commands.trained_model import (
    TrainedModel,
    make_model,
    save,
    starting_variables,
    with_network,
)
from fcfrnet_jax.commands.workdir import Found
from fcfrnet_jax.data.frame import Frame
from fcfrnet_jax.data.pipeline import hide_accelerators
from fcfrnet_jax.data.sets import DataSet
from fcfrnet_jax.progress import console
from fcfrnet_jax.training import loop
from fcfrnet_jax.training.journal import Journal
from fcfrnet_jax.training.snapshots import Snapshots
from fcfrnet_jax.training.state import TrainState, initial_state
from fcfrnet_jax.training.update import Update, make_update


@dataclass(frozen=True)
class Plan:
    """The run that a config describes in a workdir; making it writes nothing.

    Attributes:
      data: the data set.
      model: what is trained.
      update: the training step.
      state: before the first update. A snapshot has arrays of the same shapes.
      source: the training examples.
      val_frames: the validation frames; empty if the run is validated on rendered frames.
      resumption: what is recorded about the run, and what has changed in it.
      notes: sentences for the user about the data and the changes.
    """

    data: DataSet
    model: TrainedModel
    update: Update
    state: TrainState
    source: loop.Source
    val_frames: list[Frame]
    resumption: resume.Resumption
    notes: list[str]


def run(config: ConfigDict, folder: str | Path) -> None:
    """Runs a config of the task train. It resumes from the newest snapshot in the workdir, if any.

    Writes `config.json`, `run.json`, `metrics.jsonl`, `tensorboard/`, `snapshots/` and the models
    `best/` (see `validation.selecting_metric`) and `last/` to the workdir.

    Args:
      config: the config.
      folder: the workdir.

    Raises:
      ValueError: a setting, checkpoint or data file cannot be used, the workdir holds something
        else than this run, or a loss is not finite.
      BlockingIOError: another process writes to the workdir.
      OSError: the workdir cannot be written.
    """
    joining.join(config)
    config = with_network(config, folder)
    data = check_config(config)
    with workdir.alone(Path(folder)):
        found = workdir.read(folder)
        plan = make_plan(config, found, data)
        # From here on the workdir is written, after every process has read it.
        parallel.check_agreement({"step": found.step, **plan.resumption.facts})
        parallel.check_shared_folder(found.folder)
        if config.source == "files":
            # Nothing else uses TensorFlow, which need not be installed then.
            hide_accelerators()
        train(config, found, plan)


def make_plan(config: ConfigDict, found: Found, data: DataSet) -> Plan:
    """Builds everything that can be refused, and compares it with the run in the workdir.

    Raises:
      ValueError: a setting, checkpoint or data file cannot be used, or the run cannot be continued
        with this config.
    """
    objective = train_setup.make_objective(config)
    model = make_model(config)
    frames: list[Frame] = []
    val_frames: list[Frame] = []
    names = val_names = None
    if config.source == "files":
        frames, names = train_setup.training_frames(config, data, model, objective)
    if not config.pool_frames:
        val_frames, val_names = train_setup.validation_frames(config, data, model)
        validation.check_share(config, val_frames)
    source = train_setup.make_source(config, frames)
    resumption = resume.compare(
        found,
        config,
        names=names,
        val_names=val_names,
        weights=model.frozen_digest(),
        devices=jax.device_count(),
    )
    learning_rate = train_setup.make_learning_rate(config, resumption.epoch, resumption.ends)
    optimizer = train_setup.make_optimizer(config, learning_rate)
    variables = starting_variables(config, model, resumes=bool(found.step))
    state = initial_state(variables, optimizer, ema=config.ema_decay > 0)
    with flagged():
        update = make_update(
            model.network,
            optimizer,
            learning_rate,
            objective,
            accumulate=config.accumulate,
            ema_decay=config.ema_decay or None,
            sync_batchnorm=config.sync_batchnorm,
            freeze_batchnorm=config.freeze_batchnorm,
        )
    notes = [*resumption.notes, *train_setup.photometric_notes(config, frames)]
    return Plan(data, model, update, state, source, val_frames, resumption, notes)


def train(config: ConfigDict, found: Found, plan: Plan) -> None:
    """Trains as planned, from the newest snapshot on, and writes the workdir.

    Raises:
      ValueError: no snapshot can be read, or a loss is not finite.
      OSError: the workdir cannot be written.
    """
    snapshots = Snapshots(found.folder / "snapshots", config.keep)
    state, kept = loop.restore(snapshots, plan.state)
    step, total = int(state.step), plan.resumption.ends[-1]
    facts = plan.resumption.facts_at(step)
    workdir.claim(found, config, facts)
    if config.pool_frames:
        pools.render(config)
    selection = validation.Selection(facts["selection"], facts["best_since"])
    # A run without a snapshot starts again, with another record of its start.
    journal = Journal(found.folder, step or -1) if jax.process_index() == 0 else None
    shown = plan.data.metrics
    running = loop.Run(
        train_step=parallel.map_global(plan.update, donate=True),
        frozen=parallel.replicate(plan.model.frozen),
        source=plan.source,
        validate=validation.make_validation(
            config, plan.data, plan.model, plan.val_frames, journal, selection
        ),
        keep_best=lambda step, state: save(found.folder / "best", config, plan.model, state, step),
        describe=partial(validation.describe, shown=shown),
        snapshots=snapshots,
        journal=journal,
        intervals=loop.Intervals(total, config.log_every, config.validate_every, config.save_every),
    )
    _say([f"Resuming {found.folder} after step {step}."] if step else [])
    _say(plan.notes)
    best = validation.best_so_far(found, config, step, kept, selection)
    with _interruptible(found.folder, snapshots):
        due = step == total or (config.validate_start and not step)
        unknown = not step or not validation.is_validated(found, config, step, selection)
        state, best = loop.train(running, state, best, validate_start=due and unknown)
    snapshots.close()
    if int(state.step) == total:
        save(found.folder / "last", config, plan.model, state, total)
    if journal:
        journal.close()
    selected = validation.describe_best(best, shown, relative=bool(config.pool_frames))
    _say([_outcome(found.folder, int(state.step), total, selected)])


@contextmanager
def _interruptible(folder: Path, snapshots: Snapshots) -> Iterator[None]:
    """Waits, after an error, for the snapshot in progress, and tells where the run can continue."""
    try:
        yield
    except Exception:
        # In a job of several processes, the others would have to wait, too.
        if jax.process_count() == 1:
            with suppress(OSError):
                snapshots.wait()
        raise
    except KeyboardInterrupt:
        newest = max(snapshots.steps(), default=0)
        place = f"from the snapshot of step {newest}" if newest else "from the start"
        _say([f"Interrupted; the same command continues {place} in {folder}"])
        raise


def _outcome(folder: Path, step: int, total: int, selected: str) -> str:
    if step == total:
        return f"Step {step} of {total}: models best ({selected}) and last are in {folder}"
    return (
        f"Step {step} of {total}: stopped; the same command continues from the snapshot of step "
        f"{step} in {folder}"
    )


def _say(lines: list[str]) -> None:
    if jax.process_index() == 0:
        for line in lines:
            console(stderr=True).print(line, soft_wrap=True)
