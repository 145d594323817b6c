"""Kills the replacement of an evaluation's results at every operation; run as a program.

It imports neither jax nor TensorFlow, so that it can be forked in milliseconds.
"""

import errno
import os
import shutil
import sys
from pathlib import Path

from fcfrnet_jax import files
from fcfrnet_jax.commands.output import results
from tests.kill_points import killed_everywhere

FRAMES = ("drive/image_02/0", "drive/image_02/1")
# Imitate a file system that cannot exchange entries; then there may be no set for a moment.
STEPS = "--steps" in sys.argv


def write_set(workdir: Path, run: str, panels: int = 1) -> None:
    with results.new_results(workdir) as folder:
        for name in FRAMES:
            path = folder / "predictions" / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(run)
        listed = [results.panel_name(name) for name in FRAMES[:panels]]
        for name in listed:
            (folder / "panels" / name).write_text(run)
        per_frame = [{"name": name} for name in FRAMES]
        record = {"run": run, "per_frame": per_frame, "panels": listed}
        results.write_metrics(folder, record)


def found(workdir: Path) -> str | None:
    """The run whose complete set a reader finds, or None for no set; fails for anything else."""
    metrics = workdir / "metrics.json"
    predictions = sorted((workdir / "predictions").rglob("*.png"))
    panels = sorted((workdir / "panels").rglob("*.png"))
    if not metrics.exists():
        assert STEPS or not predictions + panels
        return None
    record = files.read_json(metrics, "")
    names = [path.relative_to(workdir / "predictions") for path in predictions]
    assert names == [Path(f"{frame['name']}.png") for frame in record["per_frame"]]
    assert [path.name for path in panels] == record["panels"]
    assert {path.read_text() for path in predictions + panels} == {record["run"]}
    return record["run"]


def names(workdir: Path) -> list[str]:
    return sorted(path.name for path in workdir.iterdir())


def check(folder: Path, old: int | None, new: int, repeated: bool) -> int:
    """Kills everywhere, and optionally the next run everywhere too; returns the number of kills.

    Args:
      folder: for the workdirs.
      old: number of panels of the set that is replaced, None without a set.
      new: number of panels of the set that replaces it.
      repeated: kill the next run too.
    """
    template, workdir, again = (folder / name for name in ("template", "workdir", "again"))
    template.mkdir()
    if old is not None:
        write_set(template, "old", old)
    shutil.copytree(template, workdir)
    kills, states = 0, set()
    allowed = {None if old is None else "old", "new"} | ({None} if STEPS else set())
    for _ in killed_everywhere(lambda: write_set(workdir, "new", new), folder):
        kills += 1
        states.add(found(workdir))
        if repeated:
            shutil.copytree(workdir, again, symlinks=True)
            for _ in killed_everywhere(lambda: write_set(again, "next", 2), folder):
                kills += 1
                assert found(again) in {*allowed, "next"}
                shutil.rmtree(again)
                shutil.copytree(workdir, again, symlinks=True)
            shutil.rmtree(again)
        write_set(workdir, "next", 2)
        assert found(workdir) == "next"
        assert names(workdir) == sorted(results.NAMES)
        shutil.rmtree(workdir)
        shutil.copytree(template, workdir)
    assert found(workdir) == "new"
    assert states == allowed
    return kills


def cannot_exchange(one: Path, other: Path) -> None:
    raise OSError(errno.EINVAL, "Invalid argument")


if __name__ == "__main__":
    # Waiting for the disk takes most of the time and does not matter for a kill.
    os.fsync = lambda _: None
    if STEPS:
        results.exchange = cannot_exchange
    cases = [(1, 2), (None, 1), (2, 0), (0, 1)]
    for case, (old, new) in enumerate(cases if "--all" in sys.argv else cases[:2]):
        folder = Path(sys.argv[1]) / str(case)
        folder.mkdir()
        print(old, new, check(folder, old, new, repeated="--repeated" in sys.argv), flush=True)
