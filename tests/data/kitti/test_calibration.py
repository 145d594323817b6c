"""Reading calibration files, and what is wrong with damaged ones."""

from pathlib import Path

import pytest

from fcfrnet_jax.data.kitti import read_calibration, read_intrinsics


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"7.5 0 6 0 7 3 0 0 \xff", "byte 1[0-9] is not text"),
        (
            b"7.5 0 6 0 -7 3 0 0 1",
            "positive focal lengths and finite numbers, got .* 7.5, -7, 6, 3",
        ),
        (b"7.5 0 1e999 0 7 3 0 0 1", "positive focal lengths and finite numbers, got .* inf, 3"),
    ],
)
def test_damaged_calibration_is_named_with_fault_and_remedy(
    content: bytes, fault: str, tmp_path: Path
) -> None:
    path = tmp_path / "camera.txt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"{path}: .*{fault}.*; restore the file"):
        read_intrinsics(path)
    fx, _, cx, _, fy, cy, *rest = content.split()
    matrix = [fx, b"0", cx, b"0", b"0", fy, cy, b"0", *rest, b"0"]
    path.write_bytes(b"P_rect_02: " + b" ".join(matrix))
    fault = "is not text" if "byte" in fault else fault
    with pytest.raises(ValueError, match=f"{path}: .*{fault}.*; restore the file"):
        read_calibration(path)
