"""The two networks and their composition."""

import dataclasses
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fcfrnet_jax.networks import models
from fcfrnet_jax.networks.fill import classical_fill, keep_measured
from fcfrnet_jax.networks.models import TwoStage, build
from fcfrnet_jax.networks.specs import CoarseToFineSpec, SparseToCoarseSpec, TwoStageSpec
from tests import numpy_branches, tiny_networks
from tests.random_weights import random_variables

pytestmark = pytest.mark.usefixtures("short_resnets")
COARSE, FINE = SparseToCoarseSpec(18, width=4), CoarseToFineSpec(18, width=4)
LEVELS = range(2, 7)
RANDOM = np.random.default_rng(0)
IMAGE = RANDOM.integers(0, 256, (2, 32, 48, 3), dtype=np.uint8)
DEPTH = RANDOM.uniform(1, 80, (2, 32, 48, 1)).astype(np.float32)
SPARSE = np.where(np.arange(32)[:, None, None] % 3 == 0, 0, DEPTH)


@cache
def compiled(spec, dtype=jnp.float32):
    return jax.jit(build(spec, dtype=dtype).apply)


@cache
def capturing(variant):
    network = build(dataclasses.replace(FINE, variant=variant))

    @jax.jit
    def capture(variables):
        _, state = network.apply(
            variables, IMAGE, DEPTH, capture_intermediates=True, mutable="intermediates"
        )
        outputs = state["intermediates"]
        return {name: calls["__call__"][0] for name, calls in outputs.items() if name[0] != "_"}

    return capture


def captured(variant):
    return capturing(variant)(random_variables(dataclasses.replace(FINE, variant=variant)))


@pytest.mark.parametrize("variant", ["released", "paper"])
def test_captured_branches_are_the_shuffled_outputs_of_the_encoders(variant):
    features = captured(variant)
    for level in LEVELS:
        branches = features[f"conv{level}"], features[f"conv{level}_2"]
        # In the paper, depth comes first.
        expected = numpy_branches.shuffled(*branches[:: -1 if variant == "paper" else 1])
        side = 2 ** (level - 2)
        channels = 4 * min(side, 8)
        assert expected[0].shape == (2, 32 // side, 48 // side, channels)
        np.testing.assert_array_equal(features[f"shuffle{level}"], expected)


def test_captured_fusion_of_the_released_wiring():
    features = captured("released")
    expected = numpy_branches.fused(*map(np.asarray, features["shuffle6"]), window=5)
    np.testing.assert_array_equal(features["fusion6"], expected)
    assert [name for name in features if name.startswith("fusion")] == ["fusion6"]


@pytest.mark.parametrize("level", range(1, 7))
def test_captured_fusions_of_the_paper(level):
    features = captured("paper")
    if level == 1:
        colour, depth = features["conv1_img"], features["conv1_d_2"]
    else:
        depth, colour = features[f"shuffle{level}"]
    expected = numpy_branches.fused(np.asarray(colour), np.asarray(depth), window=5)
    np.testing.assert_array_equal(features[f"fusion{level}"], expected)


@pytest.mark.parametrize(
    ("variant", "reads"),
    [
        # Both branches go on from the first half of the interleaved channels.
        ("released", {"conv4": (True, False), "conv4_2": (True, False)}),
        # The first half returns to the depth branch, the second to the colour branch.
        ("paper", {"conv4": (False, True), "conv4_2": (True, False)}),
    ],
)
def test_which_channels_a_branch_reads(variant, reads):
    variables = random_variables(dataclasses.replace(FINE, variant=variant))

    def features(channels):
        changed = jax.tree.map(np.copy, variables)
        for layer in ("conv3", "conv3_2"):
            changed["params"][layer]["block0"]["norm2"]["bias"][channels] += 1
        return capturing(variant)(changed)

    plain, first, second = (features(slice(*ends)) for ends in ((0, 0), (0, 4), (4, 8)))
    for name, expected in reads.items():
        changed = tuple(not np.array_equal(plain[name], other[name]) for other in (first, second))
        assert changed == expected


@pytest.mark.parametrize("keeps", [False, True])
def test_two_stage_is_both_networks_in_turn(keeps):
    spec = TwoStageSpec(dataclasses.replace(COARSE, keep_measured=keeps), FINE)
    variables = random_variables(spec)
    # Coarse depths of some 50 m, so that measured depths lie in front of them and behind them.
    head = variables["params"]["coarse"]["convtf"]
    head["kernel"], head["bias"] = 0.02 * head["kernel"], np.full((1,), np.float32(0.2))
    coarse, fine = (
        {kind: tree[stage] for kind, tree in variables.items()} for stage in ("coarse", "fine")
    )

    def put_back(dense):
        measured = (SPARSE > 0.1) & (1.1 * dense > SPARSE)
        assert 0.1 < measured.mean() < 0.9 * (SPARSE > 0).mean()
        return np.where(measured, SPARSE, dense) if keeps else dense

    first = put_back(compiled(COARSE)(coarse, IMAGE, SPARSE))
    second = put_back(compiled(FINE)(fine, IMAGE, np.clip(first, 0.9, 100.0)))
    outputs = compiled(spec)(variables, IMAGE, SPARSE)
    np.testing.assert_allclose(outputs[0], first, rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(outputs[1], second, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("frozen", [False, True])
def test_a_frozen_coarse_network_is_in_eval_mode_and_gets_no_gradient(frozen):
    network = TwoStage(tiny_networks.COARSE, tiny_networks.FINE, freeze_coarse=frozen)
    variables = tiny_networks.variables_of(network)

    def loss(params):
        known = variables | {"params": params}
        (_, fine), new = network.apply(known, IMAGE, DEPTH, True, mutable="batch_stats")
        return jnp.mean(fine), new["batch_stats"]

    gradients, statistics = jax.jit(jax.grad(loss, has_aux=True))(variables["params"])
    for stage, still in (("coarse", frozen), ("fine", False)):
        before, after = variables["batch_stats"][stage], statistics[stage]
        changed = jax.tree.map(lambda a, b: bool((a != b).any()), before, after)
        assert set(jax.tree.leaves(changed)) == {not still}
        moved = any((leaf != 0).any() for leaf in jax.tree.leaves(gradients[stage]))
        assert moved != still


def test_bfloat16_follows_float32():
    variables = random_variables(FINE)
    exact, rounded = (
        compiled(FINE, dtype)(variables, IMAGE, DEPTH) for dtype in (jnp.float32, jnp.bfloat16)
    )
    assert rounded.dtype == jnp.float32
    assert 0 < np.abs(rounded - exact).mean() < 0.02 * np.abs(exact).mean()


def test_network_on_the_fill_adds_to_the_fill():
    spec = dataclasses.replace(COARSE, base="fill")
    variables = random_variables(spec)
    assert variables["params"]["conv1_d"]["conv"]["kernel"].shape[2] == 2
    last = variables["params"]["convtf"]
    last["kernel"], last["bias"] = np.zeros_like(last["kernel"]), np.full((1,), np.float32(0.02))
    expected = np.asarray(keep_measured(DEPTH, classical_fill(DEPTH))) + 2.0
    np.testing.assert_allclose(compiled(spec)(variables, IMAGE, DEPTH), expected, rtol=1e-6)


def test_a_network_of_another_range_predicts_scaled_depth():
    indoors = dataclasses.replace(FINE, min_depth=0.1, max_depth=8.5)
    variables = random_variables(FINE)
    expected = compiled(FINE)(variables, IMAGE, DEPTH) / 10
    found = compiled(indoors)(variables, IMAGE, DEPTH / 10)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_depth_is_clipped_to_the_range_of_the_evaluation():
    found = models.clip_depth(jnp.array([-1.0, 0.5, 3.0, 99.0]), (0.9, 85.0))
    np.testing.assert_allclose(found, [0.9, 0.9, 3.0, 85.0])


@pytest.mark.parametrize("settings", [{"packed": True}, {"width": 8}, {"norm": None}])
def test_unknown_network_settings_are_refused(settings):
    with pytest.raises(TypeError, match=f"unexpected keyword argument '{next(iter(settings))}'"):
        build(FINE, **settings)


def test_inputs_are_checked():
    network, variables = build(FINE), models.variable_shapes(FINE)
    with pytest.raises(ValueError, match=r"expected an image .*, got \(2, 32, 48, 2\)"):
        jax.eval_shape(network.apply, variables, IMAGE[..., :2], DEPTH)
    with pytest.raises(ValueError, match=r"expected a depth map \[B, H, W, 1\], got \(2, 32, 48\)"):
        jax.eval_shape(network.apply, variables, IMAGE, DEPTH[..., 0])
