"""The TFDS dataset `kitti_depth_completion`. Importing this module registers it.

    import tensorflow_datasets as tfds
    import fcfrnet_jax.data.tfds_builder

    builder = tfds.builder("kitti_depth_completion", data_dir="~/shards")
    config = tfds.download.DownloadConfig(manual_dir="~/kitti")
    builder.download_and_prepare(download_config=config)
    frames = tfds.load("kitti_depth_completion", split="train", data_dir="~/shards")

The shards are ArrayRecord files, so that `tfds.data_source` reads them too, and each has an index.
`data_dir=~/shards` in this package reads them without TFDS; see `shards`.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack, redirect_stdout, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from absl import logging

from fcfrnet_jax.data.frame import Frame
from fcfrnet_jax.data.images import DEPTH_SCALE
from fcfrnet_jax.data.kitti import SPLITS
from fcfrnet_jax.data.kitti.archives import Source, open_source
from fcfrnet_jax.data.shards import points, records
from fcfrnet_jax.data.shards.build import build_split, read_frame
from fcfrnet_jax.data.shards.index import ShardIndex, index_path, shard_path
from fcfrnet_jax.data.shards.plan import CONTENTS, EXPECTED, Plan, plan_splits
from fcfrnet_jax.data.shards.tfds_reader import read_dataset
from fcfrnet_jax.files import count_of, list_some, remove
from fcfrnet_jax.locks import lock_folder
from fcfrnet_jax.progress import frames_progress
from fcfrnet_jax.system_errors import naming

_ARRAY_RECORD = "array_record"


class DepthMap(tfds.features.FeatureConnector):
    """A depth map, float32 `[H, W, 1]` metres with 0 = missing, stored as `shards.points`."""

    def get_tensor_info(self) -> tfds.features.TensorInfo:
        return tfds.features.TensorInfo(shape=(None, None, 1), dtype=np.float32)

    def get_serialized_info(self) -> dict[str, tfds.features.TensorInfo]:
        return {
            "shape": tfds.features.TensorInfo(shape=(3,), dtype=np.int32),
            "gaps": tfds.features.TensorInfo(shape=(), dtype=np.object_),
            "values": tfds.features.TensorInfo(shape=(), dtype=np.object_),
        }

    def encode_example(self, example_data: np.ndarray) -> dict[str, Any]:
        gaps, values = points.pack(np.rint(example_data * DEPTH_SCALE).astype(np.uint16))
        return {"shape": example_data.shape, "gaps": gaps, "values": values}

    def decode_example(self, tfexample_data: dict[str, Any]) -> Any:
        import tensorflow as tf

        gaps = tf.io.decode_raw(tfexample_data["gaps"], tf.uint8)
        values = tf.io.decode_raw(tfexample_data["values"], tf.uint16)
        places = tf.cumsum(tf.cast(gaps, tf.int64))[:, None]
        shape = tfexample_data["shape"]
        count = tf.cast(tf.reduce_prod(shape), tf.int64)
        sparse = tf.SparseTensor(places, tf.cast(values, tf.float32) / DEPTH_SCALE, [count])
        # The places are in order. tf.scatter_nd takes ten times as long.
        depth = tf.sparse.to_dense(sparse, validate_indices=False)
        return tf.ensure_shape(tf.reshape(depth, shape), [None, None, 1])

    def decode_example_np(self, example_data: dict[str, Any]) -> np.ndarray:
        height, width, _ = example_data["shape"].tolist()
        depth = points.unpack(example_data["gaps"], example_data["values"], (height, width))
        return depth[..., None]

    def to_json_content(self) -> dict[str, Any]:
        return {}

    @classmethod
    def from_json_content(cls, value: Any) -> "DepthMap":
        return cls()


class KittiDepthCompletion(tfds.core.GeneratorBasedBuilder):
    """The KITTI depth-completion benchmark with calibration and colour images."""

    # TFDS 4.9.10 needs importlib_resources to find it, but does not require that package.
    code_path = tfds.core.Path(__file__)
    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: dict[str, str] = {"1.0.0": "First version."}  # noqa: RUF012
    MANUAL_DOWNLOAD_INSTRUCTIONS = f"manual_dir must have {CONTENTS}."

    def __init__(self, *, file_format: Any = None, **kwargs: Any) -> None:
        super().__init__(file_format=file_format or _ARRAY_RECORD, **kwargs)

    @property
    def building_dir(self) -> Path:
        """The folder of the shards until all are built."""
        return Path(self.data_dir).with_name(f"{self.version}.building")

    def remove_incomplete(self) -> None:
        """Removes the folders that TFDS leaves if a build is killed."""
        for pattern in (f"incomplete.*_{self.version}", f"{self.version}.incomplete*"):
            for left in self.building_dir.parent.glob(pattern):
                if left != Path(self.data_dir):
                    remove(left)

    def _info(self) -> tfds.core.DatasetInfo:
        features = {
            "name": tfds.features.Text(doc="<drive>/image_0x/<number>, or the stem of the image"),
            "image": tfds.features.Tensor(
                shape=(None, None, 3), dtype=np.uint8, encoding="bytes", doc="RGB"
            ),
            "sparse_depth": DepthMap(doc="LiDAR"),
            "ground_truth": DepthMap(doc="without points in the split test_completion"),
            "intrinsics": tfds.features.Tensor(
                shape=(4,), dtype=np.float64, encoding="bytes", doc="fx, fy, cx, cy in pixels"
            ),
        }
        return tfds.core.DatasetInfo(
            builder=self,
            description=self.__doc__,
            features=tfds.features.FeaturesDict(features),
            homepage="https://www.cvlibs.net/datasets/kitti/eval_depth.php?benchmark=depth_completion",
            citation="Uhrig et al., Sparsity Invariant CNNs, 3DV 2017",
            disable_shuffling=True,
            metadata=tfds.core.MetadataDict(),
        )

    def _download_and_prepare(self, dl_manager: Any, download_config: Any) -> None:
        """Writes shards that can be resumed; TFDS's writer writes the other file formats."""
        with open_source(Path(dl_manager.manual_dir)) as source:
            plans = _plan(source)
            self.info.metadata.update(_report(plans))
            if self.info.file_format.value == _ARRAY_RECORD:
                self.info.set_splits(tfds.core.SplitDict(self._build(plans, source)))
            else:
                self._plans, self._source = plans, source
                super()._download_and_prepare(dl_manager, download_config)

    def _build(self, plans: list[Plan], source: Source) -> list[tfds.core.SplitInfo]:
        """Builds in a folder that remains if the build is stopped."""
        version, building = Path(self.data_dir), self.building_dir
        total = sum(len(plan.frames) for plan in plans)
        splits = []
        with ExitStack() as stack:
            stack.enter_context(lock_folder(building))
            self.remove_incomplete()
            advance = stack.enter_context(frames_progress(total, label="Building"))
            for plan in plans:
                indexes = build_split(plan, source, building, advance=advance, keep=advance.keep)
                self.info.metadata[plan.split]["damaged_files"] = _log_damaged(plan, indexes)
                for number in range(len(indexes)):
                    shard = shard_path(building, plan.split, number, len(indexes))
                    for path in (shard, index_path(shard)):
                        _link(path, version / path.name)
                splits.append(_split_info(plan.split, indexes))
        return splits

    def _post_download_and_prepare_hook(self) -> None:
        remove(self.building_dir)

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator[tuple[int, dict]]]:
        return {plan.split: self._generate_examples(plan.frames) for plan in self._plans}

    def _generate_examples(self, frames: list[Frame]) -> Iterator[tuple[int, dict]]:
        for number, frame in enumerate(frames):
            read = read_frame(frame, self._source)
            if read.size is not None:
                found = np.frombuffer(read.record, np.uint8)
                arrays = records.decode(found, frame.name, read.size, ("sparse_depth", *read.has))
                yield number, _example(frame, arrays)

    def _as_dataset(self, split: Any, **kwargs: Any) -> Any:
        if self.info.file_format.value != _ARRAY_RECORD:
            return super()._as_dataset(split, **kwargs)
        instructions = self.info.splits[split].file_instructions
        return read_dataset(instructions, self.info.features, **kwargs)


def build(builder: KittiDepthCompletion, source_dir: Path) -> None:
    """Builds the dataset, or the rest of it; see `shards.build`.

    Args:
      builder: its `data_path` must not exist.
      source_dir: the `manual_dir`.
    """
    config = tfds.download.DownloadConfig(manual_dir=source_dir)
    # TFDS makes a folder for downloads, and prints that it downloads a dataset of unknown size.
    with (
        TemporaryDirectory(prefix="fcfrnet_downloads_") as folder,
        redirect_stdout(None),
        naming(builder.data_path),
    ):
        try:
            builder.download_and_prepare(download_dir=folder, download_config=config)
        finally:
            # It is empty after a source without frames.
            with suppress(OSError):
                Path(builder.data_path).parent.rmdir()


def _plan(source: Source) -> list[Plan]:
    """Logs how complete the splits are.

    Raises:
      ValueError: see `plan_splits`.
    """
    plans = plan_splits(source)
    for plan in plans:
        logging.log(logging.INFO if plan.is_complete() else logging.WARNING, "%s", plan.report())
    for split in (split for split in SPLITS if split not in {plan.split for plan in plans}):
        logging.warning("%s: none of the benchmark's %s frames", split, f"{EXPECTED[split]:,}")
    return plans


def _report(plans: list[Plan]) -> dict[str, Any]:
    """The number of frames of each split, that of the benchmark, and what is missing."""
    found = {plan.split: plan for plan in plans}
    return {
        split: {
            "frames": len(found[split].frames) if split in found else 0,
            "expected": EXPECTED[split],
            "missing_files": len(found[split].faults) if split in found else 0,
            "absent": found[split].absent if split in found else [],
        }
        for split in SPLITS
    }


def _log_damaged(plan: Plan, indexes: list[ShardIndex]) -> int:
    """Logs which files were damaged, and returns their number."""
    faults = [fault for index in indexes for fault in index.faults if fault not in plan.faults]
    if faults:
        listed = list_some([f"{fault.path} {fault.reason}" for fault in faults], separator="; ")
        found = count_of(len(faults), "damaged file")
        logging.warning("%s: %s: %s", plan.split, found, listed)
    return len(faults)


def _split_info(split: str, indexes: list[ShardIndex]) -> tfds.core.SplitInfo:
    lengths = [len(index.entries) for index in indexes]
    return tfds.core.SplitInfo(
        name=split, shard_lengths=lengths, num_bytes=sum(index.size for index in indexes)
    )


def _example(frame: Frame, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    sparse = arrays["sparse_depth"]
    return {
        "name": frame.name,
        "image": arrays.get("image", np.zeros((0, 0, 3), np.uint8)),
        "sparse_depth": sparse[..., None],
        "ground_truth": arrays.get("ground_truth", np.zeros_like(sparse))[..., None],
        "intrinsics": np.array(frame.intrinsics or (np.nan,) * 4),
    }


def _link(path: Path, target: Path) -> None:
    """Gives a file a second name, or moves it where the file system has no links."""
    try:
        os.link(path, target)
    except OSError:
        os.replace(path, target)
