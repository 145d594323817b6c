"""Tiny frames in folders and in shards."""

from pathlib import Path

import pytest

from tests import kitti_tree as tree
from tests.data.shards.building import build

# Two frames in each shard, so three shards of `val`.
NUMBERS = range(5, 10)


@pytest.fixture(scope="package")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("kitti")
    tree.write_drive(root, numbers=NUMBERS, size=(200, 450))
    tree.write_val_selection(root / tree.SELECTION)
    tree.write_test_selection(root / tree.TEST, count=1)
    return root


@pytest.fixture(scope="package")
def shards_dir(folders: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("shards")
    return build(folders, root, "val", "val_selection", "test_completion")
