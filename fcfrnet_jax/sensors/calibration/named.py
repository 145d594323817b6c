"""Calibrations in JSON, and in YAML as ROS writes `camera_info`."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fcfrnet_jax.geometry import Size
from fcfrnet_jax.sensors.calibration.calibration import (
    Calibration,
    Distortion,
    check_rigid,
    check_rotation,
    pinhole,
    rigid,
)
from fcfrnet_jax.sensors.calibration.text import read_text

# The names of each value: in JSON and in messages of ROS 1 and 2, and in the files of ROS's camera
# calibrator.
_NAMES = {
    "K": ("K", "k", "camera_matrix"),
    "P": ("P", "p", "projection_matrix"),
    "R": ("R", "r", "rectification_matrix"),
    "D": ("D", "d", "distortion_coefficients", "distortion"),
    "model": ("distortion_model", "model"),
    "width": ("width", "image_width"),
    "height": ("height", "image_height"),
    "T_cam_lidar": ("T_cam_lidar",),
}
# Names of the distortion models, in lower case and without separators.
_MODELS = {
    "plumbbob": "plumb_bob",
    "radtan": "plumb_bob",
    "rationalpolynomial": "rational_polynomial",
    "equidistant": "equidistant",
    "fisheye": "equidistant",
    "kannalabrandt": "equidistant",
}
# "%YAML:1.0" and "!!opencv-matrix", which OpenCV writes, are not valid YAML.
_OPENCV = re.compile(r"^%YAML.*$|!!opencv-matrix", re.MULTILINE)
# Comments in JSON.
_COMMENT = re.compile(r"^\s*(//|#).*$", re.MULTILINE)


def read_values(path: Path) -> dict[str, Any]:
    """Reads the values of a `.json`, `.yaml` or `.yml` file.

    Comments that fill a line are removed from JSON. Of several YAML documents, the first counts.

    Raises:
      ValueError: the file does not hold named values.
    """
    text = read_text(path)
    try:
        if path.suffix.lower() == ".json":
            values = json.loads(_COMMENT.sub("", text))
        else:
            values = _load_yaml(text)
    except json.JSONDecodeError as error:
        raise ValueError(
            f"{path}: is not JSON from line {error.lineno}, column {error.colno} on; correct the "
            "file, in which names have double quotes and values are separated by commas"
        ) from error
    except (ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(
            f"{path}: cannot be read as {path.suffix[1:].upper()}: {reason}; correct the file"
        ) from error
    if not isinstance(values, dict):
        raise ValueError(f"{path}: holds {type(values).__name__}, expected named values such as K")
    return values


def _load_yaml(text: str) -> Any:
    import yaml

    try:
        return next(iter(yaml.safe_load_all(_OPENCV.sub("", text).expandtabs(4))), None)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error


def calibration(
    values: Mapping[str, Any], path: Path, camera_from_lidar: np.ndarray | None
) -> Calibration:
    """Makes a calibration from the values of a file.

    With distortion, and where R is not the identity, the projection is that of the undistorted
    image: P if the file has it, and K otherwise. A baseline in P is ignored, because T_cam_lidar
    leads into the frame of this camera.

    Args:
      values: K `[3, 3]` or P `[3, 4]`, and possibly R `[3, 3]`, the distortion coefficients, their
        model, the size of the image, and T_cam_lidar `[4, 4]`.
      path: the file, for messages.
      camera_from_lidar: T_cam_lidar, if it comes from another file.

    Raises:
      ValueError: a value is missing or invalid.
    """
    if camera_from_lidar is None:
        camera_from_lidar = read_transform(values, path)
    elif _find(values, "T_cam_lidar") is not None:
        raise ValueError(f"{path}: has T_cam_lidar, so extrinsics must be empty; remove one")
    source, target = _camera_matrices(values, path)
    rotation = _matrix(values, "R", (3, 3), path)
    rotation = np.eye(3) if rotation is None or not rotation.any() else rotation
    coefficients = _flat(values, "D", path)
    try:
        check_rotation(rotation, "R")
        distortion = _distortion(values, coefficients, source, rotation)
        if distortion is None and not (
            np.allclose(source, target) and np.allclose(rotation, np.eye(3))
        ):
            distortion = Distortion("plumb_bob", np.zeros(5), source, rotation)
        check_rigid(camera_from_lidar, "T_cam_lidar")
        # The frame of the undistorted image is rotated by R.
        camera_from_lidar = rigid(rotation) @ camera_from_lidar
        return Calibration(pinhole(target), camera_from_lidar, _size(values), distortion)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _camera_matrices(values: Mapping[str, Any], path: Path) -> tuple[np.ndarray, np.ndarray]:
    """The intrinsic matrices of the image as recorded and of the undistorted image."""
    k, p = _matrix(values, "K", (3, 3), path), _matrix(values, "P", (3, 4), path)
    # ROS has a P of zeros for cameras that are not calibrated.
    target = p[:, :3] if p is not None and p.any() else k
    if target is None:
        raise ValueError(
            f"{path}: has {', '.join(map(str, values)) or 'no values'}, expected K, the intrinsic "
            "matrix of the camera; add it"
        )
    return target if k is None else k, target


def read_transform(values: Mapping[str, Any], path: Path) -> np.ndarray:
    """Returns T_cam_lidar `[4, 4]`; a file may hold its first three rows.

    Raises:
      ValueError: it is missing or has another number of numbers.
    """
    found = _flat(values, "T_cam_lidar", path)
    if found is None:
        raise ValueError(
            f"{path}: has no T_cam_lidar, the 4x4 matrix that takes points from the LiDAR's frame "
            "to the camera's; add it, or give its file as extrinsics"
        )
    return transform(found, path)


def transform(found: np.ndarray, path: Path) -> np.ndarray:
    """Returns 12 or 16 numbers as a matrix `[4, 4]`.

    Raises:
      ValueError: another number of numbers.
    """
    if found.size == 12:
        found = np.concatenate([found, (0.0, 0.0, 0.0, 1.0)])
    if found.size != 16:
        raise ValueError(
            f"{path}: T_cam_lidar must be 16 numbers, a 4x4 matrix, got {found.size}; correct it"
        )
    return found.reshape(4, 4)


def _distortion(
    values: Mapping[str, Any],
    coefficients: np.ndarray | None,
    matrix: np.ndarray,
    rotation: np.ndarray,
) -> Distortion | None:
    name = _find(values, "model")
    if coefficients is None or not coefficients.any():
        misspelt = [key for key in values if "dist" in str(key).lower()]
        misspelt = [key for key in misspelt if key not in (*_NAMES["D"], *_NAMES["model"])]
        if misspelt:
            raise ValueError(
                f"unknown {misspelt[0]}; the distortion is given by {', '.join(_NAMES['D'])} and "
                "distortion_model"
            )
    if coefficients is None:
        if name:
            raise ValueError(
                f"has distortion_model {name} but no coefficients, expected D or "
                "distortion_coefficients; add them, or remove the model"
            )
        return None
    # Drivers of cameras that are not calibrated have no coefficients.
    if not coefficients.size:
        return None
    model = _model(name, coefficients)
    # A fisheye lens without further terms is not a pinhole: r = f theta, not f tan(theta).
    if model != "equidistant" and not coefficients.any():
        return None
    # OpenCV's calibration appends zeros for its further terms.
    if model == "rational_polynomial" and not coefficients[8:].any():
        coefficients = coefficients[:8]
    return Distortion(model, coefficients, matrix, rotation)


def _model(name: Any, coefficients: np.ndarray) -> str:
    """The name of the model in `Distortion`; of OpenCV's model, if the file has no name."""
    if name:
        return _MODELS.get(re.sub(r"[\W_]", "", str(name).lower()), str(name))
    if coefficients.size in (4, 5) or not coefficients.any():
        return "plumb_bob"
    if coefficients.size >= 8 and not coefficients[8:].any():
        return "rational_polynomial"
    raise ValueError(
        f"has {coefficients.size} distortion coefficients without distortion_model, expected 4, 5 "
        "or 8 of OpenCV's model; add distortion_model"
    )


def _size(values: Mapping[str, Any]) -> Size | None:
    height, width = _find(values, "height"), _find(values, "width")
    # Messages of drivers without a configuration have a size of 0.
    if not height and not width:
        return None
    # JSON's true is an int, too.
    if not (type(height) is int and type(width) is int):
        raise ValueError(
            f"height and width must both be integers, got {height!r} and {width!r}; correct them"
        )
    return height, width


def _find(values: Mapping[str, Any], name: str) -> Any:
    found = next((values[key] for key in _NAMES[name] if key in values), None)
    # The camera calibrator writes {rows: 3, cols: 3, data: [...]}.
    return found.get("data") if isinstance(found, Mapping) else found


def _flat(values: Mapping[str, Any], name: str, path: Path) -> np.ndarray | None:
    found = _find(values, name)
    if found is None:
        return None
    try:
        return np.array(found, dtype=np.float64).ravel()
    except (TypeError, ValueError):
        raise ValueError(f"{path}: {name} must be numbers, got {str(found)[:60]}") from None


def _matrix(
    values: Mapping[str, Any], name: str, shape: tuple[int, int], path: Path
) -> np.ndarray | None:
    found = _flat(values, name, path)
    if found is None:
        return None
    if found.size != shape[0] * shape[1]:
        raise ValueError(
            f"{path}: {name} must be {shape[0] * shape[1]} numbers, a {shape[0]}x{shape[1]} "
            f"matrix, got {found.size}; correct it"
        )
    return found.reshape(shape)
