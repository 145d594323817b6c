"""The content of `metrics.json`."""

from collections.abc import Sequence
from typing import Any

from ml_collections import ConfigDict

from fcfrnet_jax.commands.output import results
from fcfrnet_jax.commands.output.shares import Row
from fcfrnet_jax.data.frame import BadFile, Frame
from fcfrnet_jax.data.kitti import layout
from fcfrnet_jax.evaluation.metrics import average


def summarise(
    config: ConfigDict,
    source: str | None,
    rows: list[Row],
    with_panel: Sequence[Frame],
    bad: Sequence[BadFile],
) -> dict[str, Any]:
    """The settings, the means, every frame, and the frames that were left out.

    Args:
      config: the config.
      source: of the coarse depth.
      rows: the name and the metrics of every frame that was measured.
      with_panel: the frames for which panels were wanted.
      bad: the bad files of the frames that were left out.
    """
    maps = rows[0]["metrics"]
    stored = config.coarse_dir or layout.KIND_FOLDERS["coarse"][0]
    drawn = {frame.name for frame in with_panel}
    return {
        "split": config.split,
        "frames": len(rows),
        "checkpoint": config.checkpoint or None,
        "coarse_checkpoint": config.coarse_checkpoint or None,
        "coarse_source": source,
        "coarse_dir": stored if source == "files" else None,
        "data": config.data_dir or "sample scenes",
        "crop": list(config.crop),
        "dtype": config.dtype,
        "skip_bad_frames": config.skip_bad_frames,
        "check_depth": config.check_depth,
        "metrics": {name: average([row["metrics"][name] for row in rows]) for name in maps},
        "per_frame": rows,
        "panels": [results.panel_name(row["name"]) for row in rows if row["name"] in drawn],
        "skipped": [
            {"name": item.frame.name, "path": str(item.path), "reason": item.reason} for item in bad
        ],
    }
