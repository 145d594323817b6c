"""Signs of wrong data: maps like those of recordings, and mistakes made with them."""

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from absl import logging

from fcfrnet_jax.data.frame import Frame
from fcfrnet_jax.data.images import read_depth, write_depth
from fcfrnet_jax.data.kitti import find_frames
from fcfrnet_jax.data.plausibility import check_depth, find_implausible, sample_frames

Maps = dict[str, np.ndarray]
SIZE = (60, 200)


def made_up(seed: int = 0) -> Maps:
    """A road that a scanner measures at 5% of the pixels, and ground truth at 20%."""
    rng = np.random.default_rng(seed)
    rows = np.linspace(70, 5, SIZE[0])[:, None] * rng.uniform(0.8, 1.2, SIZE)
    exact = np.rint(rows * 256).astype(np.float32) / 256
    place = rng.random(SIZE)
    noise = 1 + 0.01 * rng.standard_normal(SIZE).astype(np.float32)
    return {
        "sparse_depth": exact * (place < 0.05),
        "ground_truth": exact * ((place < 0.04) | (place > 0.84)),
        "coarse_depth": exact * noise,
    }


def stored_as(depth: np.ndarray, per_metre: float) -> np.ndarray:
    """What is read from a PNG that holds `per_metre` units per metre."""
    return np.minimum(np.rint(depth * per_metre), 65535).astype(np.float32) / 256


def with_missing_as(depth: np.ndarray, value: float) -> np.ndarray:
    return np.where(depth > 0, depth, np.float32(value))


def with_holes(depth: np.ndarray, share: float) -> np.ndarray:
    return depth * (np.random.default_rng(1).random(depth.shape) >= share)


def found(maps: Maps) -> set[str]:
    """The kinds of findings, those that are impossible with an exclamation mark."""
    return {f"{item.kind}{'!' * item.impossible}" for item in find_implausible(maps)}


def changed(**changes: Callable[[np.ndarray], np.ndarray]) -> Maps:
    maps = made_up()
    return maps | {key: change(maps[key]) for key, change in changes.items()}


def test_sound_maps_give_no_finding() -> None:
    maps = made_up()
    for kinds in (maps, ["sparse_depth"], ["sparse_depth", "ground_truth"], ["coarse_depth"]):
        assert find_implausible({kind: maps[kind] for kind in kinds}) == []


@pytest.mark.parametrize(
    ("maps", "kinds", "text"),
    [
        (
            changed(sparse_depth=lambda d: stored_as(d, 1000)),
            {"far!"},
            "of the depths are over 100 m, .*must be in metres",
        ),
        (
            changed(sparse_depth=lambda d: stored_as(d * (d < 20), 1000)),
            {"unit!"},
            "3.9[01] times those of ground truth .*, as if it was stored in millimetres",
        ),
        (
            changed(ground_truth=lambda d: stored_as(d * (d < 20), 1000)),
            {"unit!"},
            "0.256 times .*, as if the other one was stored in millimetres",
        ),
        (
            changed(coarse_depth=lambda d: stored_as(d, 100)),
            {"unit!"},
            "0.39 times those of ground truth .*stored in centimetres",
        ),
        (
            changed(sparse_depth=lambda d: stored_as(d, 1)),
            {"near!"},
            "the median of the depths is 0.1[0-9]* m, .*must be in metres",
        ),
        (
            changed(sparse_depth=lambda d: with_missing_as(d, 65535 / 256)),
            {"largest!"},
            r"9[45].\d% of the depths are 255.996 m \(65535 in a PNG\), .*must be 0",
        ),
        (
            changed(ground_truth=lambda d: with_missing_as(d, 120)),
            {"largest!"},
            "of the depths are 120 m, the largest value",
        ),
        (
            changed(coarse_depth=lambda d: with_holes(d, 0.3)),
            {"holes!"},
            "(29|30|31).*% of the pixels have no depth; coarse depth must be dense",
        ),
    ],
)
def test_impossible_maps(maps: Maps, kinds: set[str], text: str) -> None:
    assert found(maps) == kinds
    finding = find_implausible(maps)[0]
    assert re.search(text, finding.text), finding.text


def test_ground_truth_as_an_input() -> None:
    maps = made_up()
    truth = maps["ground_truth"]
    assert "leak!" in found({"sparse_depth": truth, "ground_truth": truth})
    assert "leak!" in found({"sparse_depth": truth, "ground_truth": maps["sparse_depth"]})
    assert "leak!" in found({"coarse_depth": with_missing_as(truth, 20), "ground_truth": truth})


def test_a_depth_camera_may_be_dense_and_equal_its_ground_truth() -> None:
    """72% of the pixels have a depth, and the ground truth fills the holes."""
    exact = made_up()["coarse_depth"]
    maps = {"sparse_depth": with_holes(exact, 0.28), "ground_truth": exact}
    assert found(maps) == {"dense", "leak"}


def test_unusual_maps() -> None:
    empty = np.zeros(SIZE, np.float32)
    assert found({"sparse_depth": empty}) == {"empty"}
    one_point = empty.copy()
    one_point[3, 4] = 10
    assert found({"sparse_depth": one_point}) == {"few"}
    assert found({"coarse_depth": empty}) == {"holes!"}
    few_holes = changed(coarse_depth=lambda d: with_holes(d, 0.0005))
    assert found(few_holes) == {"holes"}
    assert found({"sparse_depth": made_up()["sparse_depth"] / 60}) == {"near"}
    other = made_up(seed=1)["ground_truth"][:, ::-1][::-1]
    assert "unit!" not in found(made_up() | {"ground_truth": other})
    assert found(made_up() | {"ground_truth": other}) & {"disagree", "unit"}


def test_clipped_depth_is_not_a_missing_depth() -> None:
    assert found(changed(ground_truth=lambda d: np.minimum(d, 50))) == set()
    assert found({"sparse_depth": np.full(SIZE, 3.0, np.float32)}) == {"dense"}


@pytest.mark.parametrize(
    ("planes", "kinds"), [((1, 3), {"largest"}), ((2, 59), {"largest"}), ((2, 60), {"largest!"})]
)
def test_two_planes_are_possible_up_to_60_m(planes: tuple[int, int], kinds: set[str]) -> None:
    plane = np.where(np.arange(SIZE[1]) < 100, *planes).astype(np.float32)
    scan = plane * (np.random.default_rng(0).random(SIZE) < 0.05)
    assert found({"sparse_depth": scan}) == kinds
    text = find_implausible({"sparse_depth": scan})[0].text
    assert f"the largest value, which {'seems to' if planes[1] == 60 else 'may'} stand" in text


def test_a_wall_does_not_hide_other_mistakes() -> None:
    plane = np.where(np.arange(SIZE[1]) < 150, 0.1, 0.3).astype(np.float32)
    assert found({"sparse_depth": plane}) == {"largest", "near!", "dense"}


def frames_of(folder: Path, count: int, maps: Maps) -> list[Frame]:
    paths = {key: folder / f"{key}.png" for key in maps}
    for key, path in paths.items():
        write_depth(path, maps[key])
    frame = Frame("0", None, paths["sparse_depth"], None, paths["ground_truth"], None)
    return [dataclasses.replace(frame, name=str(i)) for i in range(count)]


def test_frames_name_the_file_and_warn_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    maps = made_up()
    near = {key: maps[key] / 60 for key in ("sparse_depth", "ground_truth")}
    frames = sample_frames(frames_of(tmp_path, 100, near))
    assert [frames[0].name, frames[-1].name] == ["0", "99"]
    with caplog.at_level("WARNING", logger=logging.get_absl_logger().name):
        check_depth(frames, (0, 0))
    assert len(caplog.records) == 2
    assert f"{frames[0].sparse}: the median of the depths is" in caplog.text
    assert "(found in 8 of 8 compared frames)" in caplog.text
    for path in (frames[0].sparse, frames[0].ground_truth):
        write_depth(path, maps["ground_truth"])
    with pytest.raises(ValueError, match=f"^{frames[0].sparse}: it has exactly the depth of"):
        check_depth(frames, (0, 0))


def test_only_the_crop_is_compared(tmp_path: Path) -> None:
    maps = made_up()
    coarse = maps["coarse_depth"].copy()
    coarse[:20] = 0
    write_depth(tmp_path / "coarse.png", coarse)
    frames = frames_of(tmp_path, 1, maps)
    frames = [dataclasses.replace(frames[0], coarse=tmp_path / "coarse.png")]
    check_depth(frames, (40, 0))
    with pytest.raises(ValueError, match=r"coarse.png: 33.33% of the pixels have no depth"):
        check_depth(frames, (0, 0))


@pytest.mark.parametrize("split", ["train", "val", "val_selection"])
def test_no_real_frame_is_unusual(kitti_real: Path, split: str) -> None:
    for frame in find_frames(kitti_real, split):
        maps = {
            "sparse_depth": read_depth(frame.sparse),
            "ground_truth": read_depth(frame.ground_truth),
        }
        assert find_implausible(maps) == []
        per_metre = {key: stored_as(depth, 1000) for key, depth in maps.items()}
        assert "far!" in found(per_metre)


def indoors() -> Maps:
    """A desk from 0.5 m on and a wall up to 4 m, and 500 points of them."""
    rows = 0.5 + 3.5 * np.linspace(1, 0, 228)[:, None] ** 4
    depth = (rows * np.linspace(0.95, 1.0, 304)).astype(np.float32)
    points = np.random.default_rng(0).permutation(depth.size).reshape(depth.shape) < 500
    return {"sparse_depth": depth * points, "ground_truth": depth}


def test_the_limits_are_those_of_the_data_set() -> None:
    maps, limits = indoors(), (0.1, 10.0)
    assert find_implausible(maps, limits=limits) == []
    assert [item.kind for item in find_implausible(maps)] == ["near", "near"]
    for factor, kind in ((1 / 256, "near"), (1000 / 256, "far"), (1000.0, "far")):
        wrong = {key: depth * np.float32(factor) for key, depth in maps.items()}
        findings = find_implausible(wrong, limits=limits)
        assert {(item.kind, item.impossible) for item in findings} == {(kind, True)}
    assert "over 10 m, the largest depth of a model" in findings[0].text


@pytest.mark.parametrize("png", [True, False])
def test_png_files_are_mentioned_where_there_are_some(png: bool) -> None:
    maps = {"sparse_depth": 1000 * made_up()["sparse_depth"]}
    [finding] = find_implausible(maps, png=png)
    assert finding.kind == "far"
    assert ("which a PNG stores times 256" in finding.text) == png
