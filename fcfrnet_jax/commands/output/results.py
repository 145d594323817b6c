"""The results of an evaluation in its workdir, which are replaced together in one step.

A workdir holds `metrics.json`, `predictions/` and `panels/`. A new set is written to a hidden
folder and replaces the old one as follows; a reader finds one complete set at any moment, also
after a kill.

1. Each old entry is exchanged for a link through `current`, which points to the old set.
2. `current` is replaced by a link to the new set. This is one rename.
3. Each link is exchanged for the new entry.

So the workdir contains ordinary files and folders again, which can be copied without the hidden
folder. Where entries cannot be exchanged, `metrics.json` is removed first and written last.
"""

import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from absl import logging

from fcfrnet_jax.files import (
    exchange,
    is_temporary,
    list_some,
    read_json,
    remove,
    remove_temporaries,
    sync,
    write_json,
)
from fcfrnet_jax.locks import lock_folder

METRICS, PREDICTIONS, PANELS = NAMES = ("metrics.json", "predictions", "panels")
HIDDEN = ".fcfrnet-evaluation"
# Files that systems put into folders that are opened.
_OF_THE_SYSTEM = {".DS_Store", "Thumbs.db", "desktop.ini"}


@contextmanager
def new_results(workdir: Path) -> Iterator[Path]:
    """Yields a folder for new results, which replace those of the workdir without an error.

    It contains an empty `predictions/` and `panels/`; `write_metrics` must be called last. The
    workdir is locked. What killed evaluations have left in it is removed.

    Raises:
      ValueError: the workdir holds files with the names of results that are not ours, or files of
        others among ours.
      BlockingIOError: another process writes to the workdir.
      OSError: the workdir cannot be written.
    """
    hidden = workdir / HIDDEN
    with lock_folder(workdir, lambda: _recover(workdir)):
        check_ours(workdir)
        try:
            for name in (PREDICTIONS, PANELS):
                (hidden / "new" / name).mkdir(parents=True)
            yield new_folder(workdir)
            _replace(workdir)
        finally:
            _recover(workdir)
        if not any((workdir / PANELS).iterdir()):
            (workdir / PANELS).rmdir()


def new_folder(workdir: Path) -> Path:
    """The folder that `new_results` yields, for the other processes of a job."""
    return workdir / HIDDEN / "new"


def write_metrics(folder: Path, result: Mapping[str, Any]) -> None:
    """Writes `metrics.json`, the last file of a set of results."""
    write_json(folder / METRICS, result)


def panel_name(frame: str) -> str:
    """The file name of the panel of a frame."""
    return f"{frame.replace('/', '_')}.png"


def check_ours(workdir: Path) -> None:
    """Raises ValueError if the results in a workdir, or files among them, are not ours."""
    present = [name for name in NAMES if _exists(workdir / name)]
    if not present:
        return
    way_out = "move it away or choose another workdir"
    for name in present:
        path = workdir / name
        if path.is_symlink():
            raise ValueError(f"{path} is a symbolic link to {path.readlink()}; {way_out}")
        if path.is_dir() != (name != METRICS):
            expected = "file" if name == METRICS else "folder"
            raise ValueError(f"{path} is not a {expected} of an evaluation; {way_out}")
    if METRICS not in present:
        raise ValueError(
            f"{workdir / present[0]} was not written by an evaluation, or its {METRICS} is "
            f"missing; {way_out}"
        )
    others = _files_of_others(workdir, _listed(workdir / METRICS, way_out))
    if others:
        names = list_some([str(path.relative_to(workdir)) for path in others])
        raise ValueError(f"{workdir}: {names} would be deleted with the old results; {way_out}")


def _exists(path: Path) -> bool:
    return path.exists() or path.is_symlink()


def _listed(metrics: Path, way_out: str) -> set[Path]:
    """The files of a set of results, relative to its folder, that its `metrics.json` lists."""
    result = read_json(metrics, way_out)
    try:
        names = [frame["name"] for frame in result["per_frame"]]
        if not names:
            raise ValueError(f"{metrics} lists no frames, so it is not ours; {way_out}")
        # Older versions do not list the panels.
        panels = result.get("panels", [panel_name(name) for name in names])
        files = {Path(PREDICTIONS) / f"{name}.png" for name in names}
        return files | {Path(PANELS) / name for name in panels}
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"{metrics} was not written by an evaluation; {way_out}") from error


def _files_of_others(folder: Path, listed: set[Path]) -> list[Path]:
    return sorted(
        path
        for name in (PREDICTIONS, PANELS)
        for path in (folder / name).rglob("*")
        if (path.is_symlink() or not path.is_dir())
        and path.relative_to(folder) not in listed
        and path.name not in _OF_THE_SYSTEM
        and not is_temporary(path)
    )


def _replace(workdir: Path) -> None:
    """Replaces the set of the workdir by the complete one in the hidden folder."""
    hidden = workdir / HIDDEN
    old = hidden / "old"
    for folder in (path for path in hidden.rglob("*") if path.is_dir()):
        sync(folder)
    old.mkdir()
    if not _can_exchange(hidden):
        (hidden / "steps").mkdir()
        _replace_in_steps(workdir)
        return
    _point(hidden, "old")
    for name in NAMES:
        if _exists(workdir / name):
            (old / name).symlink_to(_link(name))
            exchange(workdir / name, old / name)
        else:
            # Leads nowhere until `current` points to the new set.
            (workdir / name).symlink_to(_link(name))
    for folder in (old, hidden, workdir):
        sync(folder)
    _point(hidden, "new")
    sync(hidden)


def _link(name: str) -> str:
    return f"{HIDDEN}/current/{name}"


def _point(hidden: Path, target: str) -> None:
    """Lets `current` point to a set, in one step."""
    link = hidden / "next"
    link.symlink_to(target)
    link.replace(hidden / "current")


def _can_exchange(hidden: Path) -> bool:
    folder, link = hidden / "folder", hidden / "link"
    try:
        folder.mkdir()
        link.symlink_to("nowhere")
        exchange(folder, link)
    except OSError:
        return False
    return True


def _replace_in_steps(workdir: Path) -> None:
    """As `_replace`, where entries cannot be exchanged; may be killed and called again.

    Between the first and the last step the workdir has no `metrics.json`.
    """
    new, old = (workdir / HIDDEN / name for name in ("new", "old"))
    for name in NAMES:
        # Otherwise it belongs to the new set already.
        if _exists(new / name) and _exists(workdir / name):
            (workdir / name).rename(old / name)
    for name in reversed(NAMES):
        sync(workdir)
        if _exists(new / name):
            (new / name).rename(workdir / name)


def _recover(workdir: Path) -> None:
    """Completes or undoes a replacement that has begun, and removes what is not in use.

    May be killed at any moment and called again.
    """
    hidden = workdir / HIDDEN
    current = hidden / "current"
    if current.is_symlink():
        for name in NAMES:
            # A kill in `_take_place` may have left no link.
            if _is_our_link(workdir / name) or not _exists(workdir / name):
                _take_place(current.resolve() / name, workdir / name)
        sync(workdir)
        current.unlink()
    elif _exists(hidden / "steps"):
        _replace_in_steps(workdir)
    _keep_files_of_others(workdir)
    for path in (hidden, *filter(_is_old_leftover, workdir.iterdir())):
        if _exists(path):
            remove(path)
    remove_temporaries(hidden)
    remove_temporaries(workdir / METRICS)


def _is_our_link(path: Path) -> bool:
    return path.is_symlink() and os.readlink(path) == _link(path.name)


def _take_place(source: Path, link: Path) -> None:
    """Puts a file or folder in the place of a link to it; without it, the link is removed."""
    if not source.exists():
        link.unlink(missing_ok=True)
        return
    try:
        exchange(source, link)
    except OSError:  # the workdir was moved to another file system
        link.unlink(missing_ok=True)
        source.rename(link)


def _keep_files_of_others(workdir: Path) -> None:
    """Moves the old set out of the hidden folder if files were added to it during the run."""
    old = workdir / HIDDEN / "old"
    # What is left of an undone replacement are links that lead nowhere.
    if not (old / METRICS).is_file():
        return
    if not _files_of_others(old, _listed(old / METRICS, f"move {old} away")):
        return
    kept = workdir / f"kept-{time.strftime('%Y%m%d-%H%M%S')}"
    old.rename(kept)
    logging.warning("%s: the old results, with files that others have added", kept)


def _is_old_leftover(path: Path) -> bool:
    """Returns whether a folder is what a killed evaluation of an older version has left."""
    named = re.fullmatch(r"\.incomplete-[a-z0-9_]{8}", path.name)
    return (
        bool(named)
        and path.is_dir()
        and {child.name for child in path.iterdir()} <= {PREDICTIONS, PANELS}
    )
