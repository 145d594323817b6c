"""The pictures of the model card: rendered scenes, and the expected error next to the error.

Recorded frames are not drawn, because their licences differ from that of the package.
"""

from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from matplotlib.figure import Figure

from benchmarks.quality.compare import Model, fill_of
from benchmarks.quality.scenes import RANDOM, Scene, rendered_scenes
from fcfrnet_jax.pictures.colours import colour_depth, colour_error

# (columns, rows) of a tile; images have 1242 columns and 375 rows.
TILE = (456, 138)
CAPTION = 20  # rows above a tile
# The probability of dense traffic, the number of the street, and the scan.
SHOWN = (
    (0.0, 0, "64 beams"),
    (0.0, 1, "16 beams"),
    (1.0, 0, "32 beams"),
    (0.0, 2, "8 beams"),
    (0.0, 3, RANDOM),
)


def draw_scenes(path: Path, model: Model, seed: int) -> None:
    """Draws image, scan, exact depth, fill, predicted depth and expected error of each scene."""
    rows: list[np.ndarray] = []
    for dense, index, scan in SHOWN:
        (scene,) = islice(rendered_scenes(index + 1, seed, dense), index, None)
        rows += _scene_rows(scene, scan, model)
    if not cv2.imwrite(str(path), np.concatenate(rows)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85]):
        raise OSError(f"cannot write {path}")


def _scene_rows(scene: Scene, scan: str, model: Model) -> list[np.ndarray]:
    sparse = scene.scans[scan]
    assert scene.exact is not None
    depth, expected_error = model(scene.image, sparse)
    # Single points would be lost when the map is reduced.
    points = cv2.dilate(np.where(sparse > 0, 1 / np.maximum(sparse, 0.1), 0), np.ones((3, 3)))
    inputs = [
        _tile("image", scene.image),
        _tile(f"sparse depth: {scan}", colour_depth(np.where(points > 0, 1 / (points + 1e-9), 0))),
        _tile("exact depth", colour_depth(scene.exact)),
    ]
    outputs = [
        _tile("classical fill", colour_depth(fill_of(sparse))),
        _tile("compact model", colour_depth(depth)),
    ]
    if expected_error is not None:
        outputs.append(_tile("its expected error", colour_error(expected_error)))
    blank = [np.zeros_like(inputs[0])] * (len(inputs) - len(outputs))
    return [np.concatenate(row, axis=1) for row in (inputs, outputs + blank)]


def _tile(caption: str, pixels: np.ndarray) -> np.ndarray:
    small = cv2.resize(pixels, TILE, interpolation=cv2.INTER_AREA)
    title = np.zeros((CAPTION, TILE[0], 3), np.uint8)
    cv2.putText(title, caption, (4, 15), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (226,) * 3, 1, cv2.LINE_AA)
    return np.concatenate([title, small])


def draw_reliability(path: Path, groups: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Draws the mean error over the mean expected error, by deciles, one axis for each group.

    Args:
      path: the image file to write.
      groups: rows of `compare.summarise` by the title of the axis.
    """
    figure = Figure(figsize=(4.2 * len(groups), 3.8), layout="constrained")
    axes = figure.subplots(1, len(groups), squeeze=False)[0]
    for axis, (title, rows) in zip(axes, groups.items(), strict=True):
        for row in rows:
            if found := row.get("confidence"):
                metres = (np.array(found[key]) / 1e3 for key in ("expected_mm", "error_mm"))
                axis.loglog(*metres, marker=".", label=row["case"])
        axis.axline((0.01, 0.01), (10, 10), color="gray", linewidth=0.8)
        axis.set(title=title, xlabel="expected error, m", ylabel="mean error, m")
        axis.legend(fontsize="small")
    figure.savefig(path, dpi=90)
