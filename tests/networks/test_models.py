"""The networks' building blocks, variants and shapes."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fcfrnet_jax.networks import layers, models, specs
from fcfrnet_jax.networks.cpu.conv import CpuConv
from fcfrnet_jax.networks.fill import classical_fill, keep_measured
from fcfrnet_jax.networks.inputs import luma
from fcfrnet_jax.networks.network import RESNETS
from fcfrnet_jax.networks.specs import (
    COARSE_TO_FINE,
    SPARSE_TO_COARSE,
    CoarseToFineSpec,
    ModelSpec,
    SparseToCoarseSpec,
    TwoStageSpec,
)
from tests import golden_data
from tests.random_weights import random_variables

SIZE = (32, 48)


def inputs(batch=2, channels=3, size=SIZE):
    random = np.random.default_rng(0)
    image = random.integers(0, 256, (batch, *size, channels), dtype=np.uint8)
    depth = random.uniform(1, 80, (batch, *size, 1)).astype(np.float32)
    return image, depth


def parameters(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def spec_of(name):
    kind, modality = name.split("_")
    network = SPARSE_TO_COARSE if kind.startswith("std") else COARSE_TO_FINE
    return ModelSpec(network, int(kind[-2:]), modality)


@pytest.mark.parametrize("name", golden_data.STATE_SPEC)
def test_parameter_count(name):
    shapes = golden_data.STATE_SPEC[name].values()
    counted = parameters(models.variable_shapes(spec_of(name)))
    assert counted == sum(int(np.prod(shape)) for shape in shapes)


@pytest.mark.parametrize("network", [SPARSE_TO_COARSE, COARSE_TO_FINE])
@pytest.mark.parametrize("layers", [18, 34, 50])
@pytest.mark.parametrize("variant", specs.VARIANTS)
def test_every_network_returns_a_depth_map(network, layers, variant):
    spec = ModelSpec(network, layers, width=4, variant=variant)
    image, depth = (jax.ShapeDtypeStruct(array.shape, array.dtype) for array in inputs())
    variables = models.variable_shapes(spec)
    for train in (False, True):
        output = jax.eval_shape(
            lambda v, i, d, t=train: models.build(spec).apply(v, i, d, t, mutable="batch_stats")[0],
            *(variables, image, depth),
        )
        assert (output.shape, output.dtype) == ((2, *SIZE, 1), jnp.float32)


@pytest.mark.parametrize(
    # Totals that torchvision documents, less the stem and the classifier.
    ("layers", "count"),
    [(18, 11_689_512 - 513_000), (34, 21_797_672 - 513_000), (50, 25_557_032 - 2_049_000)],
)
def test_encoder_is_the_resnet(layers, count):
    params = models.variable_shapes(SparseToCoarseSpec(layers))["params"]
    stem = 7 * 7 * 3 * 64 + 2 * 64
    assert parameters({f"conv{i}": params[f"conv{i}"] for i in range(2, 6)}) == count - stem


def test_paper_variant_has_skips_of_one_map():
    released, paper = (
        parameters(models.variable_shapes(CoarseToFineSpec(18, variant=variant))["params"])
        for variant in ("released", "paper")
    )
    halves = ((512, 128), (256, 64), (128, 64), (64, 64))
    assert released - paper == sum(9 * skip * out for skip, out in halves) + 64


def test_every_resnet_has_blocks():
    assert tuple(RESNETS) == specs.RESNET_LAYERS


def test_width_scales_all_channels():
    narrow, wide = (
        models.variable_shapes(CoarseToFineSpec(18, width=w))["params"] for w in (16, 64)
    )
    for layer in ("conv5", "conv5_2", "convt3"):
        kernels = [leaf.size for leaf in jax.tree.leaves(narrow[layer]) if len(leaf.shape) == 4]
        assert 16 * sum(kernels) == sum(
            leaf.size for leaf in jax.tree.leaves(wide[layer]) if len(leaf.shape) == 4
        )


@given(st.integers(1, 6), st.integers(1, 3))
def test_channel_shuffle_interleaves(half, rows):
    x = np.arange(rows * 2 * half).reshape(rows, 2 * half)
    expected = np.stack([x[:, :half], x[:, half:]], axis=-1).reshape(rows, 2 * half)
    np.testing.assert_array_equal(layers.channel_shuffle(jnp.asarray(x)), expected)


def test_channel_shuffle_needs_an_even_number():
    with pytest.raises(ValueError, match=r"even number of channels, got shape \(2, 3\)"):
        layers.channel_shuffle(jnp.zeros((2, 3)))


def test_exchanged_halves_stay_where_they_are():
    first, second = jnp.arange(6), 10 + jnp.arange(6)
    found = layers.exchange_halves(first, second)
    np.testing.assert_array_equal(found[0], [0, 1, 2, 13, 14, 15])
    np.testing.assert_array_equal(found[1], [10, 11, 12, 3, 4, 5])


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 7), st.integers(1, 9), st.sampled_from([1, 3, 5]), st.integers(0, 99))
def test_energy_fusion_against_numpy(height, width, window, seed):
    a, b = np.random.default_rng(seed).standard_normal((2, 2, height, width, 3)).astype(np.float32)
    keep = box_energy(a, window) >= box_energy(b, window)
    fused = layers.energy_fusion(jnp.asarray(a), jnp.asarray(b), window)
    np.testing.assert_array_equal(fused, 2 * np.where(keep, a, b))


def box_energy(x, window):
    margin = window // 2
    padded = np.pad(x.astype(np.float64) ** 2, ((0, 0), (margin,) * 2, (margin,) * 2, (0, 0)))
    height, width = x.shape[1:3]
    return sum(
        padded[:, i : i + height, j : j + width] for i in range(window) for j in range(window)
    )


def test_energy_fusion_of_a_tie_keeps_the_first():
    a = jnp.ones((1, 4, 4, 2))
    np.testing.assert_array_equal(layers.energy_fusion(a, -a), 2 * a)


def test_energy_fusion_compares_bfloat16_in_float32():
    a = jnp.full((1, 5, 5, 1), 1.0, jnp.bfloat16)
    # One entry differs by bfloat16's smallest step: sums of 25 in bfloat16 would tie.
    b = a.at[0, 2, 2, 0].set(1.0078125)
    assert layers.energy_fusion(a, b)[0, 0, 0, 0] == 2 * b[0, 0, 0, 0]
    np.testing.assert_array_equal(layers.energy_fusion(a, b), 2 * b)


def test_energy_fusion_refuses_an_even_window():
    with pytest.raises(ValueError, match="odd and positive, got 4"):
        layers.energy_fusion(jnp.zeros((1, 4, 4, 1)), jnp.zeros((1, 4, 4, 1)), 4)


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
    spec = CoarseToFineSpec(18, width=4, variant=variant)
    network, variables = models.build(spec), random_variables(spec)

    def features(channels):
        changed = jax.tree.map(np.copy, variables)
        for layer in ("conv3", "conv3_2"):
            changed["params"][layer]["block1"]["norm2"]["bias"][channels] += 1
        _, state = network.apply(changed, *inputs(), capture_intermediates=True, mutable=True)
        return {name: state["intermediates"][name]["__call__"][0] for name in reads}

    plain, first, second = (features(slice(*ends)) for ends in ((0, 0), (0, 4), (4, 8)))
    for name, expected in reads.items():
        changed = tuple(not np.array_equal(plain[name], other[name]) for other in (first, second))
        assert changed == expected


def test_two_stage_is_both_networks_in_turn():
    coarse, fine = SparseToCoarseSpec(18, width=4), CoarseToFineSpec(18, width=4)
    spec = TwoStageSpec(coarse, fine)
    variables = random_variables(spec)
    image, depth = inputs()
    stage = {
        name: {kind: tree[name] for kind, tree in variables.items()} for name in ("coarse", "fine")
    }
    first = jax.jit(models.build(coarse).apply)(stage["coarse"], image, depth)
    clipped = np.clip(first, 0.9, 100.0)
    second = jax.jit(models.build(fine).apply)(stage["fine"], image, clipped)
    outputs = jax.jit(models.build(spec).apply)(variables, image, depth)
    np.testing.assert_allclose(outputs[0], first, rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(outputs[1], second, rtol=1e-5, atol=1e-4)


def test_bfloat16_follows_float32():
    spec = CoarseToFineSpec(18, width=8)
    variables = random_variables(spec)
    exact, rounded = (
        jax.jit(models.build(spec, dtype=dtype).apply)(variables, *inputs())
        for dtype in (jnp.float32, jnp.bfloat16)
    )
    assert rounded.dtype == jnp.float32
    assert 0 < np.abs(rounded - exact).mean() < 0.02 * np.abs(exact).mean()


def test_network_on_the_fill_adds_to_the_fill():
    network = models.build(SparseToCoarseSpec(18, width=4, base="fill"))
    image, depth = inputs()
    variables = network.init(jax.random.key(0), image, depth)
    assert variables["params"]["conv1_d"]["conv"]["kernel"].shape[2] == 2
    last = variables["params"]["convtf"]
    last["kernel"], last["bias"] = jnp.zeros_like(last["kernel"]), jnp.full((1,), 0.02)
    expected = np.asarray(keep_measured(depth, classical_fill(depth))) + 2.0
    np.testing.assert_allclose(jax.jit(network.apply)(variables, image, depth), expected, rtol=1e-6)


def test_measured_depths_take_the_place_of_both_predictions():
    plain = TwoStageSpec(SparseToCoarseSpec(18, width=4), CoarseToFineSpec(18, width=4))
    variables = random_variables(plain)
    image, depth = inputs()
    depth[:, ::3] = 0
    separate = [
        (
            models.build(getattr(plain, stage)),
            {kind: tree[stage] for kind, tree in variables.items()},
        )
        for stage in ("coarse", "fine")
    ]

    def put_back(dense):
        measured = (depth > 0.1) & (depth < 1.1 * dense)
        assert 0.1 < measured.mean() < 0.9 * (depth > 0).mean()
        return np.where(measured, depth, dense)

    (coarse_network, coarse_variables), (fine_network, fine_variables) = separate
    coarse = put_back(jax.jit(coarse_network.apply)(coarse_variables, image, depth))
    fine = jax.jit(fine_network.apply)(fine_variables, image, np.clip(coarse, 0.9, 100.0))
    keeping = dataclasses.replace(plain.coarse, keep_measured=True)
    ours = jax.jit(models.build(dataclasses.replace(plain, coarse=keeping)).apply)(
        variables, image, depth
    )
    np.testing.assert_allclose(ours[0], coarse, rtol=1e-5)
    np.testing.assert_allclose(ours[1], put_back(fine), rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"network": COARSE_TO_FINE, "keep_measured": True}, "only sparse_to_coarse with a depth"),
        ({"modality": "rgb", "keep_measured": True}, "only sparse_to_coarse with a depth"),
        ({"keep_measured": "yes"}, "keep_measured must be True or False, got 'yes'"),
    ],
)
def test_specs_that_cannot_keep_measured_depths(settings, message):
    with pytest.raises(ValueError, match=message):
        ModelSpec(**{"network": SPARSE_TO_COARSE} | settings)


def test_intermediate_features_can_be_read():
    spec = CoarseToFineSpec(18, width=4)
    network = models.build(spec)
    _, state = network.apply(
        random_variables(spec), *inputs(), capture_intermediates=True, mutable=True
    )
    features = state["intermediates"]["conv4_2"]["__call__"][0]
    assert features.shape == (2, SIZE[0] // 4, SIZE[1] // 4, 16)


def test_luma_equals_the_definition():
    image = inputs()[0]
    expected = np.floor(image.astype(np.float64) @ [19595, 38470, 7471] / 65536 + 0.5)
    np.testing.assert_array_equal(luma(image)[..., 0], expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("fcfr",), "network must be one of sparse_to_coarse, coarse_to_fine, got 'fcfr'"),
        ((COARSE_TO_FINE, 101), "layers must be one of 18, 34, 50, got 101"),
        ((COARSE_TO_FINE, 34, "d"), "modality must be one of rgbd, gd, got 'd'"),
        ((COARSE_TO_FINE, 34, "gd", 6), "width must be a positive multiple of 4, got 6"),
        ((COARSE_TO_FINE, 34, "gd", 64, "mine"), "variant must be one of released, paper"),
        ((COARSE_TO_FINE, 34, "gd", 64, "paper", 2), "window must be odd and positive, got 2"),
        ((COARSE_TO_FINE, 34, "gd", 64, "paper", 5, "fill"), "only sparse_to_coarse with a depth"),
        ((SPARSE_TO_COARSE, 34, "rgb", 64, "released", 5, "fill"), "of modality rgb"),
    ],
)
def test_impossible_models_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        ModelSpec(*arguments)


def test_wrong_inputs_are_refused():
    network = models.build(CoarseToFineSpec(18, width=4))
    image, depth = inputs()
    with pytest.raises(ValueError, match=r"'rgbd' needs a colour image, got \(2, 32, 48, 1"):
        network.init(jax.random.key(0), image[..., :1], depth)
    with pytest.raises(ValueError, match=r"expected a depth map \[B, H, W, 1\], got \(2, 32, 48\)"):
        network.init(jax.random.key(0), image, depth[..., 0])


@pytest.mark.parametrize("backend", ["cpu", "gpu", "tpu"])
def test_what_trains_fastest_has_the_same_variables(monkeypatch, backend):
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    spec = CoarseToFineSpec(18, width=8)
    network = models.build_to_train(spec, remat=True)
    assert network.remat
    assert network.packed == (backend == "tpu")
    assert (network.conv is CpuConv) == (backend == "cpu")
    assert models.shapes_of(network) == models.variable_shapes(spec)
