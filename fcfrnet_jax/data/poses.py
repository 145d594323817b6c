"""The relative pose of two frames of a drive, from their images and one LiDAR scan.

The method is that of the self-supervised sparse-to-dense network (Ma et al., ICRA 2019): SIFT
matches, the depths of the key points in the current frame, and perspective-n-point with RANSAC.
"""

from typing import Any, NamedTuple

import numpy as np

from fcfrnet_jax.data.frame import Frame
from fcfrnet_jax.data.reading import read_arrays

# Maximum number of key points of a frame; the time for matching grows with its square.
KEY_POINTS = 2000
# Lowe's ratio test: the distance of the best match must be below this share of the second best.
MATCH_RATIO = 0.8
# Size in pixels of the window over which sparse depth is dilated; few key points have a depth.
DILATION = 4
REPROJECTION_ERROR = 2.0  # pixels; matches with a larger error are outliers
# RANSAC finds a pose for any four points; more inliers are evidence that it is correct.
MIN_INLIERS = 10
MIN_MOTION = 0.1  # metres


class Pose(NamedTuple):
    """A point p in the current camera is rotation p + translation in the nearby camera.

    Attributes:
      rotation: float32 `[3, 3]`.
      translation: float32 `[3]` metres.
      found: bool; if False, the pose is the identity.
    """

    rotation: np.ndarray
    translation: np.ndarray
    found: np.bool_


def relative_pose(
    image: np.ndarray, near_image: np.ndarray, sparse_depth: np.ndarray, intrinsics: np.ndarray
) -> Pose:
    """Estimates the pose of a nearby frame relative to the current frame.

    The result is deterministic: OpenCV's RANSAC uses the same seed in each call.

    Args:
      image: uint8 `[H, W, 3]` RGB, the whole current image.
      near_image: uint8 `[H, W, 3]` RGB, the whole nearby image.
      sparse_depth: `[H, W]` or `[H, W, 1]` metres, of the current frame, 0 = missing.
      intrinsics: (fx, fy, cx, cy) in pixels, of both cameras.

    Returns:
      The pose. It is not found if fewer than `MIN_INLIERS` matches with a depth agree, or if the
      motion is below `MIN_MOTION`, which gives too little parallax.

    Raises:
      ValueError: the sizes of the images and the depth map differ.
    """
    return _find_pose(image, near_image, sparse_depth, intrinsics)[0]


def pose_failure(frame: Frame, near: Frame) -> str | None:
    """Says why no pose of a nearby frame is found, or None if one is found.

    Args:
      frame: with image and calibration.
      near: with an image.

    Raises:
      ValueError: a file cannot be read, or the sizes of the images and the depth map differ.
    """
    assert frame.intrinsics is not None
    return _find_pose(*read_pair(frame, near), np.array(frame.intrinsics))[1]


def read_pair(frame: Frame, near: Frame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Reads what a pose is estimated from.

    Returns:
      The images of both frames, uint8 `[H, W, 3]` RGB, and the sparse depth of the first, float32
      `[H, W]` metres, 0 = missing.

    Raises:
      ValueError: a file cannot be read, or the sizes of the images and the depth map differ.
    """
    paths = frame.image, near.image, frame.sparse
    own = read_arrays(frame, ("image", "sparse_depth"))
    image, depth = own["image"], own["sparse_depth"]
    near_image = read_arrays(near, ("image",))["image"]
    sizes = [array.shape[:2] for array in (image, near_image, depth)]
    if len(set(sizes)) > 1:
        listed = (
            f"{path} is {height}x{width}"
            for path, (height, width) in zip(paths, sizes, strict=True)
        )
        raise ValueError(f"sizes differ (height x width): {', '.join(listed)}")
    return image, near_image, depth


def _find_pose(
    image: np.ndarray, near_image: np.ndarray, sparse_depth: np.ndarray, intrinsics: np.ndarray
) -> tuple[Pose, str | None]:
    """Returns the pose of `relative_pose`, and why it is not found."""
    import cv2

    size = image.shape[:2]
    if near_image.shape[:2] != size or sparse_depth.shape[:2] != size:
        raise ValueError(
            f"an image of {image.shape} needs a nearby image and sparse depth of its size, "
            f"got {near_image.shape} and {sparse_depth.shape}"
        )
    none = Pose(np.eye(3, dtype=np.float32), np.zeros(3, np.float32), np.bool_(False))
    current, near = match_key_points(image, near_image)
    depth = depth_at(current, sparse_depth.reshape(size))
    current, near, depth = (array[depth > 0] for array in (current, near, depth))
    if len(depth) < MIN_INLIERS:
        return none, f"{len(depth)} matches with a depth, at least {MIN_INLIERS} are needed"
    fx, fy, cx, cy = np.asarray(intrinsics, np.float64)
    x, y = (current[:, 0] - cx) / fx, (current[:, 1] - cy) / fy
    points = np.stack([x * depth, y * depth, depth], axis=1)
    camera = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
    success, turn, translation, inliers = cv2.solvePnPRansac(
        points, near, camera, None, reprojectionError=REPROJECTION_ERROR
    )
    agreeing = len(inliers) if success else 0
    if agreeing < MIN_INLIERS:
        found = f"{agreeing} of {len(depth)} matches agree on a pose"
        return none, f"{found}, at least {MIN_INLIERS} are needed"
    moved = float(np.linalg.norm(translation))
    if moved < MIN_MOTION:
        return none, f"the camera moved by {moved:.2f} m, at least {MIN_MOTION} m are needed"
    rotation = cv2.Rodrigues(turn)[0].astype(np.float32)
    return Pose(rotation, translation[:, 0].astype(np.float32), np.bool_(True)), None


def match_key_points(image: np.ndarray, near_image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Matches SIFT key points of two uint8 RGB images.

    Returns:
      Two float64 `[N, 2]`: (x, y) in pixels of the first and the second image.
    """
    import cv2

    detector = cv2.SIFT.create(KEY_POINTS)
    points: list[np.ndarray] = []
    descriptors: list[Any] = []
    for one in (image, near_image):
        gray = cv2.cvtColor(one, cv2.COLOR_RGB2GRAY)
        found, description = detector.detectAndCompute(gray, None)
        points.append(np.array([point.pt for point in found], np.float64).reshape(-1, 2))
        descriptors.append(description)
    # The ratio test needs a second-best match.
    if len(points[0]) == 0 or len(points[1]) < 2:
        return np.zeros((0, 2)), np.zeros((0, 2))
    pairs = cv2.BFMatcher(cv2.NORM_L2).knnMatch(descriptors[0], descriptors[1], k=2)
    good = [best for best, second in pairs if best.distance < MATCH_RATIO * second.distance]
    first = np.array([match.queryIdx for match in good], np.intp)
    second = np.array([match.trainIdx for match in good], np.intp)
    return points[0][first], points[1][second]


def depth_at(points: np.ndarray, sparse_depth: np.ndarray) -> np.ndarray:
    """Returns the largest depth in the `DILATION` window of each (x, y) of `[N, 2]`; 0 = none."""
    import cv2

    dense = cv2.dilate(sparse_depth, np.ones((DILATION, DILATION), np.uint8))
    column, row = np.rint(points).astype(np.intp).T
    height, width = sparse_depth.shape
    return dense[np.clip(row, 0, height - 1), np.clip(column, 0, width - 1)]
