"""Where a camera sees the points of a scanner."""

from dataclasses import dataclass, replace

import numpy as np

from fcfrnet_jax.geometry import Size

# The numbers of coefficients of each distortion model, in OpenCV's order.
MODELS = {
    "plumb_bob": (4, 5),
    "rational_polynomial": (8,),
    "equidistant": (4,),
}
# Calibrations are written with few digits.
_ROTATION_TOLERANCE = 1e-2


@dataclass(frozen=True, eq=False)
class Distortion:
    """The distortion of a lens, and how its images are undistorted.

    Attributes:
      model: "plumb_bob" (k1, k2, p1, p2, k3), "rational_polynomial" (k1, k2, p1, p2, k3, k4, k5,
        k6) or "equidistant" (a fisheye lens: k1, k2, k3, k4), as in ROS and OpenCV.
      coefficients: as many as the model has. The last one of plumb_bob may be left out.
      camera_matrix: float64 `[3, 3]`, the intrinsic matrix of the distorted image.
      rectification: float64 `[3, 3]`, the rotation from the camera's frame to that of the
        undistorted image.

    Raises:
      ValueError: an unknown model, another number of coefficients, or invalid matrices.
    """

    model: str
    coefficients: np.ndarray
    camera_matrix: np.ndarray
    rectification: np.ndarray

    def __post_init__(self) -> None:
        if self.model not in MODELS:
            raise ValueError(
                f"the distortion model must be one of {', '.join(MODELS)}, got {self.model!r}"
            )
        counts, found = MODELS[self.model], np.shape(self.coefficients)
        if found not in [(count,) for count in counts]:
            raise ValueError(
                f"{self.model} has {' or '.join(map(str, counts))} distortion coefficients, got "
                f"shape {list(found)}"
            )
        if not np.isfinite(self.coefficients).all():
            raise ValueError("the distortion coefficients must be finite")
        check_camera_matrix(self.camera_matrix, "the camera matrix")
        check_rotation(self.rectification, "the rectification")


@dataclass(frozen=True, eq=False)
class Calibration:
    """A camera and a scanner next to it.

    A point X in the scanner's frame is seen at (u, v), with u = a / c, v = b / c and
    (a, b, c) = projection @ camera_from_lidar @ X. The centre of the first pixel is at (0, 0), as
    in KITTI and OpenCV. The depth of the point is c.

    Attributes:
      projection: float64 `[3, 4]`, from the camera's frame (x right, y down, z forward, metres) to
        pixels. KITTI's matrices have the baseline to camera 0 in the last column.
      camera_from_lidar: float64 `[4, 4]`, the rigid motion that takes points from the scanner's
        frame to the camera's, often called T_cam_lidar.
      size: (height, width) of the image in pixels, or None if it is unknown.
      distortion: None if images are undistorted. Otherwise, `projection` holds for the image that
        `undistort` returns.

    Raises:
      ValueError: a matrix has another shape or values that are not finite, a focal length is not
        positive, `camera_from_lidar` is not a rigid motion, or the size is not one of an image.
    """

    projection: np.ndarray
    camera_from_lidar: np.ndarray
    size: Size | None = None
    distortion: Distortion | None = None

    def __post_init__(self) -> None:
        if np.shape(self.projection) != (3, 4) or not np.isfinite(self.projection).all():
            raise ValueError(
                f"projection must be a finite matrix [3, 4], got {_describe(self.projection)}"
            )
        check_camera_matrix(self.projection[:, :3], "projection")
        check_rigid(self.camera_from_lidar, "T_cam_lidar")
        if self.size is not None:
            if len(self.size) != 2 or min(self.size) < 1:
                raise ValueError(
                    "size must be (height, width), at least 1x1 pixels, got "
                    f"{tuple(map(int, self.size))}"
                )
            # A list would never be equal to the size of an image.
            object.__setattr__(self, "size", (int(self.size[0]), int(self.size[1])))

    @property
    def intrinsics(self) -> tuple[float, float, float, float]:
        """(fx, fy, cx, cy) in pixels."""
        p = self.projection
        return float(p[0, 0]), float(p[1, 1]), float(p[0, 2]), float(p[1, 2])

    def scaled(self, height: int, width: int) -> "Calibration":
        """Returns the calibration for the same images, resized.

        Raises:
          ValueError: the size of the images is unknown.
        """
        if self.size is None:
            raise ValueError("the calibration does not contain the size of the image; add it")
        across, down = width / self.size[1], height / self.size[0]
        # The outer border of the image stays at -0.5, half a pixel from the first pixel's centre.
        resize = np.array([[across, 0, (across - 1) / 2], [0, down, (down - 1) / 2], [0, 0, 1]])
        distortion = self.distortion
        if distortion is not None:
            distortion = replace(distortion, camera_matrix=resize @ distortion.camera_matrix)
        return Calibration(
            resize @ self.projection, self.camera_from_lidar, (height, width), distortion
        )


def check_calibration(calibration: object) -> None:
    """Raises TypeError for what is not a `Calibration`, such as the path of one."""
    if not isinstance(calibration, Calibration):
        raise TypeError(
            "calibration must be a Calibration, as read_calibration returns it, got "
            f"{type(calibration).__name__}"
        )


def check_camera_matrix(matrix: np.ndarray, name: str) -> None:
    """Raises ValueError unless it is an intrinsic matrix `[3, 3]`."""
    if np.shape(matrix) != (3, 3) or not np.isfinite(matrix).all():
        raise ValueError(f"{name} must be a finite matrix [3, 3], got {_describe(matrix)}")
    if not (matrix[0, 0] > 0 and matrix[1, 1] > 0):
        raise ValueError(
            f"{name} must have positive focal lengths, got {matrix[0, 0]:g} and {matrix[1, 1]:g}"
        )
    if min(matrix[0, 0], matrix[1, 1]) < 1:
        raise ValueError(
            f"{name} must have focal lengths in pixels, got {matrix[0, 0]:g} and {matrix[1, 1]:g}; "
            "millimetres or shares of the image have to be converted"
        )
    if not np.allclose(matrix[2], (0, 0, 1)):
        row = ", ".join(f"{value:g}" for value in matrix[2])
        raise ValueError(f"{name} must have the last row 0, 0, 1, got {row}")


def check_rotation(matrix: np.ndarray, name: str) -> None:
    """Raises ValueError unless it is a rotation `[3, 3]`."""
    if np.shape(matrix) != (3, 3) or not np.isfinite(matrix).all():
        raise ValueError(f"{name} must be a finite matrix [3, 3], got {_describe(matrix)}")
    error = np.abs(matrix @ matrix.T - np.eye(3)).max()
    if error > _ROTATION_TOLERANCE:
        raise ValueError(
            f"{name} must be a rotation: R R^T may differ from the identity by "
            f"{_ROTATION_TOLERANCE}, got {error:.3g}; check the order of the numbers"
        )
    if np.linalg.det(matrix) < 0:
        raise ValueError(f"{name} must be a rotation, got a reflection; check the signs")


def check_rigid(matrix: np.ndarray, name: str) -> None:
    """Raises ValueError unless it is a rigid motion `[4, 4]`."""
    if np.shape(matrix) != (4, 4) or not np.isfinite(matrix).all():
        raise ValueError(f"{name} must be a finite matrix [4, 4], got {_describe(matrix)}")
    check_rotation(matrix[:3, :3], f"the rotation of {name}")
    if not np.allclose(matrix[3], (0, 0, 0, 1)):
        row = ", ".join(f"{value:g}" for value in matrix[3])
        raise ValueError(f"{name} must have the last row 0, 0, 0, 1, got {row}")


def _describe(matrix: np.ndarray) -> str:
    shape = list(np.shape(matrix))
    return f"shape {shape}" if np.isfinite(matrix).all() else f"shape {shape} with NaN or infinity"


def rigid(rotation: np.ndarray, translation: np.ndarray | None = None) -> np.ndarray:
    """Returns the rigid motion `[4, 4]` of a rotation `[3, 3]` and a translation `[3]`."""
    matrix = np.eye(4)
    matrix[:3, :3] = rotation
    if translation is not None:
        matrix[:3, 3] = translation
    return matrix


def pinhole(matrix: np.ndarray) -> np.ndarray:
    """Returns the projection `[3, 4]` of an intrinsic matrix `[3, 3]`, without a baseline."""
    return np.concatenate([matrix, np.zeros((3, 1))], axis=1)
