"""Validates a training run, and tells which of its models is the best."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from fcfrnet_jax import parallel
from fcfrnet_jax.commands import dataset, tables
from fcfrnet_jax.commands.rendered.validation import SELECTING, make_rendered_validation
from fcfrnet_jax.commands.trained_model import TrainedModel, trained_variables
from fcfrnet_jax.commands.workdir import Found
from fcfrnet_jax.data.frame import Frame
from fcfrnet_jax.data.sets import DataSet
from fcfrnet_jax.evaluation.depth_maps import MAPS, make_eval_step
from fcfrnet_jax.evaluation.frames import Arrays, FrameMetrics, measure_frames
from fcfrnet_jax.evaluation.metrics import NAMES, average
from fcfrnet_jax.metric_sets import KITTI, MetricSet
from fcfrnet_jax.networks import select
from fcfrnet_jax.training.journal import Journal
from fcfrnet_jax.training.loop import Best
from fcfrnet_jax.training.state import TrainState
from fcfrnet_jax.weights import checkpoint

# In records of validations: how often the validation was changed before. Absent if never.
SELECTION = "val/selection"


class Selection(NamedTuple):
    """The validations among which `best` is selected.

    Attributes:
      number: how often the validation was changed before.
      since: the step of the snapshot after which it was changed last.
    """

    number: int = 0
    since: int = 0

    def contains(self, line: Mapping[str, float]) -> bool:
        """Whether a record of a validation belongs to them."""
        return line.get(SELECTION, 0) == self.number


def make_validation(
    config: ConfigDict,
    data: DataSet,
    model: TrainedModel,
    frames: list[Frame],
    journal: Journal | None,
    selection: Selection,
) -> Callable[[int, TrainState], tuple[dict[str, float], float]]:
    """Makes the function that validates a state.

    It computes the metrics of the task evaluate on `frames`, of which each process measures a
    share, so there must be one for each process. With `config.pool_frames`, it validates on
    rendered frames instead.

    Returns:
      A function of the step and the state to all metrics, and the one by which `best` is selected.
    """
    counted: dict[str, float] = {SELECTION: selection.number} if selection.number else {}
    if config.pool_frames:
        measure = make_rendered_validation(config, model)

        def validate_rendered(step: int, state: TrainState) -> tuple[dict[str, float], float]:
            figures = counted | measure(state)
            return figures, figures[SELECTING]

        return validate_rendered
    options = select.compiler_options(jnp.dtype(config.dtype))
    eval_step = make_eval_step(model.network, options, data.limits)
    share = frames[jax.process_index() :: jax.process_count()]
    reads_images = frames[0].image is not None
    images = {} if reads_images else dataset.panel_images(config, data, config.val_split, share)

    def validate(step: int, state: TrainState) -> tuple[dict[str, float], float]:
        drawn: dict[str, np.ndarray] = {}

        def draw(frame: Frame, example: Arrays, maps: Arrays, metrics: FrameMetrics) -> None:
            if frame in share[: config.panels]:
                drawn[frame.name] = dataset.panel(data, frame, example, maps, metrics, images)

        measured = measure_frames(
            eval_step,
            parallel.replicate(model.whole(trained_variables(state))[1], jax.local_devices()),
            share,
            batch_size=jax.local_device_count(),
            crop=tuple(config.val_crop),
            visit=draw,
            advance=lambda _: None,
        )
        maps = [name for name in MAPS if name in measured[0]]
        rows = [[[frame[name][m] for m in NAMES] for name in maps] for frame in measured]
        everyones = parallel.gather(np.array(rows, np.float32), len(frames)).tolist()
        figures = dict(counted)
        for i, name in enumerate(maps):
            means = average([dict(zip(NAMES, row[i], strict=True)) for row in everyones])
            figures |= {f"val/{name}/{measure}": value for measure, value in means.items()}
        if journal:
            for name, panel in drawn.items():
                journal.image(step, f"val/{name}", panel)
        return figures, figures[selecting_metric(config)]

    return validate


def check_share(config: ConfigDict, frames: list[Frame]) -> None:
    """Raises ValueError if there are fewer validation frames than processes."""
    if len(frames) < jax.process_count():
        raise ValueError(
            f"--config.val_split={config.val_split} has {len(frames)} frames, too few for "
            f"{jax.process_count()} processes; each needs one"
        )


def selecting_metric(config: ConfigDict) -> str:
    """The recorded metric by which `best` is selected: the RMSE of the last map.

    With `config.pool_frames`, it is the mean RMSE over scan patterns, relative to the fill's.
    """
    if config.pool_frames:
        return SELECTING
    return f"val/{'coarse' if config.stage == 'coarse' else 'fine'}/rmse_mm"


def describe(step: int, figures: dict[str, float], best: Best, shown: MetricSet = KITTI) -> str:
    """Describes a validation: the errors of each map, and which validation is the best."""
    relative = SELECTING in figures
    best_one = describe_best(best, shown, relative=relative)
    verdict = "best so far" if step == best.step else f"best is {best_one}"
    if relative:
        return f"Step {step:6}: {verdict}\n{tables.rendered_table(figures)}"
    maps = [
        f"{name} {shown.line(_metrics(figures, name))}"
        for name in MAPS
        if f"val/{name}/rmse_mm" in figures
    ]
    return f"Step {step:6}: {shown.heading}: {', '.join(maps)}; {verdict}"


def _metrics(figures: Mapping[str, float], name: str) -> dict[str, float]:
    """The metrics of a depth map in the figures of a validation."""
    start = f"val/{name}/"
    return {
        key.removeprefix(start): value for key, value in figures.items() if key.startswith(start)
    }


def describe_best(best: Best, shown: MetricSet = KITTI, *, relative: bool = False) -> str:
    """The step of the best validation, if it is known, and its RMSE, `relative` to the fill's."""
    step = "of an unknown step" if best.step is None else f"step {best.step}"
    rmse = f"RMSE {100 * best.value:.1f}% of the fill's" if relative else shown.best(best.value)
    return f"{step}, {rmse}"


def is_validated(found: Found, config: ConfigDict, step: int, selection: Selection) -> bool:
    """Whether the workdir records a validation of this step, and has a model `best`."""
    name = selecting_metric(config)
    return _has_best(found) and any(
        line["step"] == step and name in line and selection.contains(line) for line in found.lines
    )


def best_so_far(
    found: Found, config: ConfigDict, step: int, kept: float, selection: Selection
) -> Best:
    """The best validation of a run, when it is resumed.

    Args:
      found: the workdir.
      config: the config.
      step: the step of the snapshot to resume from.
      kept: the selecting metric in the snapshot.
      selection: the validations that can be compared with later ones.
    """
    name = selecting_metric(config)
    values = [
        (line[name], int(line["step"]))
        for line in found.lines
        if line["step"] <= step and name in line and selection.contains(line)
    ]
    # The snapshot may be older than the last change of the validation.
    kept = np.inf if step <= selection.since else kept
    # A run without a snapshot starts again.
    if not step or not _has_best(found):
        return Best()
    if values and min(values)[0] <= kept:
        return Best(*min(values))
    if kept == np.inf:
        return Best()
    return Best(kept, _trained_steps(found.folder / "best", step))


def _has_best(found: Found) -> bool:
    return (found.folder / "best" / "model.json").is_file()


def _trained_steps(model: Path, step: int) -> int | None:
    """The step of a saved model, if it can be read and is not after `step`."""
    try:
        found = checkpoint.load_provenance(model).get("trained_steps")
    except ValueError:
        return None
    return found if isinstance(found, int) and found <= step else None
