"""The loop over frames of an evaluation, also used for validation during training."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

import numpy as np

from fcfrnet_jax import parallel
from fcfrnet_jax.data import check
from fcfrnet_jax.data.frame import BadFile, Frame
from fcfrnet_jax.evaluation.batches import MAPS as PIXELS
from fcfrnet_jax.evaluation.batches import Arrays, Read, read_batches
from fcfrnet_jax.evaluation.depth_maps import INPUTS, MAPS, DepthMaps, EvalStep, Metrics
from fcfrnet_jax.evaluation.metrics import NAMES
from fcfrnet_jax.evaluation.workers import Workers
from fcfrnet_jax.geometry import Size, margins
from fcfrnet_jax.networks.models import SIZE_MULTIPLE, Variables

FrameMetrics = dict[str, dict[str, float]]
Result = tuple[Arrays, DepthMaps, Metrics]
Visit = Callable[[Frame, Arrays, Arrays, FrameMetrics], None]


def measure_frames(
    step: EvalStep,
    variables: Variables,
    frames: Sequence[Frame],
    *,
    batch_size: int,
    crop: Size,
    visit: Visit,
    draw: Visit | None = None,
    advance: Callable[[int], None],
    leave_out: Callable[[list[BadFile]], None] | None = None,
    read: Read = check.read_frame,
) -> list[FrameMetrics]:
    """Measures every depth map of every frame; checks the files while it reads them.

    Args:
      step: the step of `depth_maps.make_eval_step`.
      variables: the variables of its network, replicated.
      frames: the frames.
      batch_size: frames per batch, over all local devices.
      crop: (height, width) in pixels, at the bottom centre; 0 = the whole height or width. Any size
        works: networks see it padded to multiples of 16, and the maps are cropped.
      visit: called in another thread for each frame, with the frame, its arrays in the batch
        (`[H, W, ...]`), its depth maps (`[H, W]` metres, in the order of the stages) and the
        metrics of these maps.
      draw: called as `visit`, in a thread of its own, so that slow drawing does not delay `visit`.
      advance: called after each batch with its number of frames.
      leave_out: what happens to frames with bad files, see `batches.read_batches`.
      read: reads the files of a frame, see `batches.read_batches`.

    Returns:
      For every frame that was not left out, in order, the metrics of every depth map; empty without
      ground truth.

    Raises:
      ValueError: a bad file, unless `leave_out` accepts it, or weights whose depth is not finite.
    """
    batches = read_batches(
        frames,
        batch_size=batch_size,
        crop=crop,
        multiple=SIZE_MULTIPLE,
        leave_out=leave_out,
        read=read,
    )
    # Without padding, the maps need no sizes, and the fill is faster.
    padded = not all(crop) or any(margins(crop, SIZE_MULTIPLE))
    inputs = {*INPUTS, "size"} if padded else set(INPUTS)
    measured: dict[int, FrameMetrics] = {}
    with Workers() as visiting, Workers() as drawing:
        for batch, maps, metrics in _one_ahead(_results(step, variables, batches, inputs)):
            maps, metrics = parallel.unshard(maps), parallel.unshard(metrics)
            here = np.flatnonzero(batch["mask"]).tolist()
            for i in here:
                index = int(batch["index"][i])
                frame = frames[index]
                found = _frame_metrics(frame, metrics, i) if frame.ground_truth else {}
                measured[index] = found
                example, its_maps = _without_padding(batch, maps, i)
                visiting.submit(visit, frame, example, its_maps, found)
                if draw:
                    drawing.submit(draw, frame, example, its_maps, found)
            advance(len(here))
    return [measured[index] for index in sorted(measured)]


def _results(
    step: EvalStep, variables: Variables, batches: Iterable[Arrays], inputs: Collection[str]
) -> Iterator[Result]:
    for batch in batches:
        wanted = {name: leaf for name, leaf in batch.items() if name in inputs}
        yield batch, *step(variables, parallel.shard(wanted))


def _without_padding(batch: Arrays, maps: DepthMaps, i: int) -> tuple[Arrays, Arrays]:
    """The arrays and the depth maps of one frame, cropped to its size."""
    height, width = batch["size"][i]
    example = {
        name: leaf[i, :height, :width] if name in PIXELS else leaf[i]
        for name, leaf in batch.items()
    }
    names = [name for name in MAPS if name in maps]
    names += [name for name in maps if name not in MAPS]
    return example, {name: np.asarray(maps[name])[i, :height, :width, 0] for name in names}


def _one_ahead(results: Iterable[Result]) -> Iterator[Result]:
    """Delays the results by one, so that the devices compute while the host handles a batch."""
    waiting = None
    for result in results:
        if waiting is not None:
            yield waiting
        waiting = result
    if waiting is not None:
        yield waiting


def _frame_metrics(frame: Frame, metrics: Metrics, i: int) -> FrameMetrics:
    found = {
        name: {measure: float(metrics[name][measure][i]) for measure in NAMES}
        for name in MAPS
        if name in metrics
    }
    for name, values in found.items():
        bad = [measure for measure in NAMES if not np.isfinite(values[measure])]
        if bad:
            raise ValueError(
                f"{frame.name}: {', '.join(bad)} of the {name} depth is not finite: the weights "
                "are broken"
            )
    return found
