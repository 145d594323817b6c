"""Small datasets in the layout of the benchmark's archives."""

from pathlib import Path

import pytest

from tests import kitti_tree as tree


@pytest.fixture
def drive_dir(tmp_path: Path) -> Path:
    tree.write_drive(tmp_path)
    return tmp_path


@pytest.fixture
def selection(tmp_path: Path) -> Path:
    tree.write_val_selection(tmp_path / tree.SELECTION)
    return tmp_path / tree.SELECTION
