"""A small made-up data set in KITTI's layout, so that every command can run without a download."""

import json
import os
import shutil
import uuid
from pathlib import Path

import jax
import numpy as np

from fcfrnet_jax.data.synthetic import HEIGHT, KITTI_INTRINSICS, WIDTH, Frame, render_scene
from fcfrnet_jax.files import write_depth, write_image, write_json

SAMPLE_NAME = "sample-v1"  # goes up whenever the frames change
DATE = "2000_01_01"
FIRST_FRAME = 5  # the benchmark leaves out the first five frames of a drive
CROP = (352, 1216)


def sample_dir(cache_dir: str | os.PathLike | None = None) -> Path:
    """Returns the folder of the sample data set, which is made on the first call.

    Args:
      cache_dir: where programs keep what they can make again; by default `$XDG_CACHE_HOME`, or
        `~/.cache`. The data set goes to `fcfrnet_jax/<SAMPLE_NAME>` in it.

    Raises:
      OSError: the cache folder cannot be written.
      ValueError: something else stands in the data set's place.
    """
    try:
        if cache_dir is None:
            cache_dir = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        root = Path(cache_dir) / "fcfrnet_jax" / SAMPLE_NAME
        write_sample(root)
    except (OSError, RuntimeError) as error:  # RuntimeError: this user has no home folder
        raise OSError(
            f"cannot keep the sample data set in a cache folder ({error}); "
            "set XDG_CACHE_HOME to a folder that can be written"
        ) from error
    return root


def write_sample(
    root: str | os.PathLike,
    frames: int = 6,
    seed: int = 0,
    height: int = HEIGHT,
    width: int = WIDTH,
) -> None:
    """Writes a data set of synthetic frames in the layout of KITTI's depth benchmark.

    `val` and `depth_selection` get `frames` frames, each of its own street; `train` gets one
    drive of half as many, a metre apart; `raw` the colour images and the calibration. The data set
    appears whole or not at all; one that stands there with the same settings is kept. Whichever of
    two processes finishes last leaves the other's work alone. A killed process may leave a hidden
    folder beside `root`, which can be deleted.

    Args:
      root: the folder to make.
      frames: at least 1.
      seed: of the streets.
      height, width: of the uncropped pictures; smaller ones show the same view.

    Raises:
      ValueError: `frames` is below 1, or `root` holds anything but this data set.
      OSError: `root` cannot be written.
    """
    if frames < 1:
        raise ValueError(f"a sample data set needs at least 1 frame, got {frames}")
    root = Path(root)
    settings = {
        "name": SAMPLE_NAME,
        "frames": frames,
        "seed": seed,
        "height": height,
        "width": width,
    }
    if _is_finished(root, settings):
        return
    root.parent.mkdir(parents=True, exist_ok=True)
    temporary = root.parent / f".{root.name}.{uuid.uuid4().hex}"
    try:
        _write_frames(temporary, frames, seed, height, width)
        write_json(temporary / "sample.json", settings)
        try:
            os.rename(temporary, root)
        except OSError:
            # Another process may have finished first; then its result is as good as this one.
            if not _is_finished(root, settings):
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _is_finished(root: Path, settings: dict[str, object]) -> bool:
    """Whether `root` holds this data set; False where nothing stands in the way of writing it."""
    marker = root / "sample.json"
    if marker.is_file() and json.loads(marker.read_text(encoding="utf-8")) == settings:
        return True
    if root.is_dir() and not any(root.iterdir()):
        return False
    if root.exists():
        raise ValueError(
            f"{root} exists and is not the sample data set {settings}; "
            "delete it or name another folder"
        )
    return False


def _write_frames(root: Path, frames: int, seed: int, height: int, width: int) -> None:
    scale = np.array([[width / WIDTH], [height / HEIGHT], [1.0]])
    # Scaling moves the outer border of the first pixel, half a pixel from its centre.
    border = np.array([[0.0, 0.0, 0.5], [0.0, 0.0, 0.5], [0.0, 0.0, 0.0]])
    intrinsics = scale * (np.array(KITTI_INTRINSICS) + border) - border
    _write_calibration(root / "raw" / DATE / "calib_cam_to_cam.txt", intrinsics, height, width)
    keys = jax.random.split(jax.random.key(seed), frames + 1)
    for number in range((frames + 1) // 2):
        frame = render_scene(keys[frames], float(number), height, width, intrinsics)
        _write_frame(root, "train", 1, FIRST_FRAME + number, frame)
    for number in range(frames):
        frame = render_scene(keys[number], 0.0, height, width, intrinsics)
        _write_frame(root, "val", 2 + number, FIRST_FRAME, frame)
        _write_selection(root, 2 + number, FIRST_FRAME, frame, intrinsics)


def _write_calibration(path: Path, intrinsics: np.ndarray, height: int, width: int) -> None:
    projection = np.concatenate([intrinsics, np.zeros((3, 1))], axis=1)
    path.parent.mkdir(parents=True)
    path.write_text(
        f"S_rect_02: {width:.6e} {height:.6e}\n"
        f"P_rect_02: {' '.join(f'{value:.6e}' for value in projection.ravel())}\n",
        encoding="utf-8",
    )


def _write_frame(root: Path, split: str, drive: int, number: int, frame: Frame) -> None:
    drive_name, file_name = f"{DATE}_drive_{drive:04d}_sync", f"{number:010d}.png"
    depths = root / split / drive_name / "proj_depth"
    write_depth(depths / "velodyne_raw" / "image_02" / file_name, np.asarray(frame.sparse_depth))
    write_depth(depths / "groundtruth" / "image_02" / file_name, np.asarray(frame.ground_truth))
    colours = root / "raw" / DATE / drive_name / "image_02" / "data"
    write_image(colours / file_name, np.asarray(frame.image))


def _write_selection(
    root: Path, drive: int, number: int, frame: Frame, intrinsics: np.ndarray
) -> None:
    """Writes the bottom-centre crop under the name the benchmark gives it."""
    height, width = frame.depth.shape
    crop_height, crop_width = min(CROP[0], height), min(CROP[1], width)
    top, left = height - crop_height, (width - crop_width) // 2
    window = np.s_[top:, left : left + crop_width]
    folder = root / "depth_selection" / "val_selection_cropped"

    def path(kind: str, label: str, suffix: str = "png") -> Path:
        name = f"{DATE}_drive_{drive:04d}_sync_{label}_{number:010d}_image_02.{suffix}"
        return folder / kind / name

    write_image(path("image", "image"), np.asarray(frame.image)[window])
    write_depth(path("velodyne_raw", "velodyne_raw"), np.asarray(frame.sparse_depth)[window])
    write_depth(
        path("groundtruth_depth", "groundtruth_depth"), np.asarray(frame.ground_truth)[window]
    )
    shifted = intrinsics - np.array([[0.0, 0.0, left], [0.0, 0.0, top], [0.0, 0.0, 0.0]])
    text = path("intrinsics", "image", "txt")
    text.parent.mkdir(parents=True, exist_ok=True)
    text.write_text(" ".join(f"{value:.6f}" for value in shifted.ravel()) + "\n", encoding="utf-8")
