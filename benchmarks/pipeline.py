"""Times the training pipeline on frames from files: read, decode, crop, copy to devices, augment.

    python benchmarks/pipeline.py --batch 8
    python benchmarks/pipeline.py --data_dir ~/kitti --batch 8 --random_crop

Prints two rates in frames per second: of the batches on the host, after decoding and cropping, and
of the augmented batches on the devices. Without --data_dir the frames are those of the sample data
set, which is rendered once and cached. The first batches are not timed: they compile the
augmentation and fill the prefetch buffer. Files that are read repeatedly come from the operating
system's cache, so slow disks are not measured.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax

if not __package__:
    # Makes the package importable when run as a command in a checkout that is not installed.
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fcfrnet_jax.data.augment import Augmentation
from fcfrnet_jax.data.kitti import find_frames
from fcfrnet_jax.data.pipeline import hide_accelerators
from fcfrnet_jax.data.train_pipeline import make_train_dataset
from fcfrnet_jax.streets.sample import sample_dir
from fcfrnet_jax.training.file_batches import augmented_batches

# Batches before the clock starts.
WARM_UP = 5


def frames_per_second(batches: Iterator[Any], batch_size: int, steps: int) -> float:
    """The rate of `steps` batches after the warm-up."""
    for _ in range(WARM_UP):
        jax.block_until_ready(next(batches))
    start = time.perf_counter()
    for _ in range(steps):
        jax.block_until_ready(next(batches))
    return steps * batch_size / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data_dir", type=Path, help="KITTI's archives, unpacked")
    parser.add_argument("--split", choices=("train", "val"), default="train")
    parser.add_argument("--height", type=int, default=352)
    parser.add_argument("--width", type=int, default=1216)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3, help="each rate is measured in turn")
    parser.add_argument("--threads", type=int, help="for reading; default: one a core")
    parser.add_argument("--random_crop", action="store_true")
    options = parser.parse_args()

    hide_accelerators()
    data_dir = options.data_dir.expanduser() if options.data_dir else sample_dir()
    frames = find_frames(data_dir, options.split)
    augmentation = Augmentation(random_crop=options.random_crop)

    def stored() -> Iterator[Any]:
        return iter(
            make_train_dataset(
                frames,
                batch_size=options.batch,
                crop=(options.height, options.width),
                seed=0,
                random_crop=options.random_crop,
                threads=options.threads,
            )
        )

    device = jax.devices()[0]
    print(
        f"{device.device_kind} ({device.platform}) x {jax.device_count()}, {len(frames)} frames, "
        f"crop {options.height}x{options.width}, batch {options.batch}"
    )
    for _ in range(options.rounds):
        host = frames_per_second(stored(), options.batch, options.steps)
        augmented = augmented_batches(stored(), augmentation, seed=0)
        devices = frames_per_second(augmented, options.batch, options.steps)
        print(f"decoded and cropped {host:.1f}, augmented on the devices {devices:.1f} frames/s")


if __name__ == "__main__":
    main()
