"""The content of a record: the arrays of a frame as features of a `tf.train.Example`.

Images are stored as they are, and depth maps as points; see `points`. The names of the features are
those of TFDS.
"""

from collections.abc import Collection

import numpy as np

from fcfrnet_jax.data.frame import Intrinsics
from fcfrnet_jax.data.shards import example, points
from fcfrnet_jax.geometry import Size

ARRAYS = ("image", "sparse_depth", "ground_truth")


def encode(
    name: str,
    intrinsics: Intrinsics | None,
    image: np.ndarray | None,
    sparse_depth: np.ndarray,
    ground_truth: np.ndarray | None,
) -> bytes:
    """Encodes a frame.

    Args:
      name: of the frame.
      intrinsics: of its camera; None is stored as NaN.
      image: uint8 `[H, W, 3]` RGB; None is stored as an image of 0x0 pixels.
      sparse_depth, ground_truth: uint16 `[H, W]`, 256 times the metres, 0 = missing; None is stored
        as a map without points.
    """
    if image is None:
        image = np.zeros((0, 0, 3), np.uint8)
    if ground_truth is None:
        ground_truth = np.zeros_like(sparse_depth)
    features: dict[str, bytes | tuple[int, ...]] = {
        "name": name.encode(),
        "intrinsics": np.array(intrinsics or (np.nan,) * 4, "<f8").tobytes(),
        "image/shape": image.shape,
        "image/value": image.tobytes(),
    }
    for key, depth in (("sparse_depth", sparse_depth), ("ground_truth", ground_truth)):
        features[f"{key}/shape"] = (*depth.shape, 1)
        features[f"{key}/gaps"], features[f"{key}/values"] = points.pack(depth)
    return example.serialise(features)


def decode(record: np.ndarray, name: str, size: Size, wanted: Collection[str]) -> dict:
    """Decodes arrays of a frame.

    Args:
      record: uint8 `[N]`, with the right checksum. The image is a part of it, not a copy.
      name: of the frame that is expected.
      size: (height, width) of the frame.
      wanted: of `ARRAYS`.

    Returns:
      The arrays `wanted`, as described in `frame.Stored`.

    Raises:
      ValueError: the record is of another frame or lacks an array. The message continues a sentence
        that begins with the name of the record.
    """
    features = example.parse(record.data)
    found = bytes(features.get("name", b"")).decode(errors="replace")
    if found != name:
        raise ValueError(f"is frame {found!r}, expected {name!r}; build the shard again")
    arrays = {}
    try:
        for key in wanted:
            if key == "image":
                arrays[key] = np.frombuffer(features["image/value"], np.uint8).reshape(*size, 3)
            else:
                arrays[key] = points.unpack(
                    features[f"{key}/gaps"], features[f"{key}/values"], size
                )
    except KeyError as error:
        raise ValueError(f"lacks the feature {error.args[0]}; build the shard again") from error
    return arrays
