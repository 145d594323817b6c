"""Colour maps for depth and for depth errors."""

from functools import cache

import numpy as np

MISSING = (44, 44, 44)
NEAREST = 1.0 / 20.0  # the lower end of the depth scale as a share of max_depth: 4 m of 80 m
# Metres, the ends of the scales outdoors.
MAX_DEPTH, MAX_ERROR = 80.0, 5.0
# The lightness of these colours increases, so that larger errors are brighter.
ERROR_COLOURS = ((8, 10, 52), (28, 70, 190), (40, 160, 170), (245, 205, 60), (255, 255, 255))
# The part of OpenCV's colour map between its ends, which are nearly black and would look like
# missing pixels.
_FAR, _NEAR = 0.1, 0.93
# Values have the levels from 1 on.
_MISSING_LEVEL = 0
_LEVELS = 255


def colour_depth(depth: np.ndarray, max_depth: float = MAX_DEPTH) -> np.ndarray:
    """Maps depth to colours on a logarithmic scale, from warm (near) to cold (far).

    Args:
      depth: `[...]` metres; 0, negative or not finite = missing, drawn in dark gray.
      max_depth: the far end of the scale in metres. The near end is 1/20 of it.

    Returns:
      uint8 `[..., 3]` RGB.
    """
    depth = np.asarray(depth, np.float32)
    near = max_depth * NEAREST
    # Unlike np.clip, these replace NaN.
    level = np.fmin(np.fmax(depth, np.float32(near)), np.float32(max_depth))
    np.log(level, out=level)
    slope = _LEVELS * (_NEAR - _FAR) / np.log(max_depth / near)
    level *= -slope
    level += slope * np.log(max_depth) + _LEVELS * _FAR
    return _coloured(level, (depth > 0) & (depth < np.inf), _depth_table())


def colour_error(error: np.ndarray, max_error: float = MAX_ERROR) -> np.ndarray:
    """Maps absolute errors to colours, by their square root.

    Args:
      error: `[...]` metres; not finite = missing, drawn in dark gray.
      max_error: the end of the scale in metres.

    Returns:
      uint8 `[..., 3]` RGB.
    """
    error = np.asarray(error, np.float32)
    level = np.fmin(np.fmax(error, np.float32(0)), np.float32(max_error))
    level /= max_error
    np.sqrt(level, out=level)
    level *= _LEVELS - 1
    level += 1
    return _coloured(level, np.isfinite(error), _error_table())


def _coloured(level: np.ndarray, valid: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Looks up the colours of levels `[...]`, which are rounded in place."""
    import cv2

    level = np.rint(level, out=level).astype(np.uint8)
    level *= valid  # _MISSING_LEVEL where they are not
    return cv2.applyColorMap(level.reshape(1, -1), table).reshape(*level.shape, 3)


@cache
def _depth_table() -> np.ndarray:
    import cv2

    levels = np.arange(_LEVELS + 1, dtype=np.uint8).reshape(-1, 1)
    return _with_missing(cv2.applyColorMap(levels, cv2.COLORMAP_TURBO)[:, 0, ::-1])


@cache
def _error_table() -> np.ndarray:
    position = np.linspace(0.0, 1.0, _LEVELS)
    stops = np.linspace(0.0, 1.0, len(ERROR_COLOURS))
    channels = [np.interp(position, stops, channel) for channel in np.transpose(ERROR_COLOURS)]
    return _with_missing(np.pad(np.rint(np.stack(channels, axis=-1)), [(1, 0), (0, 0)]))


def _with_missing(colours: np.ndarray) -> np.ndarray:
    """A table of RGB for `cv2.applyColorMap`, which calls them BGR."""
    table = np.array(colours, np.uint8)
    table[_MISSING_LEVEL] = MISSING
    return table.reshape(-1, 1, 3)
