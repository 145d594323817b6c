"""Mock rooms in the ways in which NYU Depth v2 is stored: HDF5 files and TensorFlow Datasets."""

from pathlib import Path

import h5py
import numpy as np

# One scene for training, two recordings of another one for validation.
SCENES = ("kitchen_0004", "office_0022a", "office_0022b")
FRAMES, TESTS = 3, 2


def room(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The image, uint8 [480, 640, 3], and the depth of a room of 2 to 9 m with a box in it."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:480, :640]
    rays = np.stack([(columns - 320) / 519, (rows - 240) / 519, np.ones((480, 640))])
    left, right = -rng.uniform(1, 2.5), rng.uniform(1, 2.5)
    top, floor, back = -rng.uniform(0.8, 1.2), rng.uniform(1, 1.5), rng.uniform(3, 9)
    with np.errstate(divide="ignore", invalid="ignore"):
        x, y = (
            np.where(rays[i] < 0, near, far) / rays[i]
            for i, near, far in ((0, left, right), (1, top, floor))
        )
    walls = np.stack([np.abs(x), np.abs(y), np.full((480, 640), back)])
    depth, surface = walls.min(axis=0), walls.argmin(axis=0)
    corner, size = rng.integers(60, 300, 2), rng.integers(80, 160, 2)
    box = tuple(slice(start, start + side) for start, side in zip(corner, size, strict=True))
    depth[box], surface[box] = np.minimum(depth[box], 0.6 * back), 3
    colours = rng.integers(40, 200, (4, 3))
    light = 1.2 - 0.08 * depth + rng.normal(0, 0.03, depth.shape)
    image = np.clip(colours[surface] * light[..., None], 0, 255)
    return image.astype(np.uint8), depth.astype(np.float32)


def write_hdf5(root: Path, frames: int = FRAMES, tests: int = TESTS) -> Path:
    """Writes the files of sparse-to-dense; returns the folder that contains `nyudepthv2`."""
    names = [f"train/{scene}/{i:05d}" for scene in SCENES for i in range(1, frames + 1)]
    names += [f"val/official/{i:05d}" for i in range(1, tests + 1)]
    for seed, name in enumerate(names):
        write_file(root / "nyudepthv2" / f"{name}.h5", *room(seed))
    return root


def write_file(path: Path, image: np.ndarray, depth: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file["rgb"], file["depth"] = np.moveaxis(image, -1, 0), depth
    return path


def write_records(root: Path, kind: str, counts: dict[str, list[int]], seed: int = 0) -> Path:
    """Writes rooms as TensorFlow Datasets does.

    Args:
      root: a folder, which will contain `nyu_depth_v2/0.0.1`.
      kind: `tfrecord` or `array_record`.
      counts: the frames in each file of the splits `train` and `validation`.
      seed: of the first room.
    """
    import tensorflow_datasets as tfds
    from array_record.python.array_record_module import ArrayRecordWriter
    from tensorflow.io import TFRecordWriter

    features = tfds.features.FeaturesDict(
        {
            "image": tfds.features.Image(shape=(480, 640, 3)),
            "depth": tfds.features.Tensor(shape=(480, 640), dtype=np.float16),
        }
    )
    folder = root / "nyu_depth_v2" / "0.0.1"
    folder.mkdir(parents=True)
    splits = []
    for split, lengths in counts.items():
        for shard, length in enumerate(lengths):
            path = folder / f"nyu_depth_v2-{split}.{kind}-{shard:05d}-of-{len(lengths):05d}"
            array = kind == "array_record"
            writer = (
                ArrayRecordWriter(str(path), "group_size:1") if array else TFRecordWriter(str(path))
            )
            for _ in range(length):
                image, depth = room(seed)
                example = {"image": image, "depth": depth.astype(np.float16)}
                writer.write(features.serialize_example(example))
                seed += 1
            writer.close()
        template = tfds.core.ShardedFileTemplate(
            data_dir=folder,
            template="{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
            dataset_name="nyu_depth_v2",
            split=split,
            filetype_suffix=kind,
        )
        splits.append(
            tfds.core.SplitInfo(
                name=split, shard_lengths=lengths, num_bytes=0, filename_template=template
            )
        )
    tfds.folder_dataset.write_metadata(
        data_dir=folder, features=features, split_infos=splits, check_data=False
    )
    return folder
