"""The report on a data set: a table, entries of `check_data.json`, and what has to be done."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.table import Table

from fcfrnet_jax.data import check
from fcfrnet_jax.data.frame import BadFile, Frame
from fcfrnet_jax.data.kitti.gaps import Gap
from fcfrnet_jax.files import count_of, list_some
from fcfrnet_jax.geometry import Size
from fcfrnet_jax.progress import console

# Examples of each kind in the terminal; `check_data.json` has all.
_SHOWN = 3


@dataclass
class SplitReport:
    """What was found in a split.

    Attributes:
      split: its name.
      expected: the number of frames of the benchmark, or None for other data.
      complete: the frames that have all files.
      missing: the missing files of the other frames.
      absent: why a required kind of file is not there at all.
      bad: the bad files of `complete`.
      implausible: the file and what is impossible about its depth; one for each frame.
      unusual: the same for what is only unusual.
      sizes: of the frames, (height, width), by name.
      odd: those of `sizes` that differ within a drive.
      gaps: frames of drives without depth.
    """

    split: str
    expected: int | None
    complete: list[Frame] = field(default_factory=list)
    missing: list[BadFile] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    bad: list[BadFile] = field(default_factory=list)
    implausible: list[str] = field(default_factory=list)
    unusual: list[str] = field(default_factory=list)
    sizes: dict[str, Size] = field(default_factory=dict)
    odd: dict[str, Size] = field(default_factory=dict)
    gaps: list[Gap] = field(default_factory=list)

    def usable(self) -> int:
        """The number of frames that training can use."""
        return len(check.without_bad(self.complete, self.bad))

    def total(self) -> int:
        """The number of frames, with those that lack a file."""
        return len({*(f.name for f in self.complete), *(b.frame.name for b in self.missing)})

    def uncalibrated(self) -> dict[str, int]:
        """The number of frames without intrinsics by drive and camera; "" without drives."""
        counts: dict[str, int] = {}
        for frame in self.complete:
            if frame.intrinsics is None:
                drive = frame.name.rpartition("/")[0]
                counts[drive] = counts.get(drive, 0) + 1
        return counts

    def to_json(self) -> dict[str, Any]:
        """The entries for the reader of `check_data.json`."""
        sizes = sorted(Counter(self.sizes.values()).items())
        return {
            "frames": self.total(),
            "expected": self.expected,
            "usable": self.usable(),
            "absent": self.absent,
            "missing": [_describe(item) for item in self.missing],
            "damaged": [_describe(item) for item in self.bad],
            "implausible": self.implausible,
            "unusual": self.unusual,
            "sizes": {f"{h}x{w}": count for (h, w), count in sizes},
            "odd_sizes": {name: f"{h}x{w}" for name, (h, w) in self.odd.items()},
            "without_calibration": self.uncalibrated(),
            "gaps": [vars(gap) for gap in self.gaps],
        }


def obstacles(
    reports: Sequence[SplitReport], skip_bad_frames: bool, max_implausible: float
) -> list[str]:
    """Why training may not start, each with what to do; empty if it may.

    Args:
      reports: of the splits.
      skip_bad_frames: whether training leaves frames with bad files out.
      max_implausible: the largest share of frames with impossible depth.
    """
    found = []
    bad = [item for report in reports for item in (*report.missing, *report.bad)]
    if bad and not skip_bad_frames:
        count = len({(str(item.path), item.frame.name) for item in bad})
        # A frame may be in several splits.
        texts = [*dict.fromkeys(f"{item.path} {item.reason}" for item in bad)]
        first = list_some(texts, separator="; ")
        found.append(
            f"{count_of(count, 'file')} cannot be used: {first}; "
            "--config.skip_bad_frames=True, here and in training, leaves the frames out"
        )
    for report in reports:
        found += report.absent
        if report.total() and not report.usable():
            found.append(f"no frame of {report.split} can be used")
        share = len(report.implausible) / max(len(report.complete), 1)
        if share > max_implausible:
            found.append(
                f"the depth of {share:.1%} of the frames of {report.split} is impossible: "
                f"{report.implausible[0]}; convert the files, or, if they are right, allow more by "
                "--config.max_implausible"
            )
    return found


def show(reports: Sequence[SplitReport], name: str, notes: Sequence[str]) -> None:
    """Prints the table and the notes.

    Args:
      reports: of the splits.
      name: of the data set.
      notes: about the data set as a whole.
    """
    output = console()
    table = Table(name, *(report.split for report in reports))
    rows: dict[str, list[int | None]] = {
        "frames": [report.total() for report in reports],
        "frames of the benchmark": [report.expected for report in reports],
        "usable frames": [report.usable() for report in reports],
        "missing files": [len(report.missing) for report in reports],
        "damaged or empty files": [len(report.bad) for report in reports],
        "frames of impossible depth": [len(report.implausible) for report in reports],
        "frames of unusual depth": [len(report.unusual) for report in reports],
        "frames of an odd size": [len(report.odd) for report in reports],
        "frames without calibration": [sum(report.uncalibrated().values()) for report in reports],
    }
    for heading, counts in rows.items():
        if counts == [None] * len(counts):
            continue
        table.add_row(heading, *("" if count is None else f"{count:,}" for count in counts))
    output.print(table)
    for report in reports:
        for note in _notes(report):
            output.print(f"{report.split}: {note}.", soft_wrap=True)
    for note in notes:
        output.print(note if note.endswith("?") else f"{note}.", soft_wrap=True)


def _notes(report: SplitReport) -> list[str]:
    notes = []
    if report.expected is not None and report.total() < report.expected:
        lacking = report.expected - report.total()
        notes.append(f"{lacking:,} of the benchmark's {report.expected:,} frames are not here")
    if report.uncalibrated():
        drives = list_some(sorted(report.uncalibrated()), _SHOWN)
        notes.append(
            "without calibration, which the photometric loss and beam dropout need"
            + (f": {drives}" if drives else "")
        )
    if report.odd:
        odd = [f"{name} is {h}x{w}" for name, (h, w) in report.odd.items()]
        notes.append(f"of another size than the rest of their drive: {list_some(odd, _SHOWN)}")
    if report.unusual:
        notes.append(f"unusual depth: {list_some(report.unusual, _SHOWN, '; ')}")
    known = [gap for gap in report.gaps if gap.reason]
    if known:
        notes.append(f"depth is missing in KITTI itself in {_count(known)}")
    unknown = [gap for gap in report.gaps if not gap.reason]
    if unknown:
        first = list_some([f"{gap.drive}/{gap.first} to {gap.last}" for gap in unknown], _SHOWN)
        notes.append(f"depth is missing for an unknown reason in {_count(unknown)}: {first}")
    return notes


def _count(gaps: Sequence[Gap]) -> str:
    frames = count_of(sum(gap.last - gap.first + 1 for gap in gaps), "frame")
    cameras = len({gap.drive for gap in gaps})
    return f"{frames} of {count_of(cameras, 'camera')}"


def _describe(item: BadFile) -> dict[str, str]:
    return {"frame": item.frame.name, "path": str(item.path), "reason": item.reason}
