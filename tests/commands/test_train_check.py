"""The ranges of the settings of a training config."""

import math

import pytest

from fcfrnet_jax.commands.cli import config_files
from fcfrnet_jax.commands.settings import Range
from fcfrnet_jax.commands.train_check import RANGES, check_config
from tests.commands.runs import config_of


@pytest.mark.parametrize("name", RANGES)
def test_every_number_outside_its_range_is_refused(name):
    allowed = RANGES[name]
    values = [allowed.low if allowed.above else allowed.low - 1]
    if allowed.high != math.inf:
        values.append(allowed.high if allowed.below else allowed.high + 1)
    if isinstance(allowed.low, float):
        values += [math.nan, math.inf]
    for value in values:
        config = config_of("nowhere").copy_and_resolve_references().unlock()
        is_tuple = isinstance(config_files.flat(config)[name], tuple)
        config.update_from_flattened_dict({name: (value,) if is_tuple else value})
        with pytest.raises(
            ValueError, match=rf"^--config\.{name} must be {allowed}, got .*{value}"
        ):
            check_config(config)


@pytest.mark.parametrize(
    ("limits", "inside", "outside"),
    [
        (Range(0), [0, 7], [-1]),
        (Range(0.0, 1.0), [0.0, 1.0], [-1e-9, 1.0000001, math.nan]),
        (Range(0.0, 1.0, above=True, below=True), [0.5], [0.0, 1.0]),
        (Range(0.0), [1e30], [math.inf, -math.inf]),
    ],
)
def test_ranges(limits, inside, outside):
    assert all(value in limits for value in inside)
    assert not any(value in limits for value in outside)


@pytest.mark.parametrize(("crop", "refused"), [((32, 64), False), ((48, 64), True)])
def test_the_photometric_loss_needs_multiples_of_32(crop, refused):
    check_config(config_of("nowhere", crop=(48, 64)))
    config = config_of("nowhere", crop=crop, mode="photo")
    if not refused:
        check_config(config)
        return
    with pytest.raises(
        ValueError, match=r"multiples of 32 with --config.mode=photo, got \(48, 64\)"
    ):
        check_config(config)
