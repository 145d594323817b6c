"""Compares formats of records: how many frames one core decodes, and the size of a frame.

    taskset -c 0 python benchmarks/record_formats.py --data_dir ~/kitti --keep_freed_memory

Every format is verified and then timed in turn, in several rounds, on the same frames: image,
sparse depth and ground truth. The rates are frames per second of CPU time, so that other programs
on the machine count little; files come from the operating system's cache. zstd and lz4 are measured
if the packages `zstandard` and `lz4` are installed. Without --data_dir the frames are those of the
sample data set, which is rendered once and cached.
"""

import argparse
import importlib
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

if not __package__:
    # Makes the package importable when run as a command in a checkout that is not installed.
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fcfrnet_jax import process
from fcfrnet_jax.data import shards
from fcfrnet_jax.data.frame import Frame
from fcfrnet_jax.data.images import decode_depth, decode_image, depth_pixels, read_depth, read_image
from fcfrnet_jax.data.kitti import find_frames
from fcfrnet_jax.data.shards import array_records, points
from fcfrnet_jax.geometry import Size
from fcfrnet_jax.streets.sample import sample_dir

Arrays = tuple[np.ndarray, np.ndarray, np.ndarray]
SCALE = np.float32(1 / 256)
ARRAYS = ("image", "sparse_depth", "ground_truth")


@dataclass(frozen=True)
class Codec:
    """Encodes an array as bytes, and decodes a view of them to an array of a size."""

    encode: Callable[[np.ndarray], bytes]
    decode: Callable[[np.ndarray, Size], np.ndarray]


def raw_image(data: np.ndarray, size: Size) -> np.ndarray:
    return data.reshape(*size, 3)


def dense(data: np.ndarray, size: Size) -> np.ndarray:
    return data.view(np.uint16).reshape(size) * SCALE


def pack_mask(depth: np.ndarray) -> bytes:
    return np.packbits(depth > 0).tobytes() + depth[depth > 0].tobytes()


def unpack_mask(data: np.ndarray, size: Size) -> np.ndarray:
    count = size[0] * size[1]
    split = (count + 7) // 8
    pixels = np.flatnonzero(np.unpackbits(data[:split], count=count).view(bool))
    depth = np.zeros(count, np.float32)
    depth[pixels] = np.frombuffer(data[split:], np.uint16) * SCALE
    return depth.reshape(size)


def pack_indices(depth: np.ndarray) -> bytes:
    pixels = np.flatnonzero(depth).astype(np.int32)
    return pixels.tobytes() + depth.ravel()[pixels].tobytes()


def unpack_indices(data: np.ndarray, size: Size) -> np.ndarray:
    count = len(data) // 6
    depth = np.zeros(size[0] * size[1], np.float32)
    pixels = np.frombuffer(data[: 4 * count], np.int32)
    depth[pixels] = np.frombuffer(data[4 * count :], np.uint16) * SCALE
    return depth.reshape(size)


def unpack_points(data: np.ndarray, size: Size) -> np.ndarray:
    count = len(data) // 3
    return points.unpack(data[:count].data, data[count:].data, size)


RAW = Codec(np.ndarray.tobytes, raw_image)
POINTS = Codec(lambda depth: b"".join(points.pack(depth)), unpack_points)
DENSE = Codec(np.ndarray.tobytes, dense)


def compressed(codec: Codec, compress: Callable, decompress: Callable) -> Codec:
    """Compresses the differences of rows, which are smaller than the values."""

    def encode(array: np.ndarray) -> bytes:
        return compress(np.diff(array, axis=0, prepend=array.dtype.type(0)).tobytes())

    def decode(data: np.ndarray, size: Size) -> np.ndarray:
        whole = np.frombuffer(decompress(data.data), np.uint8).reshape(*size, -1)
        return np.cumsum(whole, axis=0, dtype=np.uint8)

    return Codec(encode, decode) if codec is RAW else codec


def formats() -> dict[str, tuple[Codec, Codec]]:
    """The codecs of images and of depth maps, by name."""
    from isal import igzip_lib

    found = {
        "raw, dense uint16": (RAW, DENSE),
        "raw, mask and values": (RAW, Codec(pack_mask, unpack_mask)),
        "raw, indices and values": (RAW, Codec(pack_indices, unpack_indices)),
        "raw, points": (RAW, POINTS),
        "igzip, points": (compressed(RAW, igzip_lib.compress, igzip_lib.decompress), POINTS),
    }
    for name, module in (("zstd", "zstandard"), ("lz4", "lz4.frame")):
        if importlib.util.find_spec(module.partition(".")[0]):
            library = importlib.import_module(module)
            codec = compressed(RAW, library.compress, library.decompress)
            found[f"{name}, points"] = (codec, POINTS)
    return found


class InOneFile:
    """Records one after the other in a file, each read at once and with a checksum."""

    def __init__(self, path: Path, records: list[list[bytes]], decode: Callable) -> None:
        self.path, self.decode, self.size = path, decode, 0.0
        whole = [b"".join(parts) for parts in records]
        path.write_bytes(b"".join(whole))
        ends = np.cumsum([len(data) for data in whole]).tolist()
        self.places = list(zip([0, *ends], [len(data) for data in whole], strict=False))
        self.checksums = [array_records.checksum(data) for data in whole]
        self.cuts = [np.cumsum([len(part) for part in parts])[:-1] for parts in records]
        self.size = ends[-1] / len(whole)

    def __call__(self, i: int) -> Arrays:
        descriptor = os.open(self.path, os.O_RDONLY)
        start, length = self.places[i]
        data = np.frombuffer(os.pread(descriptor, length, start), np.uint8)
        os.close(descriptor)
        assert array_records.checksum(data) == self.checksums[i]
        return self.decode(i, np.split(data, self.cuts[i]))


def pil(frame: Frame) -> Arrays:
    """Reads a frame as code bases with PIL do."""
    from PIL import Image

    assert frame.image is not None
    assert frame.ground_truth is not None
    opened = (Image.open(path) for path in (frame.sparse, frame.ground_truth))
    sparse, truth = (np.array(depth, np.int64).astype(np.float32) / 256 for depth in opened)
    return np.array(Image.open(frame.image).convert("RGB")), sparse, truth


def opencv(frame: Frame) -> Arrays:
    assert frame.image is not None
    assert frame.ground_truth is not None
    return read_image(frame.image), read_depth(frame.sparse), read_depth(frame.ground_truth)


def of_files(frames: list[Frame], folder: Path) -> Iterator[tuple[str, Callable, float]]:
    """Yields name, reader and bytes per frame of everything but TFDS's shards."""
    paths = [(f.image, f.sparse, f.ground_truth) for f in frames]
    files = [[path.read_bytes() for path in group if path] for group in paths]
    size = statistics.mean(sum(map(len, group)) for group in files)
    yield "PIL, files", lambda i: pil(frames[i]), size
    yield "OpenCV, files", lambda i: opencv(frames[i]), size

    def decode_png(i: int, parts: list[np.ndarray]) -> Arrays:
        return decode_image(parts[0]), decode_depth(parts[1]), decode_depth(parts[2])

    reader = InOneFile(folder / "png", files, decode_png)
    yield "PNG as is", reader, reader.size
    pixels = [(decode_image(a), depth_pixels(b), depth_pixels(c)) for a, b, c in files]
    for name, (image, depth) in formats().items():
        records = [[image.encode(a), depth.encode(b), depth.encode(c)] for a, b, c in pixels]

        def decode(i: int, parts: list, image: Codec = image, depth: Codec = depth) -> Arrays:
            size = pixels[i][1].shape
            sparse, truth = (depth.decode(part, size) for part in parts[1:])
            return image.decode(parts[0], size), sparse, truth

        reader = InOneFile(folder / name, records, decode)
        yield name, reader, reader.size


def of_array_records(
    frames: list[Frame], folder: Path, data_dir: Path
) -> Iterator[tuple[str, Callable, float]]:
    """Yields readers of ArrayRecord files, all of images as they are and points."""
    import tensorflow as tf
    import tensorflow_datasets as tfds
    from array_record.python.array_record_module import ArrayRecordReader, ArrayRecordWriter

    from fcfrnet_jax.data.tfds_builder import KittiDepthCompletion

    builder = KittiDepthCompletion(data_dir=folder)
    config = tfds.download.DownloadConfig(manual_dir=data_dir)
    builder.download_and_prepare(download_config=config)
    (shard,) = builder.data_path.glob("*-train.*-00000-of-00001")
    stored = {f.name: f for f in shards.search_frames(folder, "train")[0]}
    places = [list(stored).index(frame.name) for frame in frames]
    size = statistics.mean(stored[frame.name].stored.entry.span.length for frame in frames)  # type: ignore[union-attr]

    def ours(i: int) -> Arrays:
        return values(stored[frames[i].name].stored.read(ARRAYS))  # type: ignore[union-attr]

    yield "ArrayRecord in place (shards)", ours, size
    spec = builder.info.features
    package = ArrayRecordReader(str(shard), options="readahead_buffer_size:0")
    small = str(folder / "compressed")
    writer = ArrayRecordWriter(small, "group_size:1")
    for record in package.read_all():
        writer.write(record)
    writer.close()
    zstd = ArrayRecordReader(small, options="readahead_buffer_size:0")
    entries = [stored[frame.name].stored.entry for frame in frames]  # type: ignore[union-attr]

    def by_package(i: int, reader: Any = package) -> Arrays:
        from fcfrnet_jax.data.shards import records

        data = np.frombuffer(reader.read([places[i]])[0], np.uint8)
        return values(records.decode(data, entries[i].name, entries[i].size, ARRAYS))

    yield "ArrayRecord by its package", by_package, size
    small_size = size * os.path.getsize(small) / os.path.getsize(shard)
    yield "the same, zstd", lambda i: by_package(i, zstd), small_size

    parse = tf.function(spec.deserialize_example, input_signature=[tf.TensorSpec([], tf.string)])

    def by_tensorflow(i: int) -> Arrays:
        return values(parse(package.read([places[i]])[0]))

    yield "the same, parsed by TensorFlow", by_tensorflow, size
    source = builder.as_data_source(split="train")
    yield "tfds.data_source", lambda i: values(source[places[i]]), size


def values(found: dict[str, Any]) -> Arrays:
    image, sparse, truth = (np.asarray(found[name]) for name in ARRAYS)
    return image, sparse.reshape(image.shape[:2]), truth.reshape(image.shape[:2])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data_dir", type=Path, help="KITTI's archives, unpacked")
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--keep_freed_memory", action="store_true", help="as commands do")
    options = parser.parse_args()
    if options.keep_freed_memory and not process.keep_freed_memory():
        sys.exit("this process cannot keep freed memory: no glibc, or an accelerator may be used")
    process.quiet_tensorflow()
    import cv2

    cv2.setNumThreads(1)
    data_dir = options.data_dir.expanduser() if options.data_dir else sample_dir()
    frames = [replace(f, coarse=None) for f in find_frames(data_dir, "train")[: options.frames]]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        readers = [*of_files(frames, folder), *of_array_records(frames, folder, data_dir)]
        rates: dict[str, list[float]] = {label: [] for label, _, _ in readers}
        for label, reader, _ in readers:
            for i in (0, len(frames) - 1):
                for one, other in zip(reader(i), opencv(frames[i]), strict=True):
                    np.testing.assert_array_equal(one, other, label)
        for _ in range(options.rounds):
            for label, reader, _ in readers:
                start = time.process_time()
                for i in range(len(frames)):
                    reader(i)
                rates[label].append(len(frames) / (time.process_time() - start))
        for label, _, size in readers:
            print(
                f"{label:32} {statistics.median(rates[label]):6.0f} frames/s {size / 1e6:5.2f} MB"
            )


if __name__ == "__main__":
    main()
