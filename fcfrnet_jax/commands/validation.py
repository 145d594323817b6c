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
from fcfrnet_jax.commands.trained_model import TrainedModel, trained_variables
from fcfrnet_jax.commands.workdir import Found
from fcfrnet_jax.data.frame import Frame
from fcfrnet_jax.evaluation.depth_maps import MAPS, make_eval_step
from fcfrnet_jax.evaluation.frames import Arrays, FrameMetrics, measure_frames
from fcfrnet_jax.evaluation.metrics import NAMES, average
from fcfrnet_jax.networks import select
from fcfrnet_jax.training.journal import Journal
from fcfrnet_jax.training.loop import Best
from fcfrnet_jax.training.pool_validation import make_pool_validation
from fcfrnet_jax.training.state import TrainState
from fcfrnet_jax.weights import checkpoint

# Rows and columns of the frames of the validation by pattern, as in the benchmark's selection.
RENDERED = (352, 1216)
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
    model: TrainedModel,
    frames: list[Frame],
    journal: Journal | None,
    selection: Selection,
) -> Callable[[int, TrainState], tuple[dict[str, float], float]]:
    """Makes the function that validates a state, with the metrics of the task evaluate.

    Each process measures its share of the frames, of which there must be one for each.

    Returns:
      A function of the step and the state to all metrics, and the one by which `best` is selected.
    """
    options = select.compiler_options(jnp.dtype(config.dtype))
    eval_step = make_eval_step(model.network, options)
    share = frames[jax.process_index() :: jax.process_count()]
    reads_images = frames[0].image is not None
    images = {} if reads_images else dataset.panel_images(config, config.val_split, share)
    by_pattern = _validation_by_pattern(config, model) if config.pool_frames else None

    def validate(step: int, state: TrainState) -> tuple[dict[str, float], float]:
        drawn: dict[str, np.ndarray] = {}

        def draw(frame: Frame, example: Arrays, maps: Arrays, metrics: FrameMetrics) -> None:
            if frame in share[: config.panels]:
                drawn[frame.name] = dataset.panel(frame, example, maps, metrics, images)

        measured = measure_frames(
            eval_step,
            parallel.replicate(
                model.whole(trained_variables(config, state))[1], jax.local_devices()
            ),
            share,
            batch_size=jax.local_device_count(),
            crop=tuple(config.val_crop),
            visit=draw,
            advance=lambda _: None,
        )
        maps = [name for name in MAPS if name in measured[0]]
        rows = [[[frame[name][m] for m in NAMES] for name in maps] for frame in measured]
        everyones = parallel.gather(np.array(rows, np.float32), len(frames)).tolist()
        figures: dict[str, float] = {SELECTION: selection.number} if selection.number else {}
        for i, name in enumerate(maps):
            means = average([dict(zip(NAMES, row[i], strict=True)) for row in everyones])
            figures |= {f"val/{name}/{measure}": value for measure, value in means.items()}
        if journal:
            for name, panel in drawn.items():
                journal.image(step, f"val/{name}", panel)
        if by_pattern is not None:
            figures |= by_pattern(step, state)
        return figures, figures[selecting_metric(config)]

    return validate


def _validation_by_pattern(
    config: ConfigDict, model: TrainedModel
) -> Callable[[int, TrainState], dict[str, float]]:
    """Makes the validation on rendered frames with several scan patterns; it prints a table."""
    options = select.compiler_options(jnp.dtype(config.dtype))
    pool = dataset.validation_pool(config)
    measure = make_pool_validation(model.network, options, pool, RENDERED)

    def validate(step: int, state: TrainState) -> dict[str, float]:
        figures = measure(model.whole(trained_variables(config, state))[1])
        if jax.process_index() == 0:
            tables.print_patterns(step, figures)
        return {
            f"val/{case}/{name}/{measure}": value
            for case, maps in figures.items()
            for name, values in maps.items()
            for measure, value in values.items()
            if np.isfinite(value)
        }

    return validate


def check_share(config: ConfigDict, frames: list[Frame]) -> None:
    """Raises ValueError if there are fewer validation frames than processes."""
    if len(frames) < jax.process_count():
        raise ValueError(
            f"--config.val_split={config.val_split} has {len(frames)} frames, too few for "
            f"{jax.process_count()} processes; each needs one"
        )


def selecting_metric(config: ConfigDict) -> str:
    """The recorded metric by which `best` is selected: the RMSE of the last map."""
    return f"val/{'coarse' if config.stage == 'coarse' else 'fine'}/rmse_mm"


def describe(step: int, figures: dict[str, float], best: Best) -> str:
    """A line about a validation: RMSE and MAE of each map, and which validation is the best."""
    maps = [
        f"{name} {figures[f'val/{name}/rmse_mm']:7.1f} / {figures[f'val/{name}/mae_mm']:6.1f}"
        for name in MAPS
        if f"val/{name}/rmse_mm" in figures
    ]
    verdict = "best so far" if step == best.step else f"best is {describe_best(best)}"
    return f"Step {step:6}: RMSE / MAE in mm: {', '.join(maps)}; {verdict}"


def describe_best(best: Best) -> str:
    """The step of the best validation, if it is known, and its RMSE."""
    step = "of an unknown step" if best.step is None else f"step {best.step}"
    return f"{step}, RMSE {best.value:.1f} mm"


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
    if not _has_best(found):
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
