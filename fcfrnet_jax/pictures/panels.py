"""Panels: the image, sparse depth, depth maps, ground truth and errors of a frame in one image."""

from collections.abc import Mapping, Sequence

import numpy as np

from fcfrnet_jax.pictures.colours import MAX_DEPTH, MAX_ERROR, NEAREST, colour_depth, colour_error

BACKGROUND = (24, 25, 28)
TEXT = (226, 226, 226)
FONT = 0  # cv2.FONT_HERSHEY_SIMPLEX

DEPTH_TICKS = (0.1, 0.2, 0.5, 1, 2, 3, 5, 7, 10, 15, 20, 30, 40, 60, 80, 100, 150, 200)
# Shares of the largest error: 0.1, 0.5, 1 m and so on of 5 m.
ERROR_TICKS = (0, 0.02, 0.1, 0.2, 0.4, 0.6, 0.8, 1)

LEAST_CELL = 320  # pixels; captions are legible at this width
DESIGN_CELL = 1216  # pixels; margins and text are smaller in narrower cells


def panel(
    image: np.ndarray | None,
    sparse_depth: np.ndarray,
    maps: Mapping[str, np.ndarray],
    ground_truth: np.ndarray | None = None,
    max_depth: float = MAX_DEPTH,
    captions: Mapping[str, str] | None = None,
    *,
    confidence: np.ndarray | None = None,
    image_caption: str = "image",
    max_error: float = MAX_ERROR,
) -> np.ndarray:
    """Draws captioned tiles in two columns, with colour bars for depth and for errors.

    If there is ground truth, each map is next to its absolute error. The colours are those of
    `colour_depth` and `colour_error`; missing pixels are dark gray. Points of sparse maps are
    enlarged.

    Args:
      image: uint8 `[H, W, 3]` RGB or `[H, W, 1]` gray; None for models without an image.
      sparse_depth: `[H, W]` metres; 0 or not finite = missing, as in all depth maps here.
      maps: the depth maps `[H, W]` by name, in drawing order.
      ground_truth: `[H, W]`, or None for no error tiles.
      max_depth: the far end of the depth colours in metres.
      captions: the text above the error of each map, by the map's name, such as its metrics. The
        default is "absolute error".
      confidence: `[H, W]` in [0, 1], drawn from black to white, or None.
      image_caption: the text above the image.
      max_error: the end of the error colours in metres.

    Returns:
      The panel, uint8 `[H', W', 3]` RGB.

    Raises:
      ValueError: shapes disagree, the image is not uint8, or `max_depth` is not positive.
    """
    _check(image, sparse_depth, maps, ground_truth, max_depth)
    height, width = sparse_depth.shape
    # Small images are enlarged by an integer factor; narrow ones are padded to the cell's width.
    zoom = max(1, min(LEAST_CELL // width, LEAST_CELL // height))
    cell = max(LEAST_CELL, zoom * width)

    def tile(caption: str, pixels: np.ndarray) -> np.ndarray:
        if zoom > 1:
            pixels = pixels.repeat(zoom, axis=0).repeat(zoom, axis=1)
        return _captioned(caption, pixels, cell)

    def depth_tile(caption: str, depth: np.ndarray) -> np.ndarray:
        return tile(caption, colour_depth(depth, max_depth))

    sparse_points = _enlarge(np.where(sparse_depth > 0, sparse_depth, np.float32(np.nan)))
    cells = []
    if image is not None:
        cells.append(tile(image_caption, np.broadcast_to(image, (height, width, 3))))
    cells.append(depth_tile(f"sparse depth, {_share(sparse_depth)}", sparse_points))
    if ground_truth is not None and len(cells) == 1:
        cells.append(depth_tile(f"ground truth, {_share(ground_truth)}", ground_truth))
    for name, depth in maps.items():
        cells.append(depth_tile(name, depth))
        if ground_truth is not None:
            error = _error(depth, ground_truth)
            caption = (captions or {}).get(name, "absolute error")
            cells.append(tile(f"{name}: {caption}", colour_error(_enlarge(error), max_error)))
    if ground_truth is not None and image is not None:
        cells.append(depth_tile(f"ground truth, {_share(ground_truth)}", ground_truth))
    if confidence is not None:
        gray = np.rint(255 * np.clip(confidence, 0, 1)).astype(np.uint8)
        cells.append(tile("confidence: black 0, white 1", np.repeat(gray[..., None], 3, axis=2)))
    bars = [depth_bar(cell, max_depth)]
    if ground_truth is not None and maps:
        bars.append(error_bar(cell, max_error))
    return _arrange(cells, bars, cell)


def depth_bar(width: int, max_depth: float = MAX_DEPTH) -> np.ndarray:
    """Draws the depth scale with labels, uint8 `[H, width, 3]` RGB."""
    near = max_depth * NEAREST

    def place(metres: float) -> float:
        return float(np.log(metres / near) / np.log(max_depth / near))

    ticks = [near, *(tick for tick in DEPTH_TICKS if near < tick < max_depth), max_depth]
    metres = near * (max_depth / near) ** np.linspace(0.0, 1.0, width)
    return _bar(
        "depth in m", colour_depth(metres, max_depth), [(place(t), f"{t:g}") for t in ticks]
    )


def error_bar(width: int, max_error: float = MAX_ERROR) -> np.ndarray:
    """Draws the scale of absolute errors with labels, uint8 `[H, width, 3]` RGB."""
    metres = max_error * np.linspace(0.0, 1.0, width) ** 2
    ticks = [(float(np.sqrt(share)), f"{max_error * share:g}") for share in ERROR_TICKS]
    return _bar("absolute error in m", colour_error(metres, max_error), ticks)


def _check(
    image: np.ndarray | None,
    sparse_depth: np.ndarray,
    maps: Mapping[str, np.ndarray],
    ground_truth: np.ndarray | None,
    max_depth: float,
) -> None:
    if sparse_depth.ndim != 2 or 0 in sparse_depth.shape:
        raise ValueError(f"expected sparse depth [H, W], got shape {sparse_depth.shape}")
    others = dict(maps) if ground_truth is None else {**maps, "ground truth": ground_truth}
    for name, depth in others.items():
        if depth.shape != sparse_depth.shape:
            raise ValueError(
                f"{name} has shape {depth.shape}, but the sparse depth {sparse_depth.shape}; "
                "they must be equal"
            )
    if image is not None:
        if image.ndim != 3 or image.shape[2] not in (1, 3) or image.dtype != np.uint8:
            raise ValueError(
                f"expected a uint8 image [H, W, 3] or [H, W, 1], got {image.dtype} {image.shape}"
            )
        if image.shape[:2] != sparse_depth.shape:
            raise ValueError(
                f"the image has shape {image.shape}, but the sparse depth {sparse_depth.shape}; "
                "heights and widths must be equal"
            )
    if not (np.isfinite(max_depth) and max_depth > 0):
        raise ValueError(f"max_depth must be a positive number of metres, got {max_depth}")


def _error(depth: np.ndarray, ground_truth: np.ndarray) -> np.ndarray:
    """Returns absolute errors in metres, NaN where either map is missing."""
    valid = _has_depth(ground_truth) & _has_depth(depth)
    with np.errstate(invalid="ignore"):  # infinite minus infinite
        error = np.abs(np.subtract(depth, ground_truth, dtype=np.float32))
    return np.where(valid, error, np.float32(np.nan))


def _share(depth: np.ndarray) -> str:
    share = np.count_nonzero(_has_depth(depth)) / depth.size
    return f"{share:.1%} of pixels" if share >= 0.001 else f"{share:.3%} of pixels"


def _has_depth(depth: np.ndarray) -> np.ndarray:
    return (depth > 0) & (depth < np.inf)


def _enlarge(values: np.ndarray) -> np.ndarray:
    """Fills missing (NaN) pixels of `[H, W]` with the mean of their neighbours.

    This makes single points visible in large images. Images that are zoomed are not changed.
    """
    import cv2

    if values.shape[1] < LEAST_CELL:
        return values
    values = np.asarray(values, np.float32)
    valid = np.isfinite(values)
    total = cv2.blur(np.where(valid, values, np.float32(0)), (3, 3))
    count = cv2.blur(valid.astype(np.float32), (3, 3))
    with np.errstate(invalid="ignore"):  # no neighbours: 0 / 0 = NaN
        mean = np.divide(total, np.where(count > 0.05, count, np.float32(0)))
    return np.where(valid, values, mean)


def _scale(cell: int) -> float:
    return float(np.clip(cell / DESIGN_CELL, 0.5, 1.0))


def _margin(cell: int) -> int:
    return round(20 * _scale(cell))


def _write(
    canvas: np.ndarray, text: str, left: float, baseline: int, scale: float, centred: bool = False
) -> None:
    """Writes one line of text, moved and if necessary shrunk to fit on the canvas."""
    import cv2

    size = 0.85 * scale
    (width, _), _ = cv2.getTextSize(text, FONT, size, 1)
    size *= min(1.0, (canvas.shape[1] - 4) / max(width, 1))
    (width, _), _ = cv2.getTextSize(text, FONT, size, 1)
    x = round(left - width / 2) if centred else round(left)
    x = min(max(x, 0), max(canvas.shape[1] - width - 2, 0))
    cv2.putText(canvas, text, (x, baseline), FONT, size, TEXT, 1, cv2.LINE_AA)


def _captioned(caption: str, pixels: np.ndarray, cell: int) -> np.ndarray:
    scale = _scale(cell)
    line = round(36 * scale)
    found = _background(line + pixels.shape[0], cell)
    _write(found[:line], caption, 0, round(25 * scale), scale)
    found[line:, : pixels.shape[1]] = pixels
    return found


def _background(height: int, width: int) -> np.ndarray:
    # Copying rows is faster than filling pixels.
    row = np.full((width, 3), BACKGROUND, np.uint8)
    return np.broadcast_to(row, (height, width, 3)).copy()


def _bar(title: str, colours: np.ndarray, ticks: Sequence[tuple[float, str]]) -> np.ndarray:
    """Draws a scale of `colours` `[W, 3]` with a title above it and labelled ticks below."""
    cell = colours.shape[0]
    scale = _scale(cell)
    thick, line = round(26 * scale), round(36 * scale)
    strip = np.broadcast_to(colours, (thick, cell, 3))
    labels = _background(line, cell)
    for position, label in ticks:
        x = round(position * (cell - 1))
        labels[: round(6 * scale), max(x - 1, 0) : x + 1] = TEXT
        _write(labels, label, x, round(30 * scale), 0.8 * scale, centred=True)
    return np.concatenate([_captioned(title, strip, cell), labels])


def _arrange(cells: list[np.ndarray], bars: list[np.ndarray], cell: int) -> np.ndarray:
    """Arranges cells in two columns. The bars fill the last cell if it is free and high enough.

    Otherwise they are in a row below.
    """
    margin = _margin(cell)
    gap = _background(margin, cell)
    legend = np.concatenate([part for bar in bars for part in (bar, gap)][:-1])
    rows_of_cells = [cells[i : i + 2] for i in range(0, len(cells), 2)]
    if len(cells) % 2 == 1 and legend.shape[0] <= cells[-1].shape[0]:
        rows_of_cells[-1].append(legend)
    else:
        rows_of_cells.append(bars)
    heights = [max(part.shape[0] for part in row) for row in rows_of_cells]
    found = _background(sum(heights) + margin * (len(heights) + 1), 2 * cell + 3 * margin)
    top = margin
    for row, height in zip(rows_of_cells, heights, strict=True):
        for column, part in enumerate(row):
            left = margin + column * (cell + margin)
            found[top : top + part.shape[0], left : left + cell] = part
        top += height + margin
    return found
