from fcfrnet_jax.data.kitti.gaps import Gap, find_gaps

DRIVE = "2011_09_26_drive_0009_sync/image_02"


def names(numbers):
    return [f"{DRIVE}/{number:010d}" for number in numbers]


def test_the_benchmark_leaves_out_five_frames_at_each_end():
    (start, end) = find_gaps(names(range(5, 15)), names(range(20)))
    assert (start.first, start.last, end.first, end.last) == (0, 4, 15, 19)
    assert start.reason == end.reason != ""


def test_more_frames_at_an_end_are_not_explained():
    assert find_gaps(names(range(6, 15)), names(range(15))) == [Gap(DRIVE, 0, 5, "")]


def test_the_missing_scans_of_drive_9_are_known():
    numbers = [number for number in range(160, 200) if not 177 <= number <= 180]
    (gap,) = find_gaps(names(numbers), [])
    assert (gap.first, gap.last) == (177, 180)
    assert gap.reason == "the raw drive has no scans 177 to 180"
    others = [name.replace("0009", "0010") for name in names(numbers)]
    assert [gap.reason for gap in find_gaps(others, [])] == [""]


def test_frames_without_a_drive_have_no_gaps():
    assert find_gaps(["a_image_0000000001_image_02", "7"], []) == []
