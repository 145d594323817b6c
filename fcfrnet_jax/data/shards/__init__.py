"""Datasets in shards: a few large files that TFDS reads, and from which a frame is read at once.

See `records` for what a record holds, `array_records` for the files, and `index` for what is beside
them.
"""

from fcfrnet_jax.data.shards.frames import find_images, search_frames, shard_folder

__all__ = ["find_images", "search_frames", "shard_folder"]
