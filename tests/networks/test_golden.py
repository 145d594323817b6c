"""Parity with the released implementation: evaluation, train mode, gradients and one Adam step."""

from functools import cache, partial
from typing import Any, NamedTuple

import flax
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fcfrnet_jax.networks import models, select
from fcfrnet_jax.networks.gpu.parts import GpuParts
from fcfrnet_jax.networks.parts import Parts
from fcfrnet_jax.weights import convert
from tests import golden_data


class Run(NamedTuple):
    """Our network's results on the golden inputs of one model; depths in metres."""

    golden: dict[str, np.ndarray]
    eval_depth: np.ndarray
    train_depth: np.ndarray
    loss: float
    gradients: dict[str, Any]
    before: dict[str, Any]
    after: dict[str, Any]
    eval_depth_after: np.ndarray


# In train mode, two energies that the fusion of this model compares differ by 5.6e-6, which is less
# than the rounding errors of float32. In float64 there is no such tie.
TIE = ("fcfrnet34_gd", "float32")
# With the forms for GPUs, which compute the same.
GPU = "float32 as on GPUs"
RUNS = [
    *((name, "float32") for name in golden_data.MODELS),
    *((name, GPU) for name in golden_data.MODELS if "18" in name),
    ("fcfrnet34_gd", "float64"),
]
# In float64, running takes longer than compiling: the optimisation that conftest.py omits pays off.
OPTIONS = {"float32": None, "float64": {"xla_backend_optimization_level": 3}}


@cache
def run(name: str, dtype: str) -> Run:
    with jax.enable_x64(dtype == "float64"):
        parts = GpuParts if dtype == GPU else None
        return run_in(name, jnp.dtype(dtype.split()[0]), parts)


def run_in(name: str, dtype: np.dtype, parts: type[Parts] | None) -> Run:
    golden = golden_data.load(name)
    spec, variables = golden_data.model(name, int(golden["seed"]))
    variables = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), variables)
    network = models.build(spec, dtype=dtype, parts=parts or Parts)
    trained = select.for_training(spec, dtype=dtype, parts=parts)
    image = golden_data.image(golden, spec)
    depth, truth = golden["depth"], golden["gt"]
    jit = partial(jax.jit, compiler_options=OPTIONS[dtype.name])
    evaluate = jit(lambda variables: network.apply(variables, image, depth))

    @jit
    def step(variables):
        def loss_of(params):
            state = {"params": params, "batch_stats": variables["batch_stats"]}
            prediction, changed = trained.apply(
                state, image, depth, train=True, mutable=["batch_stats"]
            )
            valid = truth > 0
            loss = jnp.sum(jnp.where(valid, (prediction - truth) ** 2, 0)) / valid.sum()
            return loss, (prediction, changed["batch_stats"])

        (loss, (prediction, stats)), gradients = jax.value_and_grad(loss_of, has_aux=True)(
            variables["params"]
        )
        adam = optax.adam(1e-3)
        updates, _ = adam.update(gradients, adam.init(variables["params"]))
        params = optax.apply_updates(variables["params"], updates)
        return loss, prediction, gradients, {"params": params, "batch_stats": stats}

    loss, prediction, gradients, after = step(variables)
    return Run(
        golden,
        np.asarray(evaluate(variables)),
        np.asarray(prediction),
        float(loss),
        {"params": gradients},
        variables,
        after,
        np.asarray(evaluate(after)),
    )


def by_paddle_name(run: Run, names: np.ndarray, tree: dict[str, Any]) -> list[np.ndarray]:
    leaves = flax.traverse_util.flatten_dict(tree, sep="/")
    entries = convert.entries(flax.traverse_util.flatten_dict(run.before, sep="/"))
    return [np.asarray(leaves[entries[name].target], np.float64) for name in names]


def rms_mm(difference: np.ndarray) -> float:
    return 1e3 * float(np.sqrt(np.mean(np.square(difference, dtype=np.float64))))


def floored(depth: np.ndarray) -> np.ndarray:
    return np.maximum(depth, 0.9)


def parametrize(runs: list[tuple[str, str]]) -> pytest.MarkDecorator:
    """ResNet-34 runs the same code as ResNet-18, float64 takes a minute, and `tests/networks/gpu`
    compares the forms for GPUs.

    Quick tests compare the fine network; the coarse one has the same layers. `test_select` compares
    the depth of ResNet-34 in every CI run.
    """

    def marks(name: str, dtype: str) -> list[pytest.MarkDecorator]:
        if dtype in ("float64", GPU) or "34" in name:
            return [pytest.mark.nightly]
        return [] if name == "fcfrnet18_rgbd" else [pytest.mark.slow]

    marked = [pytest.param(*run, marks=marks(*run)) for run in runs]
    return pytest.mark.parametrize(("name", "dtype"), marked)


every_run = parametrize(RUNS)
every_clear_run = parametrize([run for run in RUNS if run != TIE])


@every_run
def test_eval_output(name, dtype):
    result = run(name, dtype)
    difference = floored(result.eval_depth) - result.golden["pred_eval"]
    assert rms_mm(difference) < 0.05
    assert 1e3 * np.abs(difference).max() < 0.5


@every_clear_run
def test_train_output(name, dtype):
    result = run(name, dtype)
    assert rms_mm(result.train_depth - result.golden["pred_train"]) < 0.05


@every_run
def test_loss(name, dtype):
    assert run(name, dtype).loss == pytest.approx(float(run(name, dtype).golden["loss"]), rel=1e-6)


@every_clear_run
def test_gradient_norms(name, dtype):
    result = run(name, dtype)
    trained = ~np.isnan(result.golden["grad_norm"])
    names = result.golden["param_names"][trained]
    norms = [np.linalg.norm(leaf) for leaf in by_paddle_name(result, names, result.gradients)]
    np.testing.assert_allclose(norms, result.golden["grad_norm"][trained], rtol=2e-3)


@every_clear_run
def test_statistics_after_the_step(name, dtype):
    result = run(name, dtype)
    statistics = by_paddle_name(result, result.golden["stat_names"], result.after)
    norms = [np.linalg.norm(statistic) for statistic in statistics]
    np.testing.assert_allclose(norms, result.golden["stat_norm_after"], rtol=1e-5)


@every_run
def test_change_by_the_step(name, dtype):
    result = run(name, dtype)
    names = result.golden["param_names"]
    before = by_paddle_name(result, names, result.before)
    after = by_paddle_name(result, names, result.after)
    norms = [np.linalg.norm(b - a) for a, b in zip(before, after, strict=True)]
    np.testing.assert_allclose(norms, result.golden["param_delta_norm"], rtol=2e-3)


@every_run
def test_eval_output_after_the_step(name, dtype):
    result = run(name, dtype)
    change = result.golden["pred_eval_after_step"] - result.golden["pred_eval"]
    difference = floored(result.eval_depth_after) - result.golden["pred_eval_after_step"]
    assert rms_mm(difference) < 0.01 * rms_mm(change)
