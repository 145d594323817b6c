"""Compares what reading costs: frames per second of one core, and bytes per frame.

    taskset -c 0 python benchmarks/input_pipeline.py --data_dir ~/kitti --split train

Contenders take turns in every round, on the same frames, for evaluation (image, sparse depth and
ground truth, cropped) and for training (also shuffled, flipped and with changed colours):

- `PIL`, the loader of the reference code of most papers, with PIL's colour jitter;
- `OpenCV`, the same with OpenCV and NumPy;
- `folders` and `shards`, this package. Its augmentation runs on the devices, after the copy:
  `training` is what the host does, and `training, augmented` also counts the augmentation on this
  machine's first device, as if it were done between two steps.

The rates are frames per second of CPU time, of all threads, so that other programs on the machine
count little, and by the clock where an accelerator augments. Training streams are measured after
their first batch. Files come from the operating system's cache. The shards are built in a temporary
folder. Without --data_dir the frames are those of the sample data set, which is rendered once.
"""

import argparse
import itertools
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import jax
import numpy as np
from PIL import Image, ImageEnhance

if not __package__:
    # Makes the package importable when run as a command in a checkout that is not installed.
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fcfrnet_jax import process
from fcfrnet_jax.data.augment import Augmentation
from fcfrnet_jax.data.frame import Frame
from fcfrnet_jax.data.kitti.archives import open_source
from fcfrnet_jax.data.pipeline import hide_accelerators
from fcfrnet_jax.data.sets import open_folder
from fcfrnet_jax.data.shards.build import build_split
from fcfrnet_jax.data.shards.plan import plan_split
from fcfrnet_jax.data.train_pipeline import make_train_dataset
from fcfrnet_jax.evaluation.batches import read_batches
from fcfrnet_jax.geometry import Size, crop_box
from fcfrnet_jax.streets.sample import sample_dir
from fcfrnet_jax.training.file_batches import augmented_batches

NEEDED = ("image", "ground_truth")
PEER, OURS = "PIL", ("folders", "shards")
JITTER = 0.1
# How often an evaluation reads the frames at once, so that its last batch counts little.
PASSES = 5


def paths_of(frame: Frame) -> tuple[Path, Path, Path]:
    assert frame.image is not None
    assert frame.ground_truth is not None
    return frame.image, frame.sparse, frame.ground_truth


def with_pil(frame: Frame, crop: Size, draw: np.random.Generator | None) -> list[np.ndarray]:
    """Reads a frame as the reference code of self-supervised sparse-to-dense does (PyTorch)."""
    image_path, *depth_paths = paths_of(frame)
    image = Image.open(image_path)
    depths = [np.array(Image.open(path), dtype=int) for path in depth_paths]
    maps = [depth.astype(np.float32) / 256.0 for depth in depths]
    pixels = np.array(image, dtype="uint8")
    top, left = crop_box(pixels.shape[:2], crop)
    pixels, *maps = (a[top : top + crop[0], left : left + crop[1]] for a in (pixels, *maps))
    if draw is None:
        return [pixels, *maps]
    if draw.uniform() < 0.5:
        pixels, *maps = (a[:, ::-1] for a in (pixels, *maps))
    jittered = Image.fromarray(pixels)
    for enhance in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        jittered = enhance(jittered).enhance(1 + draw.uniform(-JITTER, JITTER))
    return [np.asarray(jittered), *map(np.ascontiguousarray, maps)]


def with_opencv(frame: Frame, crop: Size, draw: np.random.Generator | None) -> list[np.ndarray]:
    """The same with OpenCV."""
    image_path, *depth_paths = paths_of(frame)
    image: Any = cv2.imread(str(image_path))
    maps: Any = [cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in depth_paths]
    image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    top, left = crop_box(image.shape[:2], crop)
    image, *maps = (a[top : top + crop[0], left : left + crop[1]] for a in (image, *maps))
    maps = [np.multiply(depth, 1 / 256, dtype=np.float32) for depth in maps]
    if draw is None:
        return [image, *maps]
    if draw.uniform() < 0.5:
        image, *maps = (cv2.flip(a, 1) for a in (image, *maps))
    light, contrast, colour = 1 + draw.uniform(-JITTER, JITTER, 3)
    image = cv2.convertScaleAbs(image, alpha=light)
    mean = float(cv2.mean(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))[0])
    image = cv2.convertScaleAbs(image, alpha=contrast, beta=mean * (1 - contrast))
    gray = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return [cv2.addWeighted(image, colour, gray, 1 - colour, 0), *maps]


def evaluating(frames: Sequence[Frame], crop: Size, batch: int) -> None:
    """Reads all frames as an evaluation does."""
    for _ in read_batches(frames, batch_size=batch, crop=crop):
        pass


def training_rate(frames: Sequence[Frame], crop: Size, batch: int, steps: int) -> float:
    """Frames per second of CPU time that the host reads for a training."""
    stream = iter(make_train_dataset(frames, batch_size=batch, crop=crop, seed=0))
    next(stream)
    # Its threads read ahead by about as much at the start as at the end.
    return rate(steps * batch, lambda: sum(1 for _ in itertools.islice(stream, steps)))


def augmentation_rate(frames: Sequence[Frame], crop: Size, batch: int, steps: int) -> float:
    """Frames per second that this device augments; on a CPU, of CPU time."""
    stream = iter(make_train_dataset(frames, batch_size=batch, crop=crop, seed=0))
    one = {name: np.array(leaf) for name, leaf in next(stream).items()}
    del stream
    settings = Augmentation(brightness=JITTER, contrast=JITTER, saturation=JITTER)
    augmented = augmented_batches(itertools.repeat(one), settings, seed=0)
    jax.block_until_ready(next(augmented)[1])
    clock = time.process_time if jax.default_backend() == "cpu" else time.perf_counter
    start = clock()
    jax.block_until_ready([maps for _, maps in itertools.islice(augmented, steps)])
    return steps * batch / (clock() - start)


def rate(frames: int, work: Callable[[], object]) -> float:
    """Frames per second of CPU time."""
    start = time.process_time()
    work()
    return frames / (time.process_time() - start)


def measure(
    frames: dict[str, list[Frame]], crop: Size, batch: int, rounds: int, steps: int
) -> dict[str, dict[str, float]]:
    """Returns the median rates of each contender, by task."""
    files = frames["folders"]
    draw = np.random.default_rng(0)
    loaders = {PEER: with_pil, "OpenCV": with_opencv}

    def load_all(load: Callable[..., object], random: np.random.Generator | None) -> None:
        for frame in files:
            load(frame, crop, random)

    found: dict[str, dict[str, list[float]]] = {"evaluation": {}, "training": {}}
    for _ in range(rounds):
        for name, load in loaders.items():
            for task, random in (("evaluation", None), ("training", draw)):
                value = rate(len(files), partial(load_all, load, random))
                found[task].setdefault(name, []).append(value)
        for name in OURS:
            passes = frames[name] * PASSES
            value = rate(len(passes), partial(evaluating, passes, crop, batch))
            found["evaluation"].setdefault(name, []).append(value)
            value = training_rate(frames[name], crop, batch, steps)
            found["training"].setdefault(name, []).append(value)
    return {
        task: {name: statistics.median(values) for name, values in rows.items()}
        for task, rows in found.items()
    }


def bytes_per_frame(frames: Sequence[Frame], shards: Path) -> dict[str, float]:
    """The size of a frame in folders and in shards, with their indexes."""
    files = sum(path.stat().st_size for frame in frames for path in paths_of(frame))
    stored = sum(path.stat().st_size for path in shards.iterdir() if path.is_file())
    return {"folders": files / len(frames), "shards": stored / len(frames)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data_dir", type=Path, help="KITTI's archives, unpacked")
    parser.add_argument("--split", choices=("train", "val"), default="train")
    parser.add_argument("--height", type=int, default=352)
    parser.add_argument("--width", type=int, default=1216)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=24, help="training batches in a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()

    process.keep_freed_memory()
    hide_accelerators()
    cv2.setNumThreads(1)
    folder = options.data_dir.expanduser() if options.data_dir else sample_dir()
    crop = options.height, options.width
    with tempfile.TemporaryDirectory() as scratch, open_source(folder) as source:
        plan = plan_split(source, options.split)
        if plan is None:
            sys.exit(f"Error: {folder} has no {options.split} split")
        shards = Path(scratch)
        build_split(plan, source, shards)
        frames = {
            name: open_folder(root).search(options.split, coarse_dir=None, require=NEEDED)[0]
            for name, root in (("folders", folder), ("shards", shards))
        }
        sizes = bytes_per_frame(frames["folders"], shards)
        rates = measure(frames, crop, options.batch, options.rounds, options.steps)
        augmented = augmentation_rate(frames["shards"], crop, options.batch, options.steps)
        rates["training, augmented"] = {
            name: 1 / (1 / value + 1 / augmented) if name in OURS else value
            for name, value in rates["training"].items()
        }
    device = jax.devices()[0]
    print(
        f"{device.device_kind} ({device.platform}), {len(frames['folders'])} frames of "
        f"{options.split}, crop {crop[0]}x{crop[1]}; frames per second of CPU time"
    )
    for task, row in rates.items():
        listed = ", ".join(f"{n} {v:.0f} ({v / row[PEER]:.1f}x)" for n, v in row.items())
        print(f"{task}: {listed}")
    print(f"augmentation on {jax.device_count()} x this device: {augmented:.0f} frames/s")
    print("megabytes a frame: " + ", ".join(f"{n} {v / 1e6:.2f}" for n, v in sizes.items()))
    if options.json:
        options.json.write_text(json.dumps({"rates": rates, "bytes": sizes}, indent=1))


if __name__ == "__main__":
    main()
