"""Pairing of images and depth files by name."""

import re

import pytest

from fcfrnet_jax.data.own.folders import find_beside, find_pairs


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def names_of(found, root):
    return {
        pair.name: tuple(str(path.relative_to(root)) for path in (pair.image, pair.depth))
        for pair in found.pairs
    }


def test_files_of_equal_names_belong_together_whatever_their_suffix(tmp_path):
    touch(tmp_path, "rgb/a.PNG", "rgb/sub/b.jpg", "rgb/c.jpg", "rgb/.d.jpg", "rgb/notes.txt")
    touch(tmp_path, "lidar/a.npy", "lidar/sub/b.npz", "lidar/d.png")
    found = find_pairs(tmp_path / "rgb", tmp_path / "lidar")
    assert names_of(found, tmp_path) == {
        "a": ("rgb/a.PNG", "lidar/a.npy"),
        "sub/b": ("rgb/sub/b.jpg", "lidar/sub/b.npz"),
    }
    assert found.without_depth == [tmp_path / "rgb" / "c.jpg"]
    assert found.without_image == [tmp_path / "lidar" / "d.png"]


@pytest.mark.parametrize(
    ("image", "depth", "patterns", "name"),
    [
        ("left_01.png", "01_lidar.npy", ("left_{n}", "{n}_lidar"), "01"),
        ("x/cam0/7.png", "7/x.npy", ("{drive}/cam0/{n}", "{n}/{drive}"), None),
        ("s_image_5_image_02.png", "s_velodyne_raw_5_image_02.png",
         ("{drive}_image_{n}", "{drive}_velodyne_raw_{n}"), "s/5_image_02"),
        ("1690.25.png", "scan-1690.25-0001.npy", ("{t}.png", "scan-{t}-*"), "1690.25"),
        ("a(1).png", "[1].png", ("a({n})", "[{n}]"), "1"),
        ("s/s_1.png", "1_1_s.npy", ("{drive}/{drive}_{n}", "{n}_{n}_{drive}"), "1/s"),
        ("a\nb.png", "a\nb.npy", ("{n}", "{n}"), "a\nb"),
    ],
)  # fmt: skip
def test_patterns_pair_names_that_differ(image, depth, patterns, name, tmp_path):
    touch(tmp_path, f"rgb/{image}", f"lidar/{depth}")
    folders = (tmp_path / "rgb", tmp_path / "lidar")
    (pair,) = find_pairs(*folders, image_pattern=patterns[0], depth_pattern=patterns[1]).pairs
    assert (pair.image, pair.depth) == (folders[0] / image, folders[1] / depth)
    assert pair.name == (name or "7/x")


def test_images_and_depth_may_be_in_one_folder(tmp_path):
    touch(tmp_path, "1_rgb.png", "1_depth.png", "2_rgb.png", "2_depth.png")
    patterns = {"image_pattern": "{n}_rgb", "depth_pattern": "{n}_depth"}
    found = find_pairs(tmp_path, tmp_path, **patterns)
    assert [pair.name for pair in found.pairs] == ["1", "2"]
    assert found.without_depth == found.without_image == []


def test_a_pair_of_files_has_the_name_of_the_image(tmp_path):
    touch(tmp_path, "a.jpg", "b.npy")
    (pair,) = find_pairs(tmp_path / "a.jpg", tmp_path / "b.npy").pairs
    assert pair.name == "a"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"image": "absent"}, "image=.*absent: there is no such file or folder"),
        ({"depth": "lidar/a.npy"}, "image=.*rgb is a folder, but depth=.*a.npy is a file"),
        ({"image_pattern": "left"}, "image_pattern=left must have fields in braces"),
        ({"depth_pattern": "{0}"}, "depth_pattern={0} must have fields .* of letters and digits"),
        ({"image_pattern": "{n}"}, "image_pattern={n} and depth_pattern={name} must have the same"),
        ({"depth_pattern": "{name}_x"}, "depth=.*lidar has no file that matches .*; found a.npy"),
        ({"image": "twice"}, "a.jpg and .*a.png have the same name, a, so it is unclear"),
        ({"image": "other"}, r"none of 1 images and 1 depth files have .*other/z.png \(z\)"),
    ],
)
def test_what_cannot_be_paired_is_refused(arguments, message, tmp_path):
    touch(tmp_path, "rgb/a.png", "lidar/a.npy", "twice/a.png", "twice/a.jpg", "other/z.png")
    given = {"image": "rgb", "depth": "lidar"} | arguments
    given |= {name: tmp_path / given[name] for name in ("image", "depth")}
    with pytest.raises(ValueError, match=message.replace("{", re.escape("{"))):
        find_pairs(given.pop("image"), given.pop("depth"), **given)


def test_two_frames_with_the_same_name_are_refused(tmp_path):
    touch(tmp_path, "lidar/x_y/z.npy", "lidar/x/y_z.npy")
    with pytest.raises(ValueError, match=r"x/y_z\.npy and .*x_y/z\.npy have the same name, x/y/z,"):
        find_pairs(None, tmp_path / "lidar", depth_pattern="{a}_{b}")


def test_files_beside_are_those_that_exist(tmp_path):
    touch(tmp_path, "a/1.txt")
    assert find_beside(tmp_path, ["a/1", "a/2"], ".txt") == {"a/1": tmp_path / "a" / "1.txt"}
