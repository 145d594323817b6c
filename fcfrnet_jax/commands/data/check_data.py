"""Checks every file of a data set before training."""

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from ml_collections import ConfigDict

from fcfrnet_jax import process
from fcfrnet_jax.commands.data import certificate, opening, report, walk
from fcfrnet_jax.commands.data.certificate import SplitCheck
from fcfrnet_jax.commands.data.report import SplitReport
from fcfrnet_jax.commands.data.stamps import Stamps
from fcfrnet_jax.commands.data.walk import Result
from fcfrnet_jax.commands.settings import Range, check_ranges
from fcfrnet_jax.data.frame import BadFile, Frame, NoFramesError
from fcfrnet_jax.data.kitti.frames import PARTNERS
from fcfrnet_jax.data.kitti.gaps import find_gaps
from fcfrnet_jax.data.plausibility import Finding
from fcfrnet_jax.data.reading import paths_of
from fcfrnet_jax.data.sets import DataSet
from fcfrnet_jax.locks import lock_folder
from fcfrnet_jax.progress import frames_progress

RANGES = {"points": Range(1), "max_implausible": Range(0.0, 1.0), "workers": Range(0)}


def run(config: ConfigDict, workdir: str | Path) -> None:
    """Checks the data set that the config describes; writes `check_data.json` to `workdir`.

    Raises:
      ValueError: an invalid setting, there are no frames, or training may not start with them.
      BlockingIOError: another process writes to the workdir.
      OSError: the workdir is not writable.
    """
    check_ranges(config, RANGES)
    folder = Path(workdir).expanduser()
    data = opening.open_data_set(config)
    root = opening.data_dir(config)
    reports, empty = _search(config, data)
    notes = [*data.notes(), *empty]
    stamps = Stamps(root)
    workers = config.workers or process.cores()
    with lock_folder(folder), walk.Journal(folder) as journal:
        keys = {r.split: walk.keys_of(r.complete, stamps, data.limits) for r in reports}
        all_keys = [key for found in keys.values() for key in found]
        done = sum(journal.known(key) is not None for key in all_keys)
        checks = {}
        with frames_progress(len(all_keys), done, label="Checking") as advance:
            for found in reports:
                read = partial(walk.walk, found.complete, data.limits, keys[found.split], journal)
                # Before the files are read, so that a later change is noticed.
                digests = _digests(stamps, found.complete)
                in_core = _fill(found, read(workers=workers, advance=advance), data)
                checks[found.split] = _as_check(found, digests, in_core)
        obstacles = report.obstacles(reports, config.skip_bad_frames, config.max_implausible)
        entries = {
            "data_set": data.name,
            "data_dir": str(root.resolve()),
            "may_train": not obstacles,
            "obstacles": obstacles,
            "notes": notes,
            "splits": {found.split: found.to_json() for found in reports},
        }
        certificate.write(folder, checks, entries)
    report.show(reports, data.name, notes)
    if obstacles:
        raise ValueError(f"{'; '.join(obstacles)}; see {folder / certificate.NAME}")


def _search(config: ConfigDict, data: DataSet) -> tuple[list[SplitReport], list[str]]:
    """Finds the frames of the splits; returns reports, and why other splits have none.

    Raises:
      ValueError: an unknown split or kind of file, or a chosen split or all have no frames.
    """
    chosen = _words(config.splits)
    unknown = sorted({*chosen} - {*data.splits})
    if unknown:
        raise ValueError(
            f"--config.splits: unknown split {unknown[0]!r}; {data.name} has "
            f"{', '.join(data.splits)}"
        )
    require = _words(config.require)
    unknown = sorted({*require} - {*PARTNERS})
    if unknown:
        raise ValueError(
            f"--config.require: a frame can require {', '.join(PARTNERS)}, got {unknown[0]!r}"
        )
    reports, empty = [], []
    for split in chosen or data.splits:
        try:
            reports.append(_search_split(config, data, split, require))
        except NoFramesError as error:
            if chosen:
                raise
            empty.append(error)
    if not reports:
        raise empty[0]
    return reports, [_shorten(str(error)) for error in empty]


def _shorten(text: str) -> str:
    """Leaves out of a message where the frames of a split were looked for."""
    start, _, rest = text.partition(": looked for")
    hints = [part for part in rest.split("; ") if part.startswith(("found ", "did you mean "))]
    return "; ".join([start, *hints])


def _search_split(
    config: ConfigDict, data: DataSet, split: str, require: Sequence[str]
) -> SplitReport:
    wanted = [kind for kind in require if kind != "ground_truth" or split in data.truth_splits]
    search = partial(data.search, split, coarse_dir=config.coarse_dir or None)
    complete, _ = search(require=())
    found = SplitReport(split, data.benchmark_frames.get(split), complete)
    try:
        found.complete, found.missing = search(require=wanted)
    except ValueError:
        there = []
        for kind in wanted:
            try:
                search(require=(kind,))
                there.append(kind)
            except ValueError as error:
                found.absent.append(str(error))
        found.complete, found.missing = search(require=there)
    if data.benchmark_frames:
        names = [item.name for item in complete]
        found.gaps = find_gaps(names, data.find_images(split, names))
    return found


def _words(text: str) -> list[str]:
    return [*dict.fromkeys(word for part in text.split(",") if (word := part.strip()))]


def _fill(found: SplitReport, results: Iterator[tuple[Frame, Result]], data: DataSet) -> bool:
    """Enters the results of reading; returns whether all depth maps have a depth in `walk.CORE`."""
    in_core = True
    for frame, result in results:
        found.bad += walk.as_bad_files(frame, result)
        if result.size:
            found.sizes[frame.name] = result.size
            in_core &= result.in_core
        findings = [Finding(*values) for values in result.findings]
        for texts, impossible in ((found.implausible, True), (found.unusual, False)):
            first = next((item for item in findings if item.impossible == impossible), None)
            if first:
                # It reads the file again.
                advice = data.advise_scale(frame, first) if impossible and not texts else ""
                texts.append(f"{paths_of(frame)[first.depth]}: {first.text}{advice}")
    found.odd = walk.odd_sizes(found.sizes)
    return in_core


def _digests(stamps: Stamps, frames: Sequence[Frame]) -> dict[str, str]:
    try:
        return stamps.digests(frames)
    except ValueError:  # records whose files are not known
        return {}


def _as_check(found: SplitReport, digests: dict[str, str], in_core: bool) -> SplitCheck:
    sizes = Counter(found.sizes.values())
    bad = [
        {"frame": item.frame.name, "kind": _kind_of(item), "reason": item.reason}
        for item in found.bad
    ]
    return SplitCheck(
        frames=len(found.complete),
        digests=digests,
        sizes=[(*size, count) for size, count in sorted(sizes.items())],
        in_core=in_core,
        bad=bad,
    )


def _kind_of(bad: BadFile) -> str:
    kinds = (kind for kind, path in paths_of(bad.frame).items() if path == bad.path)
    return next(kinds, certificate.RECORD)
