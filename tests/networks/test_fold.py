"""Folded variables: the same depth without normalisation and shuffles."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from fcfrnet_jax.networks import models
from fcfrnet_jax.networks.cpu.conv import CpuConv, compiler_options
from fcfrnet_jax.networks.fill import classical_fill
from fcfrnet_jax.networks.fold import fold, prepare
from fcfrnet_jax.networks.specs import CoarseToFineSpec, SparseToCoarseSpec, TwoStageSpec
from tests import golden_data
from tests.random_weights import random_variables

COARSE = SparseToCoarseSpec(18, width=8)
SPECS = (
    COARSE,
    SparseToCoarseSpec(50, "gd", width=4, base="fill"),
    CoarseToFineSpec(18, width=8),
    CoarseToFineSpec(50, "gd", width=4),
    CoarseToFineSpec(18, width=4, variant="paper"),
    TwoStageSpec(COARSE, CoarseToFineSpec(18, width=4)),
)


def inputs():
    random = np.random.default_rng(1)
    image = random.integers(0, 256, (2, 32, 48, 3), dtype=np.uint8)
    return image, random.uniform(1, 80, (2, 32, 48, 1)).astype(np.float32)


def shapes(tree):
    return jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), tree)


@pytest.mark.parametrize("spec", SPECS)
def test_same_depth_in_float64(spec):
    """In float64 nothing but the formulas can make a difference."""
    with jax.enable_x64(True):
        variables = jax.tree.map(np.float64, random_variables(spec))
        network = models.build(spec, dtype=np.float64)
        folded = models.build(spec, dtype=np.float64, folded=True)
        expected = jax.jit(network.apply)(variables, *inputs())
        found = jax.jit(folded.apply)(fold(spec, variables), *inputs())
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-4), found, expected)


@pytest.mark.parametrize("spec", SPECS)
def test_variables_are_those_of_the_folded_network(spec):
    folded = models.build(spec, folded=True)
    wanted = jax.eval_shape(folded.init, jax.random.key(0), *inputs())
    assert shapes(fold(spec, random_variables(spec))) == shapes(wanted)


def test_variables_are_left_as_they_are():
    variables = random_variables(COARSE)
    fold(COARSE, variables)
    jax.tree.map(np.testing.assert_array_equal, variables, random_variables(COARSE))


@pytest.mark.parametrize("name", golden_data.MODELS)
def test_golden_depth(name, monkeypatch):
    """In strips, as pictures of full size are, and by the products that go with them."""
    monkeypatch.setattr("fcfrnet_jax.networks.cpu.winograd.STRIP_BYTES", 2**20)
    golden = golden_data.load(name)
    spec, variables = golden_data.model(name, int(golden["seed"]))
    image = golden["rgb" if spec.modality.startswith("rgb") else "gray"]
    network, prepared = prepare(spec, variables)
    apply = jax.jit(network.apply, compiler_options=compiler_options(network.dtype))
    depth = apply(prepared, image, golden["depth"])
    difference = np.maximum(depth, 0.9) - golden["pred_eval"]
    assert 1e3 * np.sqrt(np.mean(np.square(difference, dtype=np.float64))) < 0.05
    assert 1e3 * np.abs(difference).max() < 0.5


@pytest.mark.slow
def test_a_real_frame_of_full_size(kitti_real):
    """Against the network as it is trained, of the library's convolutions."""
    folder = kitti_real / "depth_selection" / "val_selection_cropped"
    frame = "2011_09_30_drive_0016_sync_{}_0000000030_image_02.png"
    image = np.asarray(Image.open(folder / "image" / frame.format("image")))[None]
    sparse = Image.open(folder / "velodyne_raw" / frame.format("velodyne_raw"))
    coarse = classical_fill(np.asarray(sparse, np.float32)[None, ..., None] / 256)
    spec, variables = golden_data.model("fcfrnet18_rgbd", 7)
    expected = jax.jit(models.build(spec).apply)(variables, image, coarse)
    network, prepared = prepare(spec, variables)
    apply = jax.jit(network.apply, compiler_options=compiler_options(network.dtype))
    difference = np.float64(apply(prepared, image, coarse)) - expected
    assert expected.shape == (1, 352, 1216, 1)
    assert 1e3 * np.sqrt(np.mean(np.square(difference))) < 0.05
    assert 1e3 * np.abs(difference).max() < 0.5


def test_prepared_networks_equal_the_folded_one(monkeypatch):
    narrow = partial(CpuConv, min_channels=4)
    monkeypatch.setattr("fcfrnet_jax.networks.fold.CpuConv", narrow)
    spec = SPECS[-1]
    variables = random_variables(spec)
    network, prepared = prepare(spec, variables)
    assert shapes(prepared) == shapes(models.shapes_of(network))
    assert sum(leaf.ndim == 3 for leaf in jax.tree.leaves(prepared)) > 10
    expected = jax.jit(models.build(spec, folded=True).apply)(fold(spec, variables), *inputs())
    found = jax.jit(network.apply)(prepared, *inputs())
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=0.05), found, expected
    )


def test_on_a_cpu_wide_layers_are_winograd_s():
    spec = CoarseToFineSpec(18, width=32)
    shapes = models.variable_shapes(spec)
    ones = jax.tree.map(lambda leaf: np.ones(leaf.shape, leaf.dtype), shapes)
    _, prepared = prepare(spec, ones)
    assert prepared["params"]["conv4"]["block1"]["conv1"]["kernel"].shape == (36, 128, 128)
    assert prepared["params"]["conv2"]["block1"]["conv1"]["kernel"].shape == (3, 3, 32, 32)


def test_prepared_variables_are_rounded_as_the_network_would_in_every_call():
    # Without layers of Winograd's, whose kernels `fold` alone does not transform.
    spec = TwoStageSpec(SparseToCoarseSpec(18, width=4), SPECS[-1].fine)
    network, prepared = prepare(spec, random_variables(spec), jnp.bfloat16)
    kinds = {
        (path[-2].key == "convtf", str(leaf.dtype))
        for path, leaf in jax.tree_util.tree_leaves_with_path(prepared)
    }
    assert kinds == {(True, "float32"), (False, "bfloat16")}
    exact = fold(spec, random_variables(spec))
    jax.tree.map(
        np.testing.assert_array_equal,
        jax.jit(network.apply)(prepared, *inputs()),
        jax.jit(network.apply)(exact, *inputs()),
    )
