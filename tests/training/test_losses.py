"""The losses against the reference, NumPy in float64, and their properties."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
from hypothesis import given, settings
from hypothesis import strategies as st

from fcfrnet_jax.training import losses
from fcfrnet_jax.training.losses import NearView
from tests import golden_data
from tests.training.near_views import Arrays, random_data, view


@pytest.fixture(scope="module")
def golden() -> Arrays:
    data = golden_data.load("losses")
    return {**data, "intrinsics": data["intrinsics"].astype(np.float32)}


def total(depth: jax.Array, data: Arrays) -> jax.Array:
    return weighted(parts_of("dense+photo", depth, data))


def parts_of(mode: str, depth: jax.Array, data: Arrays, **changes: Any) -> Arrays:
    inputs = {"image": data["rgb"], "ground_truth": data["gt"], "near": view(data)}
    return losses.loss_parts(mode, depth, **(inputs | changes))


def weighted(parts: Arrays) -> jax.Array:
    """The total with the reference's weights."""
    return parts["depth"] + 0.1 * parts["photometric"] + 0.1 * parts["smoothness"]


def photometric(depth: jax.Array, data: Arrays) -> jax.Array:
    return losses.photometric(depth, data["rgb"], view(data), data["gt"])


def scale_sums(data: Arrays) -> list[losses.MaskedSum]:
    inputs = data["depth"], data["rgb"], view(data), data["gt"]
    return compiled(losses.photometric_sums)(*inputs)


def scale_means(data: Arrays) -> list[float]:
    return [float(scale.mean()) for scale in scale_sums(data)]


def value_and_gradient(loss: Callable[..., jax.Array], data: Arrays) -> tuple[Any, Any]:
    value, gradient = compiled(loss, gradient=True)(data["depth"], data)
    return value, np.asarray(gradient)


@functools.cache
def compiled(function: Callable[..., Any], gradient: bool = False) -> Callable[..., Any]:
    return jax.jit(jax.value_and_grad(function) if gradient else function)


# --- The reference's numbers.


def test_depth_and_smoothness_match_the_reference(golden: Arrays) -> None:
    depth, gt = golden["depth"], golden["gt"]
    assert losses.masked_mse(depth, gt) == pytest.approx(golden["masked_mse"], rel=1e-6)
    assert losses.masked_l1(depth, gt) == pytest.approx(golden["masked_l1"], rel=1e-6)
    both = golden["masked_l1"] + golden["masked_mse"]
    assert losses.masked_l1_mse(depth, gt) == pytest.approx(both, rel=1e-6)
    assert losses.smoothness(depth) == pytest.approx(golden["smoothness"], rel=1e-6)


def test_photometric_matches_the_reference(golden: Arrays) -> None:
    np.testing.assert_allclose(scale_means(golden), golden["photometric_per_scale"], rtol=1e-6)
    assert compiled(photometric)(golden["depth"], golden) == pytest.approx(
        golden["photometric"], rel=1e-6
    )


def test_total_and_gradient_match_the_reference(golden: Arrays) -> None:
    value, gradient = value_and_gradient(total, golden)
    assert value == pytest.approx(golden["total"], rel=1e-6)
    expected = golden["grad_depth"].astype(np.float64)
    np.testing.assert_allclose(gradient, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    error = np.linalg.norm(np.asarray(gradient, np.float64) - expected)
    assert error < 1e-5 * np.linalg.norm(expected)


# --- NumPy in float64.


def numpy_warp(data: Arrays, scale: int) -> np.ndarray:
    """Projects K (R X + t) and interpolates with SciPy."""
    height, width = data["depth"].shape[1:3]
    warped = np.zeros_like(data["rgb_near"])
    for b, (fx, fy, cx, cy) in enumerate(data["intrinsics"] / scale):
        matrix = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
        x, y = np.meshgrid(np.arange(width), np.arange(height))
        pixels = np.stack([x, y, np.ones_like(x)]).reshape(3, -1)
        points = np.linalg.inv(matrix) @ pixels * data["depth"][b].reshape(-1)
        moved = matrix @ (data["rotation"][b] @ points + data["translation"][b][:, None])
        u, v = moved[:2] / moved[2]
        seen = (moved[2] > 0) & (u >= 0) & (u <= width - 1) & (v >= 0) & (v <= height - 1)
        for c in range(3):
            plane = scipy.ndimage.map_coordinates(data["rgb_near"][b, ..., c], [v, u], order=1)
            warped[b, ..., c] = np.where(seen, plane, 0).reshape(height, width)
    return warped


def numpy_photometric(data: Arrays) -> list[float]:
    data = {key: value.astype(np.float64) for key, value in data.items()}
    data["free"] = (data["gt"] < 1e-3).astype(np.float64)
    result = []
    for level in (5, 4, 3, 2, 1):
        step = 2**level
        small = dict(data)
        for key in ("depth", "rgb", "rgb_near", "free"):
            b, h, w, c = data[key].shape
            blocks = data[key].reshape(b, h // step, step, w // step, step, c)
            small[key] = blocks.mean((2, 4))
        warped = numpy_warp(small, step)
        counted = (warped.sum(-1) > 0) & (small["rgb"].sum(-1) > 0) & (small["free"][..., 0] == 1)
        differences = np.abs(small["rgb"] - warped).sum(-1)[counted]
        result.append(differences.sum() / max(1, differences.size))
    return result


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_photometric_matches_numpy(seed: int) -> None:
    data = random_data(seed, 96, 192)
    data["rgb"][:, :64, :128] = 0
    np.testing.assert_allclose(scale_means(data), numpy_photometric(data), rtol=1e-4)


def test_depth_losses_match_numpy() -> None:
    data = random_data()
    valid = data["gt"] > 0
    error = (data["depth"].astype(np.float64) - data["gt"])[valid]
    mse, l1 = losses.masked_mse, losses.masked_l1
    assert mse(data["depth"], data["gt"]) == pytest.approx((error**2).mean(), rel=1e-6)
    assert l1(data["depth"], data["gt"]) == pytest.approx(np.abs(error).mean(), rel=1e-6)


def test_smoothness_matches_numpy() -> None:
    depth = np.random.default_rng(0).uniform(1, 80, (2, 7, 9, 1)).astype(np.float32)
    wide = depth.astype(np.float64)
    across = np.abs(np.diff(wide, 2, axis=2))[:, 1:-1]
    down = np.abs(np.diff(wide, 2, axis=1))[:, :, 1:-1]
    assert losses.smoothness(depth) == pytest.approx((across + down).mean(), rel=1e-6)


def test_smoothness_of_a_plane_is_zero() -> None:
    y, x = np.mgrid[:8, :12].astype(np.float32)
    assert losses.smoothness((2 * x + 4 * y)[None, ..., None]) == 0


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_gradient_matches_finite_differences(seed: int) -> None:
    with jax.enable_x64(True):
        data = {k: jnp.asarray(v, jnp.float64) for k, v in random_data(seed).items()}
        value, gradient = value_and_gradient(total, data)
        assert value.dtype == jnp.float64
        direction = np.random.default_rng(seed).normal(size=gradient.shape)
        step = 1e-7 * direction
        ahead, behind = (
            value_and_gradient(total, data | {"depth": data["depth"] + s})[0] for s in (step, -step)
        )
        assert (ahead - behind) / 2e-7 == pytest.approx(
            float((gradient * direction).sum()), rel=1e-5
        )


# --- Properties.


def test_kinks_have_no_slope() -> None:
    flat = jnp.full((1, 5, 6, 1), 4.0)
    assert not np.any(jax.grad(losses.smoothness)(flat))
    assert not np.any(jax.grad(losses.masked_l1)(flat, flat))


def test_identity_pose_with_the_same_image_is_exactly_zero() -> None:
    data = {**random_data(), "gt": np.zeros((2, 64, 96, 1), np.float32)}
    data.update(rgb_near=data["rgb"], translation=np.zeros((2, 3), np.float32))
    data["rotation"] = np.stack([np.eye(3, dtype=np.float32)] * 2)
    value, gradient = value_and_gradient(photometric, data)
    assert value == 0
    assert not np.any(gradient)
    assert [int(scale.pixels) for scale in scale_sums(data)] == [12, 48, 192, 768, 3072]


def test_one_calibration_serves_the_whole_batch() -> None:
    data = random_data()
    data["intrinsics"] = data["intrinsics"][0]
    repeated = {**data, "intrinsics": np.stack([data["intrinsics"]] * 2)}
    assert scale_means(data) == scale_means(repeated)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([np.nan, np.inf, -5.0, 1e30]))
def test_depth_without_a_target_does_not_count(seed: int, junk: float) -> None:
    rng = np.random.default_rng(seed)
    depth, target = rng.uniform(1, 80, (2, 2, 6, 8, 1)).astype(np.float32)
    missing = rng.uniform(size=target.shape) < rng.uniform()
    target[missing] = 0
    for loss in (losses.masked_mse, losses.masked_l1):
        with_gradient = compiled(loss, gradient=True)
        value, gradient = with_gradient(np.where(missing, np.float32(junk), depth), target)
        assert value == with_gradient(depth, target)[0]
        # jax would compile an index for every number of pixels.
        gradient = np.asarray(gradient)
        assert np.isfinite(gradient).all()
        assert not np.any(gradient[missing])


def without(data: Arrays) -> dict[str, Arrays]:
    """Changes to `data` after which no pixel counts in the photometric loss."""
    depth = data["depth"]
    sunk = np.array([[0, 0, -100], [0, 0, -100]], np.float32)
    return {
        "all supervised": {"gt": np.ones_like(depth)},
        "black image": {"rgb": np.zeros_like(data["rgb"])},
        "black near image": {"rgb_near": np.zeros_like(data["rgb"])},
        "behind the camera": {"translation": sunk},
        "in the camera's plane": {"depth": np.full_like(depth, 100), "translation": sunk},
        "depth zero": {"depth": np.zeros_like(depth)},
        "depth tiny": {"depth": np.full_like(depth, 1e-38)},
        "depth negative": {"depth": -depth},
        "depth infinite": {"depth": np.full_like(depth, np.inf)},
        "depth missing": {"depth": np.full_like(depth, np.nan)},
        "far aside": {"translation": np.array([[1e30, 0, 0], [0, -1e30, 0]], np.float32)},
        "not calibrated": {"intrinsics": np.full((2, 4), np.nan, np.float32)},
        "padding": {"intrinsics": np.zeros((2, 4), np.float32)},
    }


@pytest.mark.parametrize("case", without(random_data()))
def test_nothing_to_compare_is_zero_with_a_zero_gradient(case: str) -> None:
    data = random_data()
    data.update(without(data)[case])
    value, gradient = value_and_gradient(photometric, data)
    assert value == 0
    assert not np.any(gradient)


@pytest.mark.parametrize("junk", [0.0, -3.0, 1e-38, 3e38, np.inf, np.nan])
def test_bad_depth_leaves_the_other_gradients_alone(junk: float) -> None:
    data = random_data()
    data["gt"][:, :32, :32] = 9.0
    damaged = {**data, "depth": data["depth"].copy()}
    damaged["depth"][:, :32, :32] = junk
    expected, gradient = (value_and_gradient(photometric, d)[1] for d in (data, damaged))
    np.testing.assert_array_equal(gradient, expected)
    assert np.any(gradient)


def test_empty_target_is_zero_with_a_zero_gradient() -> None:
    depth = np.full((1, 4, 4, 1), 7.0, np.float32)
    for loss in (losses.masked_mse, losses.masked_l1):
        value, gradient = jax.value_and_grad(loss)(depth, np.zeros_like(depth))
        assert value == 0
        assert not np.any(gradient)


@pytest.mark.slow
def test_shares_of_devices_add_up_to_the_whole_batch() -> None:
    data = random_data()
    # Frame 0 keeps two targets and frame 1 none, so a mean of means would be far off.
    data["gt"][0, 2:] = data["gt"][1] = 0
    expected = value_and_gradient(total, data)

    def step(data: Arrays) -> tuple[jax.Array, jax.Array]:
        def loss(depth: jax.Array) -> jax.Array:
            return weighted(parts_of("dense+photo", depth, data, axis_name="d"))

        value, gradient = jax.value_and_grad(loss)(data["depth"])
        return jax.lax.psum(value, "d"), gradient

    shares = jax.tree.map(lambda leaf: leaf[:, None], data)
    value, gradient = jax.jit(jax.vmap(step, axis_name="d"))(shares)
    np.testing.assert_allclose(value, expected[0], rtol=1e-5)
    scale = np.abs(expected[1]).max()
    np.testing.assert_allclose(gradient[:, 0], expected[1], atol=1e-5 * scale)


def test_every_mode_has_its_parts() -> None:
    data = random_data()
    near, truth = view(data), data["gt"]
    sparse = np.where(np.arange(96)[:, None] % 31, 0, truth + 1).astype(np.float32)

    @jax.jit
    def all_parts(depth: jax.Array) -> dict[str, Arrays]:
        inputs = {"sparse_depth": sparse, "depth_loss": losses.masked_l1}
        return {mode: parts_of(mode, depth, data, **inputs) for mode in losses.MODES}

    @jax.jit
    def losses_of(depth: jax.Array, target: jax.Array) -> tuple[jax.Array, jax.Array]:
        return (
            losses.masked_l1(depth, target),
            losses.photometric(depth, data["rgb"], near, target),
        )

    found = all_parts(data["depth"])
    targets = {"dense": truth, "sparse": sparse, "photo": np.zeros_like(truth)}
    for mode, parts in found.items():
        first, *photo = mode.split("+")
        depth_loss, photometric = losses_of(data["depth"], targets[first])
        expected = {} if first == "photo" else {"depth": depth_loss}
        if photo or first == "photo":
            smoothness = losses.smoothness(data["depth"])
            expected |= {"photometric": photometric, "smoothness": smoothness}
        values = {name: float(value) for name, value in expected.items()}
        assert parts == pytest.approx(values, rel=1e-6), mode


def test_half_precision_is_summed_in_float32() -> None:
    # Four thousand ones: bfloat16 cannot count beyond 256.
    depth = jnp.full((1, 64, 64, 1), 3.0, jnp.bfloat16)
    value = losses.masked_mse(depth, jnp.full_like(depth, 2.0))
    assert value.dtype == jnp.float32
    assert value == 1.0


def test_bytes_are_compared_like_floats() -> None:
    data = random_data()
    whole = {**data, "rgb": data["rgb"].round(), "rgb_near": data["rgb_near"].round()}
    coded = {**whole, **{k: whole[k].astype(np.uint8) for k in ("rgb", "rgb_near")}}
    assert scale_means(coded) == scale_means(whole)


# --- Errors.


def shapes(height: int, width: int) -> tuple[Any, Any, NearView]:
    data = random_data(height=height, width=width)
    return data["depth"], data["rgb"], view(data)


def test_unknown_mode_names_the_modes() -> None:
    with pytest.raises(ValueError, match=r"'photo\+dense'; the modes are dense, sparse, photo,"):
        losses.loss_parts("photo+dense", shapes(64, 96)[0])


@pytest.mark.parametrize(
    ("mode", "missing"), [("dense", "ground_truth"), ("sparse", "sparse_depth"), ("photo", "near")]
)
def test_missing_input_is_named(mode: str, missing: str) -> None:
    depth, image, _ = shapes(64, 96)
    with pytest.raises(ValueError, match=f"'{mode}' needs {missing}"):
        losses.loss_parts(mode, depth, image=image)


def test_size_must_be_a_multiple_of_32() -> None:
    with pytest.raises(ValueError, match="needs a multiple of 32, got 100x96: crop to 96x96"):
        losses.photometric(*shapes(100, 96))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d, i, n: (d[..., 0], i, n), r"expected maps \[B, H, W, 1\] of one shape"),
        (lambda d, i, n: (d, i[:, 1:], n), r"expected two images \[B, H, W, 3\] of the size"),
    ],
)
def test_wrong_shapes_are_refused(change: Callable[..., Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        losses.photometric(*change(*shapes(64, 96)))
