"""Predicts depth maps for frames of KITTI, in all processes of a job; the rest after a kill."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from fcfrnet_jax import parallel
from fcfrnet_jax.commands.inference import devices
from fcfrnet_jax.commands.inference.records import Record
from fcfrnet_jax.commands.jobs import joining
from fcfrnet_jax.commands.output import shares
from fcfrnet_jax.commands.output.shares import RaiseBad, shown_progress, watched
from fcfrnet_jax.data.frame import BadFile, Frame
from fcfrnet_jax.data.images import write_depth
from fcfrnet_jax.evaluation.depth_maps import make_predict_step
from fcfrnet_jax.evaluation.frames import Arrays, FrameMetrics, measure_frames
from fcfrnet_jax.files import remove
from fcfrnet_jax.geometry import Size
from fcfrnet_jax.locks import lock_folder
from fcfrnet_jax.networks import select
from fcfrnet_jax.weights.checkpoint import Model

# What the processes of a job tell each other.
_HIDDEN = ".fcfrnet-job"


@dataclass(frozen=True)
class Maps:
    """Depth maps to write.

    Attributes:
      frames: all frames.
      path_of: the file of the depth map of a frame. A file that exists is complete.
      folder: the workdir.
      wanted: the depth map, one of `evaluation.depth_maps.MAPS`; None for the last one.
      crop: (height, width) in pixels at the bottom centre; 0 = the whole height or width.
      label: the text before the progress bar.
    """

    frames: Sequence[Frame]
    path_of: Callable[[Frame], Path]
    folder: Path
    wanted: str | None = None
    crop: Size = (0, 0)
    label: str = "Predicting"


def join_job(config: ConfigDict) -> None:
    """Joins the processes of a job, which must have the same settings."""
    joining.join(config)
    parallel.end_on_sigterm()


@contextmanager
def locked(workdir: Path, record: Record) -> Iterator[None]:
    """Keeps other jobs from writing to the workdir; only the first process calls it.

    What killed jobs have left is removed.

    Raises:
      BlockingIOError: another process writes to the workdir.
    """
    hidden = workdir / _HIDDEN

    def clean() -> None:
        record.clean(workdir)
        if hidden.exists():
            remove(hidden)

    with lock_folder(workdir, clean):
        hidden.mkdir()
        try:
            yield
        finally:
            remove(hidden)


def write_missing(
    config: ConfigDict, model: Model | None, maps: Maps, raise_bad: RaiseBad | None
) -> tuple[int, list[BadFile]]:
    """Predicts and writes the depth maps that do not exist; every process must call it.

    Args:
      config: the config.
      model: the model, or None for the classical fill.
      maps: what to write.
      raise_bad: raises a ValueError for bad files; None leaves out frames that have any.

    Returns:
      The number of depth maps that did not exist, and the bad files of those left out.

    Raises:
      ValueError: a bad file, unless such frames are left out.
      OSError: a file cannot be written.
    """
    left = [frame for frame in maps.frames if not maps.path_of(frame).is_file()]
    # No process writes before all have listed what is left.
    parallel.check_agreement({"left": [frame.name for frame in left]}, "list of frames")
    parallel.check_shared_folder(maps.folder / _HIDDEN)
    with parallel.ending_together():
        bad = _write_share(config, model, maps, left, raise_bad) if left else []
    return len(left), shares.gather(left, [], bad)[1]


def _write_share(
    config: ConfigDict,
    model: Model | None,
    maps: Maps,
    left: Sequence[Frame],
    raise_bad: RaiseBad | None,
) -> list[BadFile]:
    """Writes the share of this process; returns the bad files of the frames left out."""
    share = left[jax.process_index() :: jax.process_count()]
    if not share:
        return []

    def write(frame: Frame, example: Arrays, found: Arrays, metrics: FrameMetrics) -> None:
        del example, metrics
        (depth,) = found.values()
        write_depth(maps.path_of(frame), depth)

    network, variables, options = (
        select.for_prediction(*model, jnp.dtype(config.dtype)) if model else (None, {}, {})
    )
    # The first process shows its share.
    done = (len(maps.frames) - len(left)) // jax.process_count()
    show = partial(shown_progress, total=done + len(share), done=done, label=maps.label)
    with (
        watched(share, maps.folder / _HIDDEN, crop=maps.crop, raise_bad=raise_bad) as watch,
        show(watch) as advance,
    ):
        measure_frames(
            make_predict_step(network, options, maps.wanted),
            parallel.replicate(variables, jax.local_devices()),
            share,
            batch_size=devices.batch_size(config) // jax.process_count(),
            crop=maps.crop,
            visit=write,
            advance=advance,
            leave_out=watch.leave_out,
        )
    return watch.bad
