"""Reads the ArrayRecord files of TFDS with tf.data, which TFDS itself does not."""

from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from fcfrnet_jax.data.shards import array_records
from fcfrnet_jax.data.shards.index import ShardIndex


def read_dataset(
    instructions: list[Any],
    features: Any,
    decoders: Any = None,
    read_config: Any = None,
    shuffle_files: bool = False,
) -> Any:
    """Reads shards as a `tf.data.Dataset`.

    Args:
      instructions: of `tfds.core.SplitInfo`.
      features: of the dataset.
      decoders, read_config, shuffle_files: of `tfds.load`.

    Raises:
      ValueError: a setting of `read_config` that would change which examples are read.
    """
    import tensorflow as tf

    config = read_config or tfds.ReadConfig()
    _check_read_config(config)
    if isinstance(decoders, tfds.decode.PartialDecoding):
        features, decoders = decoders.extract_features(features), decoders.decoders
    if shuffle_files:
        order = np.random.default_rng(config.shuffle_seed).permutation(len(instructions))
        instructions = [instructions[i] for i in order]
    shards = [Path(item.filename) for item in instructions]
    prefixes = [shard.name for shard in shards]
    spans = [[entry.span for entry in ShardIndex.read(shard).entries] for shard in shards]
    places = [
        (i, place)
        for i, item in enumerate(instructions)
        for place in range(item.skip, item.skip + item.take)
    ]

    def read(place: np.ndarray) -> bytes:
        shard, number = shards[place[0]], int(place[1])
        span = spans[place[0]][number]
        try:
            return array_records.read_checked(shard, span).tobytes()
        except ValueError as error:
            raise ValueError(f"{shard}:{number} {error}") from error

    def parse(place: Any) -> Any:
        record = tf.ensure_shape(tf.numpy_function(read, [place], tf.string), [])
        example = features.deserialize_example(record, decoders=decoders)
        if config.add_tfds_id:
            # As TFDS's own reader.
            prefix = tf.gather(prefixes, place[0])
            example["tfds_id"] = tf.strings.join([prefix, tf.strings.as_string(place[1])], "__")
        return example

    dataset = tf.data.Dataset.from_tensor_slices(np.array(places, np.int64).reshape(-1, 2))
    return dataset.map(parse, num_parallel_calls=tf.data.AUTOTUNE).with_options(config.options)


def _check_read_config(config: Any) -> None:
    """Raises ValueError for settings that would change which examples are read."""
    for name in ("input_context", "repeat_filenames", "experimental_interleave_sort_fn"):
        if getattr(config, name):
            raise ValueError(
                f"read_config.{name} is not supported for ArrayRecord files; use methods of the "
                "tf.data.Dataset, such as shard and repeat, or tfds.data_source"
            )
