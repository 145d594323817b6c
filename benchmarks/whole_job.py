"""Measures what an evaluation costs the host: the command with its network replaced by nothing.

    taskset -c 0 python benchmarks/whole_job.py --data_dir ~/kitti --split val_selection
    taskset -c 0 python benchmarks/whole_job.py --data_dir ~/kitti --split train --panels 16

Some frames of the split are evaluated once with the model. Then links to them, `--frames` in
number, are evaluated by the same command, where a table of the depth maps and metrics found takes
the place of the compiled step. So everything is measured that the host does beside an accelerator:
reading and checking files, decoding, batches, predictions as PNGs, panels and metrics. Prints
frames per second of one core (frames by the CPU time of all threads), the wall-clock rate, and the
CPU time of each part, measured one after the other. Files come from the operating system's cache.
"""

import argparse
import os
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

if not __package__:
    # Makes the package importable when run as a command in a checkout that is not installed.
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from ml_collections import ConfigDict

from fcfrnet_jax.commands import dataset, evaluate
from fcfrnet_jax.configs import eval as eval_config
from fcfrnet_jax.data import check, sets
from fcfrnet_jax.data.frame import Frame
from fcfrnet_jax.data.images import write_depth, write_image
from fcfrnet_jax.data.kitti import find_frames
from fcfrnet_jax.evaluation import frames as loop
from fcfrnet_jax.evaluation.depth_maps import EvalStep
from fcfrnet_jax.evaluation.metrics import depth_metrics
from fcfrnet_jax.files import describe
from fcfrnet_jax.networks.fill import classical_fill
from fcfrnet_jax.process import enable_compile_cache, quiet_tensorflow

KINDS = {"image": "image", "velodyne_raw": "sparse", "groundtruth_depth": "ground_truth"}


def link_frames(frames: Sequence[Frame], count: int, root: Path) -> None:
    """Links `count` frames, the given ones in turn, as a val selection in KITTI's layout."""
    for kind, attribute in KINDS.items():
        folder = root / "depth_selection" / "val_selection_cropped" / kind
        folder.mkdir(parents=True)
        word = kind.removesuffix("_depth") + "_depth" * kind.endswith("_depth")
        for i in range(count):
            name = f"2011_09_26_drive_{i // 100:04}_sync_{word}_{i % 100:010}_image_02.png"
            (folder / name).symlink_to(getattr(frames[i % len(frames)], attribute).absolute())


class Table:
    """A step that remembers what another one found, and later looks it up."""

    def __init__(self, step: EvalStep) -> None:
        self._step = step
        self.found: dict[int, Any] = {}
        self._batches: dict[tuple[int, ...], Any] = {}

    def record(self, variables: Any, batch: Any) -> Any:
        maps, metrics = self._step(variables, batch)
        self.found[self._key(batch["sparse_depth"])] = _arrays((maps, metrics))
        return maps, metrics

    def look_up(self, variables: Any, batch: Any) -> Any:
        del variables
        sparse = batch["sparse_depth"]
        # Rows of padding have no entry.
        keys = [self._key(sparse[:, i : i + 1]) for i in range(sparse.shape[1])]
        known = tuple(key if key in self.found else next(iter(self.found)) for key in keys)
        if known not in self._batches:
            self._batches[known] = _joined([self.found[key] for key in known])
        return self._batches[known]

    @staticmethod
    def _key(sparse: np.ndarray) -> int:
        return zlib.crc32(sparse[:, :, ::7, ::31].tobytes())


def _arrays(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {name: _arrays(leaf) for name, leaf in tree.items()}
    return tuple(map(_arrays, tree)) if isinstance(tree, tuple) else np.asarray(tree)


def _joined(trees: Sequence[Any]) -> Any:
    first = trees[0]
    if isinstance(first, dict):
        return {name: _joined([tree[name] for tree in trees]) for name in first}
    if isinstance(first, tuple):
        return tuple(_joined(parts) for parts in zip(*trees, strict=True))
    return np.concatenate(trees, axis=1)


def config_of(options: argparse.Namespace, data: Path, panels: int, batch: int) -> ConfigDict:
    config = eval_config.get_config()
    config.update(data_dir=str(data), checkpoint=options.checkpoint, panels=panels)
    config.update(crop=(options.height, options.width), batch_size=batch)
    return config.lock()


def clock(function: Callable[[], Any]) -> tuple[float, float]:
    """Seconds of CPU, of all threads, and of the wall clock."""
    wall, cpu = time.perf_counter(), time.process_time()
    function()
    return time.process_time() - cpu, time.perf_counter() - wall


def draw(visit: Any) -> np.ndarray:
    """The panel of a frame that was seen."""
    frame, example, maps, metrics = visit
    return dataset.panel(sets.kitti_in(Path), frame, example, maps, metrics, {})


def parts_of(
    frames: Sequence[Frame], visits: Sequence[Any], crop: tuple[int, int], folder: Path
) -> dict[str, float]:
    """Milliseconds of CPU for each part of the work on a frame."""
    depths = [replace(frame, image=None) for frame in frames]
    maps = [list(visit[2].values())[-1] for visit in visits]
    panels = [draw(visit) for visit in visits]
    sparse = [visit[1]["sparse_depth"][None] for visit in visits]
    pairs = [(visit[1]["ground_truth"][None],) * 2 for visit in visits]
    fill, metrics = jax.jit(classical_fill), jax.jit(depth_metrics)
    work: dict[str, tuple[Callable[[Any], Any], Sequence[Any]]] = {
        "scan headers and checksums": (lambda f: check.scan_frames([f], crop), frames),
        "read, check, decode image and depth": (lambda f: check.read_frame(f, crop), frames),
        "the same, sparse depth and ground truth alone": (
            lambda f: check.read_frame(f, crop),
            depths,
        ),
        "fill, on this core instead of the device": (
            lambda depth: jax.block_until_ready(fill(depth)),
            sparse,
        ),
        "metrics of a map, the same": (lambda pair: jax.block_until_ready(metrics(*pair)), pairs),
        "write prediction": (lambda m: write_depth(folder / "depth.png", m), maps),
        "draw panel": (draw, visits),
        "write panel": (lambda panel: write_image(folder / "panel.png", panel), panels),
    }
    found = {}
    for name, (function, inputs) in work.items():
        # The first of these compiles.
        seconds = [clock(lambda: [function(x) for x in inputs])[0] for _ in range(4)]  # noqa: B023
        found[name] = 1e3 * min(seconds) / len(inputs)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data_dir", type=Path, required=True, help="KITTI's archives, unpacked")
    parser.add_argument("--split", choices=("train", "val", "val_selection"), default="train")
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--distinct", type=int, default=6, help="frames that are repeated")
    parser.add_argument("--height", type=int, default=352)
    parser.add_argument("--width", type=int, default=1216)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--panels", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--checkpoint", default="compact", help="empty for the fill alone")
    options = parser.parse_args()
    for name in ("frames", "distinct"):
        if getattr(options, name) < 1:
            parser.error(f"--{name} must be at least 1")
    quiet_tensorflow()
    enable_compile_cache()

    frames = find_frames(options.data_dir.expanduser(), options.split)[: options.distinct]
    tables: list[Table] = []
    visits: list[Any] = []
    make_step, measure = evaluate.make_eval_step, evaluate.measure_frames

    def recording(*arguments: Any, **options: Any) -> EvalStep:
        tables.append(Table(make_step(*arguments, **options)))
        return tables[0].record

    def seeing(*arguments: Any, visit: loop.Visit, **settings: Any) -> Any:
        def both(*seen: Any) -> None:
            visits.append(seen)
            visit(*seen)

        return measure(*arguments, visit=both, **settings)

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        link_frames(frames, len(frames), folder / "few")
        link_frames(frames, options.frames, folder / "many")
        vars(evaluate).update(make_eval_step=recording, measure_frames=seeing)
        evaluate.run(config_of(options, folder / "few", 0, 1), folder / "out")
        vars(evaluate).update(make_eval_step=lambda *_: tables[0].look_up, measure_frames=measure)
        cores = len(os.sched_getaffinity(0))
        size = f"{options.height}x{options.width}"
        print(f"\n{options.frames} frames of {options.split}, crop {size}, batch {options.batch}")
        config = config_of(options, folder / "many", options.panels, options.batch)
        for _ in range(options.rounds):
            cpu, wall = clock(lambda: evaluate.run(config, folder / "out"))
            print(
                f"{options.panels} panels: {options.frames / cpu:.1f} frames/s of a core "
                f"({1e3 * cpu / options.frames:.1f} ms of CPU a frame), "
                f"{options.frames / wall:.1f} frames/s on {cores} cores"
            )
        parts = parts_of(frames, visits, (options.height, options.width), folder)
        for part, milliseconds in parts.items():
            print(f"{part:46} {milliseconds:6.1f} ms")


if __name__ == "__main__":
    try:
        main()
    except (ValueError, OSError) as error:
        sys.exit(f"Error: {describe(error)}")
