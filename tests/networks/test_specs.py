"""Specs: their JSON records, and the settings that they refuse."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fcfrnet_jax.networks.specs import (
    BASES,
    COARSE_TO_FINE,
    RESNET_LAYERS,
    SPARSE_TO_COARSE,
    VARIANTS,
    CoarseToFineSpec,
    SparseToCoarseSpec,
    TwoStageSpec,
    differing_settings,
    spec_from_json,
    spec_to_json,
)

layers = st.sampled_from(RESNET_LAYERS)
widths = st.integers(1, 64).map(lambda quarter: 4 * quarter)
coarse_specs = st.one_of(
    st.builds(
        SparseToCoarseSpec,
        layers,
        st.sampled_from(["rgbd", "gd", "d"]),
        widths,
        st.sampled_from(BASES),
        st.booleans(),
    ),
    st.builds(SparseToCoarseSpec, layers, st.sampled_from(["rgb", "g"]), widths),
)
fine_specs = st.builds(
    CoarseToFineSpec,
    layers,
    st.sampled_from(["rgbd", "gd"]),
    widths,
    st.sampled_from(VARIANTS),
    st.integers(0, 9).map(lambda margin: 2 * margin + 1),
)
specs = st.one_of(coarse_specs, fine_specs, st.builds(TwoStageSpec, coarse_specs, fine_specs))
# What the first version wrote for every network.
FIRST = {
    "layers": 18,
    "modality": "gd",
    "width": 8,
    "variant": "released",
    "window": 5,
    "base": "none",
    "keep_measured": False,
}


@given(specs)
def test_a_record_gives_back_its_spec(spec):
    text = json.dumps(spec_to_json(spec))
    assert spec_from_json(json.loads(text)) == spec


@given(specs)
def test_a_record_has_every_setting_and_no_other(spec):
    record = spec_to_json(spec)
    stages = [record["coarse"], record["fine"]] if "coarse" in record else [record]
    for stage in stages:
        own = {
            SPARSE_TO_COARSE: {"base", "keep_measured"},
            COARSE_TO_FINE: {"variant", "window"},
        }
        shared = {"network", "layers", "modality", "width", "patch", "min_depth", "max_depth"}
        assert set(stage) == shared | own[stage["network"]]


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        (SPARSE_TO_COARSE, SparseToCoarseSpec(18, "gd", 8)),
        (COARSE_TO_FINE, CoarseToFineSpec(18, "gd", 8)),
    ],
)
def test_records_of_the_first_version_load(network, expected):
    record = {"network": network} | FIRST
    assert spec_from_json(record) == expected
    assert record == {"network": network} | FIRST


def test_two_stage_records_of_the_first_version_load():
    stages = {"coarse": FIRST | {"network": SPARSE_TO_COARSE}}
    stages["fine"] = FIRST | {"network": COARSE_TO_FINE, "variant": "paper", "window": 3}
    expected = TwoStageSpec(
        SparseToCoarseSpec(18, "gd", 8), CoarseToFineSpec(18, "gd", 8, "paper", 3)
    )
    assert spec_from_json({"network": "two_stage"} | stages) == expected


@pytest.mark.parametrize(
    ("network", "name", "value"),
    [
        (SPARSE_TO_COARSE, "variant", "paper"),
        (SPARSE_TO_COARSE, "window", 3),
        (COARSE_TO_FINE, "base", "fill"),
        (COARSE_TO_FINE, "keep_measured", True),
        (COARSE_TO_FINE, "depth", 1),
    ],
)
def test_unknown_settings_are_refused(network, name, value):
    with pytest.raises(ValueError, match=f"unknown setting '{name}'"):
        spec_from_json({"network": network} | FIRST | {name: value})


NESTED = {"network": "two_stage", "fine": FIRST | {"network": COARSE_TO_FINE}}


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ([1], "the model is not described by an object"),
        (FIRST, "the model is not described by an object with the entry 'network'"),
        (NESTED, "the coarse stage is not described by an object"),
        (NESTED | {"coarse": NESTED}, "network must be one of sparse_to_coarse, coarse_to_fine, g"),
        ({"network": SPARSE_TO_COARSE, "width": "x" * 10_000}, "width must be an integer, .{,70}$"),
    ],
)
def test_records_of_another_structure_are_refused(record, message):
    with pytest.raises(ValueError, match=message):
        spec_from_json(record)


def test_differing_settings_are_named():
    coarse, fine = SparseToCoarseSpec(18, width=8), CoarseToFineSpec(18, width=8)
    assert differing_settings(coarse, coarse) == {}
    wide = SparseToCoarseSpec(34, width=64)
    assert differing_settings(coarse, wide) == {"layers": (18, 34), "width": (8, 64)}
    other = TwoStageSpec(coarse, CoarseToFineSpec(18, width=8, variant="paper"))
    expected = {"fine.variant": ("released", "paper")}
    assert differing_settings(TwoStageSpec(coarse, fine), other) == expected
    kinds = {"network": (SPARSE_TO_COARSE, COARSE_TO_FINE)}
    assert differing_settings(coarse, CoarseToFineSpec(34)) == kinds


def test_an_unknown_network_is_refused():
    names = "sparse_to_coarse, coarse_to_fine, two_stage"
    with pytest.raises(ValueError, match=f"network must be one of {names}, got 'fcfr'"):
        spec_from_json({"network": "fcfr"} | FIRST)


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        (CoarseToFineSpec, {"layers": 101}, "layers must be one of 10, 18, 34, 50, got 101"),
        (CoarseToFineSpec, {"layers": 18.0}, r"layers must be one of 10, 18, 34, 50, got 18\.0"),
        (CoarseToFineSpec, {"modality": "g"}, "modality must be one of rgbd, gd, d, got 'g'"),
        (CoarseToFineSpec, {"width": 6}, "width must be a positive multiple of 4, got 6"),
        (CoarseToFineSpec, {"width": 0}, "width must be a positive multiple of 4, got 0"),
        (CoarseToFineSpec, {"width": "8"}, "width must be an integer, got '8'"),
        (CoarseToFineSpec, {"width": 10**4000}, r"width must be at most 1024, got 10{39}$"),
        (CoarseToFineSpec, {"window": 10**9 + 1}, "window must be at most 1023, got 1000000001"),
        (CoarseToFineSpec, {"variant": "mine"}, "variant must be one of released, paper, got 'm"),
        (CoarseToFineSpec, {"window": 2}, "window must be odd and positive, got 2"),
        (SparseToCoarseSpec, {"base": "median"}, "base must be one of none, fill, got 'median'"),
        (SparseToCoarseSpec, {"keep_measured": "yes"}, "one of False, True, got 'yes'"),
        (SparseToCoarseSpec, {"keep_measured": 1}, "one of False, True, got 1"),
        (SparseToCoarseSpec, {"modality": "rgb", "base": "fill"}, "need a mod.*, got 'rgb'"),
        (SparseToCoarseSpec, {"modality": "g", "keep_measured": True}, "need a mod.*, got 'g'"),
        (SparseToCoarseSpec, {"min_depth": 0.01}, r"within 0\.1 to 1000 m, .* got 0\.01 and 100"),
        (CoarseToFineSpec, {"max_depth": 1e4}, r"within 0\.1 to 1000 m, .* got 0\.9 and 10000"),
        (CoarseToFineSpec, {"min_depth": 10.0, "max_depth": 9.0}, "below the second, got 10 and 9"),
        (CoarseToFineSpec, {"max_depth": math.nan}, r"got 0\.9 and nan"),
        (CoarseToFineSpec, {"max_depth": "85"}, "max_depth must be a number, got '85'"),
    ],
)
def test_invalid_settings_are_refused(kind, settings, message):
    with pytest.raises(ValueError, match=message):
        kind(**settings)


def test_stages_in_the_wrong_order_are_refused():
    message = "sparse_to_coarse then coarse_to_fine, got coarse_to_fine then sparse_to_coarse"
    with pytest.raises(ValueError, match=message):
        TwoStageSpec(CoarseToFineSpec(), SparseToCoarseSpec())
