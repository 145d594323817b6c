"""Single bad frames of every kind, in evaluation and in training."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from absl import logging

from fcfrnet_jax.commands import dataset, train, workdir
from fcfrnet_jax.commands.data import opening
from fcfrnet_jax.data.frame import Frame
from fcfrnet_jax.data.images import write_depth
from fcfrnet_jax.data.kitti import find_frames
from fcfrnet_jax.evaluation.batches import read_batches
from tests import kitti_tree as tree
from tests.commands import evaluations, runs
from tests.data.pngs import png, undecodable_jpeg

SIZE = (48, 80)


def empty_at_the_bottom(path: Path) -> None:
    depth = np.zeros(SIZE)
    depth[0] = 5
    write_depth(path, depth)


# What happens to a frame, the file that is bad then, and the reason.
DAMAGE: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "image": ("image", Path.unlink, "is missing, the image of "),
    "truth": ("ground_truth", Path.unlink, "is missing, the ground truth of "),
    "sparse": ("sparse", Path.unlink, "is missing, the sparse depth of "),
    "no truth": (
        "ground_truth",
        lambda path: write_depth(path, np.zeros(SIZE)),
        "has no depth above 0.1 m in the crop of 32x64",
    ),
    "no truth in the crop": (
        "ground_truth",
        empty_at_the_bottom,
        "has no depth above 0.1 m in the crop of 32x64",
    ),
    "no scan": (
        "sparse",
        lambda path: write_depth(path, np.zeros(SIZE)),
        "has no depth above 0.1 m",
    ),
    "short": (
        "image",
        lambda path: path.write_bytes(png(SIZE, 8, 2, b"x\x9c\x03\x00\x00\x00\x00\x01")),
        "is damaged: it has 0 of 11568 bytes of pixels",
    ),
    "zero": ("sparse", lambda path: path.write_bytes(b""), "is empty: it has 0 bytes"),
    "folder": ("image", lambda path: (path.unlink(), path.mkdir()), "is a folder"),
    "link": (
        "image",
        lambda path: (path.unlink(), path.symlink_to("nowhere")),
        "cannot be read: No such file",
    ),
    "kind": ("ground_truth", lambda path: tree.random_image(path, SIZE), "is 8-bit RGB, expected"),
    "size": ("sparse", lambda path: tree.random_depth(path, (40, 80)), "is 48x80"),
}


Damaged = tuple[Path, dict[str, Frame]]


@pytest.fixture
def damaged(tmp_path: Path) -> Damaged:
    """A drive with two good frames and one of each kind of damage; the frames by damage."""
    data = tmp_path / "data"
    for split in ("val", "train"):
        tree.write_drive(data, split, numbers=range(len(DAMAGE) + 2), size=SIZE)
    frames = find_frames(data, "val")
    bad = dict(zip(DAMAGE, frames, strict=False))
    for name, (kind, damage, _) in DAMAGE.items():
        damage(getattr(bad[name], kind))
    return data, bad


def test_evaluation_lists_every_bad_frame(damaged: Damaged, tmp_path: Path) -> None:
    data, bad = damaged
    found = evaluations.config_of(data_dir=str(data))
    # The pixels of images are inflated only if frames may be left out.
    count = len(DAMAGE.keys() - {"short"})
    with pytest.raises(ValueError, match=f"{count} frames cannot be used: .*skip_bad_frames=True"):
        dataset.find_frames(found, opening.open_data_set(found), "val", {"image", "ground_truth"})
    settings = {"data_dir": str(data), "skip_bad_frames": True}
    result = evaluations.evaluated(tmp_path / "out", **settings)
    # The fill alone reads no images.
    without_image = {bad[name].name for name, (kind, _, _) in DAMAGE.items() if kind == "image"}
    assert result["frames"] == 2 + len(without_image)
    config = evaluations.config_of(**settings)
    _, files = dataset.find_frames(
        config, opening.open_data_set(config), "val", {"image", "ground_truth"}
    )
    listed = {item.frame.name: item for item in files}
    for name, (kind, _, reason) in DAMAGE.items():
        item = listed[bad[name].name]
        if name != "size":
            assert item.path == getattr(bad[name], kind)
        assert item.reason.startswith(reason), item.reason
    skipped = {item["name"]: item["path"] for item in result["skipped"]}
    assert skipped.keys() == listed.keys() - without_image


def test_training_starts_without_the_bad_frames(damaged: Damaged, tmp_path: Path) -> None:
    data, _ = damaged
    settings = {"val_crop": (32, 64)}
    folder = tmp_path / "run"
    config = runs.config_of(data, **settings)
    found = opening.open_data_set(config)
    with pytest.raises(ValueError, match=r"cannot be used: .*skip_bad_frames=True leaves"):
        train.make_plan(config, workdir.read(folder), found)
    config = runs.config_of(data, skip_bad_frames=True, **settings)
    plan = train.make_plan(config, workdir.read(folder), found)
    names = [frame.name for frame in plan.val_frames]
    assert names == [f"{tree.DRIVE}/image_02/{len(DAMAGE) + i:010d}" for i in range(2)]


def test_a_file_that_breaks_during_the_run_is_named(tmp_path: Path) -> None:
    tree.write_drive(tmp_path, size=SIZE)
    frames = find_frames(tmp_path, "val")
    batches = read_batches(frames, batch_size=1, crop=(32, 64))
    frames[1].ground_truth.write_bytes(b"")
    os.truncate(frames[2].ground_truth, 100)
    with pytest.raises(ValueError, match=f"{frames[1].ground_truth} is empty: it has 0 bytes"):
        list(batches)


def test_ambiguous_images_matter_only_for_their_panels(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tree.write_drive(tmp_path, size=SIZE)
    frames = find_frames(tmp_path, "val")
    frames[1].image.with_suffix(".jpg").write_bytes(b"")
    config = evaluations.config_of(data_dir=str(tmp_path), panels=0)
    assert dataset.panel_images(config, opening.open_data_set(config), "val", frames) == {}
    assert not caplog.records
    config.panels = 1
    with caplog.at_level("WARNING", logger=logging.get_absl_logger().name):
        assert dataset.panel_images(config, opening.open_data_set(config), "val", frames) == {}
    assert "The panels have no images: " in caplog.text
    assert "keep one of them" in caplog.text


def test_a_jpeg_that_cannot_be_decoded_is_named(tmp_path: Path) -> None:
    tree.write_drive(tmp_path, size=SIZE)
    victim = find_frames(tmp_path, "val")[1].image
    victim.write_bytes(undecodable_jpeg(SIZE))
    config = evaluations.config_of(data_dir=str(tmp_path))
    frames, bad = dataset.find_frames(config, opening.open_data_set(config), "val", {"image"})
    assert (len(frames), bad) == (3, [])
    with pytest.raises(ValueError, match=f"{victim} is damaged: its pixels cannot be decoded"):
        list(read_batches(frames, batch_size=1, crop=(32, 64)))
    config.skip_bad_frames = True
    assert len(dataset.find_frames(config, opening.open_data_set(config), "val", {"image"})[0]) == 2


@pytest.mark.slow
@pytest.mark.usefixtures("short_resnet")
def test_a_training_goes_on_without_a_file_that_was_damaged_meanwhile(tmp_path: Path) -> None:
    data, folder = tmp_path / "data", tmp_path / "run"
    for split in ("val", "train"):
        tree.write_drive(data, split, size=SIZE)
    settings = {"val_crop": (32, 64), "panels": 0, "save_every": 2, "validate_every": 0}
    runs.trained(folder, data, steps=2, **settings)
    victim = find_frames(data, "train")[1].ground_truth
    victim.write_bytes(b"")
    with pytest.raises(
        ValueError, match=f"{victim} is empty.*--config.skip_bad_frames=True leaves"
    ):
        runs.trained(folder, data, steps=4, **settings)
    runs.trained(folder, data, steps=4, skip_bad_frames=True, **settings)
    assert runs.newest(folder)[0] == 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda path: tree.random_depth(path, (40, 80)), r"png is 48x80 .*, \S+png is 40x80"),
        (lambda path: path.write_bytes(b"no image"), "png is not a PNG file"),
        (lambda path: os.truncate(path, 90), "png is truncated at byte "),
        (
            lambda path: tree.write_drive(path.parents[6], "train", [6], size=(30, 80)),
            "png is 30x80 .*, smaller than the crop 32x64",
        ),
    ],
)
def test_unchecked_files_are_named_by_the_check_of_the_depth(
    change: Callable[[Path], object], message: str, tmp_path: Path
) -> None:
    tree.write_drive(tmp_path, "train", size=SIZE)
    change(find_frames(tmp_path, "train")[1].sparse)
    config = runs.config_of(tmp_path, check_files=False, crop=(32, 64))
    with pytest.raises(ValueError, match=message) as error:
        dataset.find_frames(
            config, opening.open_data_set(config), "train", {"ground_truth"}, read_files=False
        )
    assert "skip_bad_frames=True leaves" in str(error.value)
    assert "check_depth=False" not in str(error.value)


def test_no_advice_that_would_leave_nothing(tmp_path: Path) -> None:
    tree.write_drive(tmp_path, size=SIZE)
    config = evaluations.config_of(data_dir=str(tmp_path), crop=(352, 1216))
    with pytest.raises(ValueError, match=r"smaller than the crop") as error:
        dataset.find_frames(config, opening.open_data_set(config), "val", {"ground_truth"})
    assert "skip_bad_frames" not in str(error.value)
    assert '--config.crop="(48, 80)" fits every frame that was read' in str(error.value)
    for frame in find_frames(tmp_path, "val"):
        frame.sparse.write_bytes(b"")
    config = evaluations.config_of(data_dir=str(tmp_path), skip_bad_frames=True)
    with pytest.raises(ValueError, match=r"3 frames cannot be used: .* is empty") as error:
        dataset.find_frames(config, opening.open_data_set(config), "val", {"ground_truth"})
    assert "skip_bad_frames" not in str(error.value)
