"""Decides whether a training run can be resumed with a config.

A change of the sequence of updates is refused; every other change is accepted. `docs/training.md`
explains the classification.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ml_collections import ConfigDict

from fcfrnet_jax.commands.cli.config_files import flat
from fcfrnet_jax.commands.effects import EFFECTS, Effect, changes, effect, unused
from fcfrnet_jax.commands.train_setup import lengths, total_steps
from fcfrnet_jax.commands.workdir import Found, to_json
from fcfrnet_jax.data.frame_names import FrameNames
from fcfrnet_jax.files import list_some


@dataclass(frozen=True)
class Resumption:
    """A run that is started or resumed.

    Attributes:
      facts: for `run.json`: the identity of the data, the schedule and the history of the run.
      changed: both values of each setting that has changed in the run.
      new_selection: whether the validations so far cannot be compared with later ones.
      notes: sentences for the user about the changes.
    """

    facts: dict[str, Any]
    changed: dict[str, tuple[Any, Any]]
    new_selection: bool
    notes: list[str]

    @property
    def epoch(self) -> int:
        """The number of frames that an epoch had at the start of the run."""
        return self.facts["epoch"]

    @property
    def ends(self) -> list[int]:
        """The steps at which the schedule ends, see `train_setup.lengths`."""
        return self.facts["lengths"]

    def facts_at(self, step: int) -> dict[str, Any]:
        """The facts to record when the run continues after a step."""
        facts = dict(self.facts)
        if self.new_selection:
            facts["best_since"] = step
        if self.changed:
            settings = {name: list(values) for name, values in self.changed.items()}
            facts["changes"] = [*facts["changes"], {"step": step, "settings": settings}]
        return facts


def compare(
    found: Found,
    config: ConfigDict,
    *,
    names: FrameNames | None,
    val_names: FrameNames | None,
    weights: str | None,
    devices: int,
) -> Resumption:
    """Compares a config with the run in its workdir.

    Args:
      found: the workdir.
      config: the config.
      names, val_names: the training and the validation frames; None for rendered ones.
      weights: the digest of the frozen coarse network, if there is one.
      devices: the number of devices of all processes.

    Raises:
      ValueError: the run cannot be continued with this config.
    """
    settings = flat(to_json(config))
    epoch = names.count - len(names.left_out) if names else 0
    facts: dict[str, Any] = {
        "frames": names and names.to_json(),
        "val_frames": val_names and val_names.to_json(),
        "coarse_weights": weights,
        "devices": devices,
        "epoch": epoch,
        "lengths": [total_steps(settings, epoch)],
        "selection": 0,
        "best_since": 0,
        "changes": [],
    }
    if not found.started:
        return Resumption(facts, {}, new_selection=False, notes=[])
    assert found.settings is not None
    changed = changes(found.settings, settings)
    check_settings(found, changed, settings)
    check_data(found, changed, names, weights, skips=settings["skip_bad_frames"])
    check_devices(found, devices, settings)
    before = found.facts
    if names and not found.settings.get("skip_bad_frames"):
        # Frames that are left out from now on do not change the length of an epoch.
        epoch = names.count
    facts |= {name: before[name] for name in ("best_since", "changes") if name in before}
    facts["epoch"] = epoch = before.get("epoch", epoch)
    started_with = total_steps(found.settings, epoch)
    facts["lengths"] = lengths(found, total_steps(settings, epoch), settings, started_with)
    same_frames = before.get("val_frames", facts["val_frames"]) == facts["val_frames"]
    selecting = changed.keys() - unused(settings)
    new_selection = not same_frames or any(EFFECTS[name] is Effect.BEST for name in selecting)
    facts["selection"] = before.get("selection", 0) + new_selection
    notes = _notes(found, changed, settings, facts)
    if new_selection:
        notes.append("The model best is selected again, by the validations from here on.")
    return Resumption(facts, changed, new_selection, notes)


def check_settings(
    found: Found, changed: Mapping[str, tuple[Any, Any]], settings: Mapping[str, Any]
) -> None:
    """Refuses changed settings that change the sequence of updates.

    Raises:
      ValueError: with all of these settings.
    """
    refused = {Effect.UPDATES} if found.step else {Effect.UPDATES, Effect.START}
    without_effect = unused(settings)
    listed = [
        f"{name} was {old!r}, is {new!r}"
        for name, (old, new) in changed.items()
        if effect(name, settings) in refused and name not in without_effect
    ]
    coarse_dirs = changed.get("coarse_dir", ("", ""))
    if bool(coarse_dirs[0]) != bool(coarse_dirs[1]):
        listed.append(f"coarse_dir was {coarse_dirs[0]!r}, is {coarse_dirs[1]!r}")
    if listed:
        raise ValueError(
            f"{found.folder} has a run with other settings, which the updates depend on: "
            f"{'; '.join(listed)}; {_ways_out(found, same_model=not _is_other_model(changed))}"
        )


def check_data(
    found: Found,
    changed: Mapping[str, tuple[Any, Any]],
    names: FrameNames | None,
    weights: str | None,
    *,
    skips: bool,
) -> None:
    """Refuses other training frames and other weights of the frozen network.

    Frames may be left out from now on, or no longer, if `skips`: whether the config leaves out
    frames that cannot be used.

    Raises:
      ValueError: other frames or weights, or an old workdir whose data were moved.
    """
    frames_before, weights_before = found.facts.get("frames"), found.facts.get("coarse_weights")
    if names and frames_before:
        _check_names(found, _read_names(found, frames_before), names, skips=skips)
    elif names and "data_dir" in changed:
        raise _not_recorded(found, "data_dir", changed["data_dir"])
    if weights and weights_before and weights != weights_before:
        raise ValueError(
            f"{found.folder} has a run on a frozen coarse network with other weights than that of "
            f"--config.coarse_checkpoint; {_ways_out(found)}"
        )
    if weights and not weights_before and "coarse_checkpoint" in changed:
        raise _not_recorded(found, "coarse_checkpoint", changed["coarse_checkpoint"])


def _read_names(found: Found, recorded: Mapping[str, Any]) -> FrameNames:
    try:
        return FrameNames(**recorded)
    except TypeError as error:
        path = found.folder / "run.json"
        raise ValueError(
            f"{path}: its record of the frames is of another version; choose another --workdir"
        ) from error


def _check_names(found: Found, before: FrameNames, now: FrameNames, *, skips: bool) -> None:
    if before.digest != now.digest:
        raise ValueError(
            f"{found.folder} has a run on other frames: it had {before.count}, now there are "
            f"{now.count}; {before.first_difference(now)}; the updates depend on the frames; "
            f"{_ways_out(found)}"
        )
    if before.reading != now.reading:
        raise ValueError(
            f"{found.folder} has a run on depth that was read with {before.reading}, and is now "
            f"read with {now.reading}; the updates depend on it; {_ways_out(found)}"
        )
    if before.left_out != now.left_out and not skips:
        raise ValueError(
            f"{found.folder} has a run that left out {len(before.left_out)} of its {before.count} "
            f"frames ({list_some(before.left_out)}), now it is {len(now.left_out)}; the updates "
            "depend on the frames; set --config.skip_bad_frames=True to accept this"
        )


def _not_recorded(found: Found, name: str, values: tuple[Any, Any]) -> ValueError:
    return ValueError(
        f"{found.folder} has a run of an older version, which did not record what {name} contains: "
        f"{name} was {values[0]!r}, is {values[1]!r}; resume once with the recorded path, which "
        "may be a symbolic link, and then it can be moved"
    )


def check_devices(found: Found, devices: int, settings: Mapping[str, Any]) -> None:
    """Refuses another number of devices where BatchNorm's groups of examples depend on it.

    With synchronised BatchNorm and one micro-batch, the group is the global batch.

    Raises:
      ValueError: another number of devices than in the run.
    """
    before = found.facts.get("devices", devices)
    grouped = settings["accumulate"] > 1 or not settings["sync_batchnorm"]
    if grouped and before != devices:
        raise ValueError(
            f"{found.folder} has a run on {before} devices, and these are {devices}: with "
            f"--config.accumulate={settings['accumulate']} and --config.sync_batchnorm="
            f"{settings['sync_batchnorm']} BatchNorm would normalise other groups of examples; use "
            f"{before} devices, or choose another --workdir"
        )


def _is_other_model(changed: Mapping[str, tuple[Any, Any]]) -> bool:
    return any(name == "stage" or name.startswith(("coarse.", "fine.")) for name in changed)


def _ways_out(found: Found, *, same_model: bool = True) -> str:
    model = found.newest_model if same_model else None
    start = f"; --config.checkpoint={model} starts from its weights" if model else ""
    return f"give the recorded ones or choose another --workdir{start}"


def _notes(
    found: Found,
    changed: Mapping[str, tuple[Any, Any]],
    settings: Mapping[str, Any],
    facts: Mapping[str, Any],
) -> list[str]:
    silent = {"process", "processes", "coordinator", "join_timeout", *unused(settings)}
    told = [
        f"{name}={new!r} (was {old!r})"
        for name, (old, new) in changed.items()
        if name not in silent and effect(name, settings) is not Effect.START
    ]
    notes = [f"Continuing with {', '.join(told)}."] if told else []
    if not found.step:
        reached = int(found.lines[-1]["step"])
        notes.append(f"The run ended after step {reached} without a snapshot, so it starts again.")
    if "coarse_dir" in changed:
        notes.append("The coarse maps are compared by the names of their frames only.")
    started = [name for name in changed if effect(name, settings) is Effect.START]
    if started:
        notes.append(f"Not used, because the run continues from a snapshot: {', '.join(started)}.")
    devices = found.facts.get("devices", facts["devices"])
    if devices != facts["devices"]:
        notes.append(
            f"Continuing on {facts['devices']} devices (was {devices}); sums differ by rounding."
        )
    left_out = [(facts.get("frames") or {}).get("left_out", []) for facts in (found.facts, facts)]
    if left_out[0] != left_out[1] and (found.facts or "skip_bad_frames" in changed):
        notes.append(
            f"{len(left_out[1])} training frames are left out (was {len(left_out[0])}), so the "
            "updates differ from those of an uninterrupted run."
        )
    if len(facts["lengths"]) > len(found.facts.get("lengths", [0])):
        notes.append(f"The cosine schedule restarts after step {facts['lengths'][-2]}.")
    return notes
