"""Colour maps for depth and for depth errors."""

import numpy as np

MISSING = (44, 44, 44)
NEAREST = 1.0 / 20.0  # the lower end of the depth scale as a share of max_depth: 4 m of 80 m
MAX_ERROR = 5.0  # metres
# The lightness of these colours increases, so that larger errors are brighter.
ERROR_COLOURS = ((8, 10, 52), (28, 70, 190), (40, 160, 170), (245, 205, 60), (255, 255, 255))


def colour_depth(depth: np.ndarray, max_depth: float = 80.0) -> np.ndarray:
    """Maps depth to colours on a logarithmic scale, from warm (near) to cold (far).

    Args:
      depth: `[...]` metres; 0, negative or not finite = missing, drawn in dark gray.
      max_depth: the far end of the scale in metres. The near end is 1/20 of it.

    Returns:
      uint8 `[..., 3]` RGB.
    """
    import cv2

    valid = np.isfinite(depth) & (depth > 0)
    near = max_depth * NEAREST
    safe = np.clip(np.where(valid, depth, near), near, max_depth)
    position = np.log(max_depth / safe) / np.log(max_depth / near)
    # The ends of the colour map are nearly black and would look like missing pixels.
    level = np.rint(255 * (0.1 + 0.83 * position)).astype(np.uint8)
    colours = cv2.applyColorMap(level.reshape(-1, 1), cv2.COLORMAP_TURBO)
    colours = colours.reshape(*depth.shape, 3)[..., ::-1]
    return np.where(valid[..., None], colours, np.array(MISSING, np.uint8))


def colour_error(error: np.ndarray) -> np.ndarray:
    """Maps absolute errors to colours, by their square root up to 5 m.

    Args:
      error: `[...]` metres; not finite = missing, drawn in dark gray.

    Returns:
      uint8 `[..., 3]` RGB.
    """
    valid = np.isfinite(error)
    position = np.sqrt(np.clip(np.where(valid, error, 0.0), 0.0, MAX_ERROR) / MAX_ERROR)
    stops = np.linspace(0.0, 1.0, len(ERROR_COLOURS))
    channels = [np.interp(position, stops, channel) for channel in np.transpose(ERROR_COLOURS)]
    colours = np.rint(np.stack(channels, axis=-1)).astype(np.uint8)
    return np.where(valid[..., None], colours, np.array(MISSING, np.uint8))
