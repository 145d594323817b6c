"""Draws rendered frames in rows: image, sparse depth, ground truth and exact depth.

    python benchmarks/street_sheet.py --frames 24 --picture docs/streets.jpg

Given a folder in KITTI's layout, the first rows show real frames of its selection for comparison.
They have no exact depth.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import jax
import numpy as np

if not __package__:
    # Makes the package importable when run as a command in a checkout that is not installed.
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fcfrnet_jax.data.images import read_depth, read_image
from fcfrnet_jax.data.kitti import find_frames
from fcfrnet_jax.geometry import crop_box
from fcfrnet_jax.pictures.colours import colour_depth
from fcfrnet_jax.streets.frame import render_scene
from fcfrnet_jax.streets.frame_files import CROP

TILE = (304, 88)  # columns, rows


def tile(depth: np.ndarray) -> np.ndarray:
    """Colours a depth map `[352, 1216]`, reduced to the nearest point of each block."""
    blocks = depth.reshape(TILE[1], CROP[0] // TILE[1], TILE[0], CROP[1] // TILE[0])
    nearest = np.where(blocks > 0, blocks, np.inf).min(axis=(1, 3))
    return colour_depth(np.where(np.isfinite(nearest), nearest, 0.0))


def row(image: np.ndarray, *depths: np.ndarray) -> np.ndarray:
    """Draws an image and depth maps of the size `CROP` side by side."""
    small = cv2.resize(image, TILE, interpolation=cv2.INTER_AREA)
    return np.concatenate([small, *(tile(depth) for depth in depths)], axis=1)


def real_rows(folder: Path) -> Iterator[np.ndarray]:
    for frame in find_frames(folder, "val_selection", require={"image", "ground_truth"}):
        assert frame.image is not None
        assert frame.ground_truth is not None
        depths = read_depth(frame.sparse), read_depth(frame.ground_truth)
        yield row(read_image(frame.image), *depths, np.zeros(CROP, np.float32))


def rendered_rows(count: int, seed: int) -> Iterator[np.ndarray]:
    for key in jax.random.split(jax.random.key(seed), count):
        frame = jax.tree.map(np.asarray, render_scene(key))
        top, left = crop_box(frame.depth.shape, CROP)
        window = np.s_[top : top + CROP[0], left : left + CROP[1]]
        image, depth, sparse_depth, ground_truth = (leaf[window] for leaf in frame)
        yield row(image, sparse_depth, ground_truth, depth)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", help="real frames in KITTI's layout")
    parser.add_argument("--frames", type=int, default=24, help="the number of rendered frames")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--picture", type=Path, default=Path("streets.jpg"), help="the output")
    options = parser.parse_args()
    rows = list(real_rows(options.folder)) if options.folder else []
    rows += rendered_rows(options.frames, options.seed)
    sheet = np.concatenate(rows)[..., ::-1]
    if not cv2.imwrite(str(options.picture), sheet):
        raise OSError(f"cannot write {options.picture}")
    print(f"Wrote {len(rows)} frames to {options.picture}")


if __name__ == "__main__":
    main()
