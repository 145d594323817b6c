"""Builds shards of tiny frames."""

from pathlib import Path

from fcfrnet_jax.data.kitti.archives import open_source
from fcfrnet_jax.data.shards.build import build_split
from fcfrnet_jax.data.shards.plan import plan_split


def build(source_dir: Path, target: Path, *splits: str, **options) -> Path:
    """Builds the shards of splits, with two frames in each unless `options` say otherwise."""
    options = {"frames_per_shard": 2, **options}
    target.mkdir(exist_ok=True)
    with open_source(source_dir) as source:
        for split in splits:
            build_split(plan_split(source, split), source, target, **options)
    return target
