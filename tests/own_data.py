"""A small data set of another layout than KITTI's, with files of several kinds."""

import json

import cv2
import numpy as np

SIZE = 32, 48
DESCRIPTION = {
    "image": "rgb/{drive}/{number}.jpg",
    "sparse_depth": "lidar/{drive}/{number}.npy",
    "ground_truth": "truth/{drive}_{number}.png",
    "depth_scale": {"ground_truth": 1000},
    "intrinsics": "calibration/{drive}.txt",
    "splits": {"train": ["a/*"], "val": ["b/*"]},
    "limits": [0.5, 60],
}
# Changes of the description for the drive `a` alone, without a field for it.
OF_ONE_DRIVE = {
    "sparse_depth": "lidar/a/{number}.npy",
    "ground_truth": "truth/a_{number}.png",
    "intrinsics": "calibration/a.txt",
    "splits": {"train": ["*"]},
}


def write(folder, drives=("a", "b"), numbers=range(3), **changes):
    """Writes a data set and returns its ground truth in metres by drive and number."""
    random = np.random.default_rng(0)
    truths = {}
    for place in ("rgb", "lidar", "truth", "calibration"):
        (folder / place).mkdir(parents=True)
    for drive in drives:
        (folder / "rgb" / drive).mkdir()
        (folder / "lidar" / drive).mkdir()
        (folder / "calibration" / f"{drive}.txt").write_text("40 0 24 0 40 16 0 0 1")
        for number in numbers:
            rows = np.linspace(30, 5, SIZE[0], dtype=np.float32)[:, None]
            truth = np.rint(1000 * (rows + random.uniform(0, 0.1, SIZE))) / 1000
            sparse = np.where(random.random(SIZE) < 0.2, truth, np.nan).astype(np.float32)
            image = cv2.GaussianBlur(random.integers(0, 256, (*SIZE, 3), dtype=np.uint8), (9, 9), 3)
            cv2.imwrite(str(folder / "rgb" / drive / f"{number:04}.jpg"), image)
            np.save(folder / "lidar" / drive / f"{number:04}.npy", sparse)
            encoded = np.rint(1000 * truth).astype(np.uint16)
            cv2.imwrite(str(folder / "truth" / f"{drive}_{number:04}.png"), encoded)
            truths[drive, number] = truth
    (folder / "dataset.json").write_text(json.dumps(DESCRIPTION | changes))
    return truths


def truth_of(folder, drive, number):
    """The ground truth of a frame in metres, read by OpenCV."""
    path = folder / "truth" / f"{drive}_{number:04}.png"
    return cv2.imread(str(path), cv2.IMREAD_UNCHANGED) / 1000
