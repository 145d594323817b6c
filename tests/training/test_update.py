"""The training step on eight virtual devices, against one device and plain `jax.grad`."""

import dataclasses
import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax.traverse_util import flatten_dict

from fcfrnet_jax import parallel
from fcfrnet_jax.networks import models
from fcfrnet_jax.networks.models import TwoStage, clip_depth
from fcfrnet_jax.networks.specs import SparseToCoarseSpec
from fcfrnet_jax.training import losses
from fcfrnet_jax.training.objective import NEAR_INPUTS, Objective
from fcfrnet_jax.training.optimizers import make_optimizer
from fcfrnet_jax.training.state import TrainState, initial_state
from fcfrnet_jax.weights import convert
from tests import golden_data
from tests.random_weights import random_variables
from tests.tiny_networks import COARSE, FINE, variables_of
from tests.training.steps import RATE, SCHEDULE, SGD, step_of

SPEC = SparseToCoarseSpec(18, width=4)
# So small that rounding errors do not grow during the training.
SMALL_RATE = 1e-5
ADAM = make_optimizer("adam", SCHEDULE)


def batch_of(size, shape=(32, 48), dtype=np.float32):
    """Frames with decreasing amounts of ground truth, and none in the last eighth."""
    random = np.random.default_rng(0)
    depth = random.uniform(1, 80, (3, size, *shape, 1)).astype(dtype)
    kept = np.linspace(0.5, 0, size - size // 8 + 1)[np.minimum(np.arange(size), size - size // 8)]
    truth = np.where(random.random(depth[0].shape) < kept[:, None, None, None], depth[0], 0)
    sparse = np.where(random.random(depth[0].shape) < 0.1, depth[1], 0)
    image = random.integers(1, 256, (size, *shape, 3), dtype=np.uint8)
    batch = {"image": image, "sparse_depth": sparse, "coarse_depth": depth[2]}
    return batch | {"ground_truth": truth}


def with_near_view(batch):
    random = np.random.default_rng(1)
    size, height, width = batch["image"].shape[:3]
    angles = random.normal(0, 0.01, size)
    rotation = np.tile(np.eye(3, dtype=np.float32), (size, 1, 1))
    rotation[:, 0, 2], rotation[:, 2, 0] = np.sin(angles), -np.sin(angles)
    near = {
        "near_image": random.integers(1, 256, batch["image"].shape, dtype=np.uint8),
        "rotation": rotation,
        "translation": random.normal(0, 0.3, (size, 3)).astype(np.float32),
        "intrinsics": np.tile(np.float32([40, 40, width / 2, height / 2]), (size, 1)),
    }
    return batch | near


def train(network, variables, batch, *, optimizer=SGD, frozen=None, **settings):
    """One update on all devices: the state on the host, and the metrics of each device."""
    start = initial_state(variables, optimizer, ema="ema_decay" in settings)
    state, metrics = step_of(network, optimizer, **settings)(
        parallel.replicate(start), parallel.replicate(frozen or {}), parallel.shard(batch)
    )
    return parallel.unreplicate(state), jax.tree.map(np.asarray, metrics)


def gradients_of(state, variables, rate=RATE):
    """The gradients, recovered from an update by plain SGD."""
    return jax.tree.map(lambda a, b: (b - a) / rate, state.params, variables["params"])


def norm_of(tree):
    return np.sqrt(sum(np.sum(np.square(leaf, dtype=np.float64)) for leaf in jax.tree.leaves(tree)))


def masked_mean(penalty, truth):
    return jnp.sum(jnp.where(truth > 0, penalty, 0)) / jnp.sum(truth > 0)


def on_one_device(network, batch, dtype=np.float32):
    """Loss, statistics and gradients of the whole batch on one device, as a jitted function."""

    def loss_of(params, batch_stats):
        variables = {"params": params, "batch_stats": batch_stats}
        depth, changed = network.apply(
            variables, batch["image"], batch["sparse_depth"], train=True, mutable="batch_stats"
        )
        loss = masked_mean((depth - batch["ground_truth"]) ** 2, batch["ground_truth"])
        return loss.astype(dtype), changed.get("batch_stats", {})

    return jax.jit(jax.value_and_grad(loss_of, has_aux=True))


def assert_same(tree, wanted, tolerance):
    """Compares every array by the norm of its difference."""
    for (path, ours), other in zip(
        jax.tree_util.tree_leaves_with_path(tree), jax.tree.leaves(wanted), strict=True
    ):
        error = np.linalg.norm(np.asarray(ours) - np.asarray(other))
        assert error <= tolerance * np.linalg.norm(other), (jax.tree_util.keystr(path), error)


class Run(NamedTuple):
    """Five updates of SGD with momentum, on eight devices and on one."""

    variables: dict[str, Any]
    states: list[TrainState]
    metrics: dict[str, np.ndarray]
    losses: list[float]
    gradients: list[Any]
    wanted: list[dict[str, Any]]


def resnet(dtype):
    return models.build(SPEC, dtype=dtype)


def tiny(dtype):
    return COARSE.clone(dtype=dtype)


# The whole network takes half a minute to compile.
both_networks = pytest.mark.parametrize(
    "build", [tiny, pytest.param(resnet, marks=pytest.mark.nightly)]
)


def variables_for(build):
    return random_variables(SPEC) if build is resnet else variables_of(COARSE)


@functools.cache
def run_of(build):
    """In float64, so that rounding hides no error in the formulas."""
    with jax.enable_x64(True):
        variables = jax.tree.map(np.float64, variables_for(build))
        batch, network = batch_of(8, dtype=np.float64), build(np.float64)
        return Run(
            variables,
            *eight_devices(network, variables, batch),
            *one_device(network, variables, batch),
        )


def eight_devices(network, variables, batch):
    optimizer = optax.sgd(SMALL_RATE, momentum=0.9)
    step = step_of(network, optimizer)
    state, states = parallel.replicate(initial_state(variables, optimizer)), []
    for _ in range(5):
        state, metrics = step(state, {}, parallel.shard(batch))
        states.append((parallel.unreplicate(state), jax.tree.map(np.asarray, metrics)))
    return [state for state, _ in states], states[0][1]


def one_device(network, variables, batch):
    whole = on_one_device(network, batch, np.float64)
    losses, gradients, states = [], [], [variables]
    velocity = jax.tree.map(np.zeros_like, variables["params"])
    for _ in range(5):
        (loss, stats), gradient = whole(*(states[-1][kind] for kind in ("params", "batch_stats")))
        velocity = jax.tree.map(lambda v, g: 0.9 * v + g, velocity, gradient)
        params = jax.tree.map(lambda p, v: p - SMALL_RATE * v, states[-1]["params"], velocity)
        states.append({"params": params, "batch_stats": stats})
        losses.append(float(loss))
        gradients.append(jax.tree.map(np.asarray, gradient))
    return losses, gradients, jax.tree.map(np.asarray, states[1:])


@both_networks
@pytest.mark.usefixtures("short_resnet")
def test_eight_devices_have_the_gradient_of_one(build):
    run = run_of(build)
    assert_same(gradients_of(run.states[0], run.variables, SMALL_RATE), run.gradients[0], 1e-9)
    assert_same(run.states[0].batch_stats, run.wanted[0]["batch_stats"], 1e-12)
    np.testing.assert_allclose(run.metrics["loss"], run.losses[0], rtol=1e-6)
    np.testing.assert_allclose(run.metrics["gradient_norm"], norm_of(run.gradients[0]), rtol=1e-6)


@both_networks
@pytest.mark.usefixtures("short_resnet")
def test_eight_devices_train_as_one(build):
    run = run_of(build)
    assert [state.step for state in run.states] == [1, 2, 3, 4, 5]
    assert_same(run.states[-1].params, run.wanted[-1]["params"], 1e-9)
    assert_same(run.states[-1].batch_stats, run.wanted[-1]["batch_stats"], 1e-9)


@both_networks
@pytest.mark.usefixtures("short_resnet")
def test_bfloat16_is_close(build):
    run, variables = run_of(build), variables_for(build)
    state, metrics = train(build(jnp.bfloat16), variables, batch_of(8))
    assert {leaf.dtype for leaf in jax.tree.leaves(state[1:])} == {np.dtype(np.float32)}
    assert metrics["loss"][0] == pytest.approx(run.losses[0], rel=0.02)
    difference = jax.tree.map(np.subtract, gradients_of(state, variables), run.gradients[0])
    assert norm_of(difference) < 0.2 * norm_of(run.gradients[0])


def test_metrics_are_float32_and_the_same_everywhere():
    _, metrics = train(COARSE, variables_of(COARSE), batch_of(8))
    assert set(metrics) == {"loss", "coarse/depth", "gradient_norm", "learning_rate"}
    for values in metrics.values():
        assert values.dtype == np.float32
        np.testing.assert_array_equal(values, np.full(8, values[0]))
    assert metrics["learning_rate"][0] == np.float32(RATE)


def test_the_state_is_donated():
    variables, batch = variables_of(COARSE), parallel.shard(batch_of(8))
    before = parallel.replicate(initial_state(variables, ADAM, ema=True))
    host = parallel.unreplicate(before)
    after, _ = step_of(COARSE, ADAM, ema_decay=0.15)(before, {}, batch)
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(before))
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves(after))
    jax.tree.map(np.testing.assert_array_equal, host.params, variables["params"])


def test_the_second_step_is_not_compiled_again():
    """The step returns arrays of the sharding that it takes, so one program serves all steps."""
    before = parallel.replicate(initial_state(variables_of(COARSE), SGD))
    shardings = jax.tree.map(lambda leaf: leaf.sharding, before)
    after, _ = step_of(COARSE)(before, {}, parallel.shard(batch_of(8)))
    assert jax.tree.map(lambda leaf: leaf.sharding, after) == shardings


def test_training_resumes_exactly_from_the_host():
    batch, step = parallel.shard(batch_of(8)), step_of(COARSE, ADAM, ema_decay=0.15)
    state = parallel.replicate(initial_state(variables_of(COARSE), ADAM, ema=True))
    hosts = []
    for _ in range(3):
        state, _ = step(state, {}, batch)
        hosts.append(parallel.unreplicate(state))
    resumed, _ = step(parallel.replicate(hosts[1]), {}, batch)
    jax.tree.map(np.testing.assert_array_equal, parallel.unreplicate(resumed), hosts[2])


def test_replicas_stay_identical_without_synchronised_batchnorm():
    variables, batch = variables_of(COARSE), batch_of(16)
    start = parallel.replicate(initial_state(variables, SGD))
    after, metrics = step_of(COARSE, sync_batchnorm=False)(start, {}, parallel.shard(batch))
    for leaf in map(np.asarray, jax.tree.leaves(after)):
        np.testing.assert_array_equal(leaf, np.broadcast_to(leaf[:1], leaf.shape))
    depth, changed = jax.vmap(
        lambda image, sparse: COARSE.apply(
            variables, image, sparse, train=True, mutable="batch_stats"
        )
    )(*(parallel.shard(batch)[name] for name in ("image", "sparse_depth")))
    means = jax.tree.map(lambda leaf: leaf.mean(0), changed["batch_stats"])
    assert_same(parallel.unreplicate(after).batch_stats, means, 1e-6)
    truth = parallel.shard(batch)["ground_truth"]
    wanted = masked_mean((depth - truth) ** 2, truth)
    np.testing.assert_allclose(metrics["loss"], wanted, rtol=1e-5)


def test_frozen_batchnorm_normalises_as_in_eval_mode_and_keeps_its_statistics():
    variables, batch = variables_of(COARSE), batch_of(8)
    start = parallel.replicate(initial_state(variables, SGD))
    step = step_of(COARSE, freeze_batchnorm=True)
    after, metrics = step(start, {}, parallel.shard(batch))
    after = parallel.unreplicate(after)
    assert_same(after.batch_stats, variables["batch_stats"], 0.0)
    depth = COARSE.apply(variables, batch["image"], batch["sparse_depth"])
    wanted = masked_mean((depth - batch["ground_truth"]) ** 2, batch["ground_truth"])
    np.testing.assert_allclose(metrics["loss"], wanted, rtol=1e-5)
    norm = gradients_of(after, variables)["ConvNormAct_0"]["norm"]
    assert np.abs(norm["scale"]).max() > 0


def test_accumulation_equals_the_whole_batch():
    """Without BatchNorm, which sees micro-batches; the numbers of valid pixels differ."""
    network = COARSE.clone(folded=True)
    variables, batch = variables_of(network), batch_of(64, shape=(16, 16))
    state, metrics = train(network, variables, batch, accumulate=4)
    (loss, _), gradients = on_one_device(network, batch)(variables["params"], {})
    assert_same(gradients_of(state, variables), gradients, 2e-5)
    np.testing.assert_allclose(metrics["loss"], loss, rtol=1e-5)


def test_accumulation_moves_the_statistics_once_for_each_micro_batch():
    variables, batch = variables_of(COARSE), batch_of(16, shape=(16, 16))
    state, _ = train(COARSE, variables, batch, accumulate=2)
    stats = variables["batch_stats"]
    for half in range(2):
        # Every device holds two frames and processes one at a time.
        inputs = batch["image"][half::2], batch["sparse_depth"][half::2]
        current = {"params": variables["params"], "batch_stats": stats}
        stats = COARSE.apply(current, *inputs, train=True, mutable="batch_stats")[1]["batch_stats"]
    assert_same(state.batch_stats, stats, 1e-5)


@pytest.mark.parametrize("mode", [pytest.param("dense+photo", marks=pytest.mark.nightly), "sparse"])
def test_the_loss_of_every_mode_is_that_of_the_whole_batch(mode):
    network = COARSE.clone(folded=True)
    variables = variables_of(network)
    batch = with_near_view(batch_of(8, shape=(32, 64)))
    # Two examples without a pose and one without a calibration.
    batch["translation"][:2], batch["intrinsics"][2] = 0.0, np.nan
    objective = Objective(mode, "l1", photometric_weight=0.3, smoothness_weight=0.2)
    _, metrics = train(network, variables, batch, objective=objective)
    near = losses.NearView(*(batch[name] for name in NEAR_INPUTS))
    names = "image", "sparse_depth", "ground_truth"

    @jax.jit
    def whole(variables):
        return losses.loss_parts(
            mode,
            network.apply(variables, batch["image"], batch["sparse_depth"]),
            **{name: jnp.asarray(batch[name]) for name in names},
            near=near,
            depth_loss=losses.masked_l1,
        )

    weights = {"depth": 1.0, "photometric": 0.3, "smoothness": 0.2}
    parts = whole(variables)
    loss = sum(weights[name] * float(value) for name, value in parts.items())
    np.testing.assert_allclose(metrics["loss"], loss, rtol=1e-4)
    for name, value in parts.items():
        np.testing.assert_allclose(metrics[f"coarse/{name}"], value, rtol=1e-4)
    np.testing.assert_allclose(metrics["usable_neighbours"], 5 / 8)


def frozen_behind(coarse_network):
    """The fine network behind a frozen coarse one."""
    return TwoStage(coarse_network, FINE, freeze_coarse=True)


@pytest.mark.parametrize("stored", [True, False])
def test_fine_training(stored):
    variables, frozen, batch = variables_of(FINE), variables_of(COARSE, 1), batch_of(8)
    coarse = batch["coarse_depth"]
    if not stored:
        unclipped = COARSE.apply(frozen, batch["image"], batch["sparse_depth"])
        coarse = clip_depth(unclipped, (0.9, 100.0))
        assert np.abs(coarse - unclipped).max() > 1
    network = FINE if stored else frozen_behind(COARSE)
    state, metrics = train(network, variables, batch, frozen=None if stored else frozen)
    (loss, stats), gradients = on_one_device(FINE, batch | {"sparse_depth": coarse})(
        variables["params"], variables["batch_stats"]
    )
    assert set(metrics) == {"loss", "fine/depth", "gradient_norm", "learning_rate"}
    np.testing.assert_allclose(metrics["fine/depth"], loss, rtol=1e-5)
    assert_same(gradients_of(state, variables), gradients, 1e-4)
    assert_same(state.batch_stats, stats, 1e-5)


class KeepingMeasured:
    """The fine network on a given coarse depth; its output keeps the measured depths."""

    def __init__(self, coarse):
        self.coarse = coarse

    def apply(self, variables, image, sparse_depth, **settings):
        depth, changed = FINE.apply(variables, image, self.coarse, **settings)
        measured = (sparse_depth > 0.1) & (sparse_depth < 1.1 * depth)
        return jnp.where(measured, sparse_depth, depth), changed


def test_fine_training_behind_a_network_that_keeps_measured_depths():
    variables, frozen, batch = variables_of(FINE), variables_of(COARSE, 1), batch_of(8)
    # Many of the measured pixels have a ground truth here.
    batch["sparse_depth"] = np.where(batch["sparse_depth"] > 0, batch["ground_truth"] + 1, 0)
    keeping = COARSE.clone(spec=dataclasses.replace(COARSE.spec, keep_measured=True))
    coarse = clip_depth(COARSE.apply(frozen, batch["image"], batch["sparse_depth"]), (0.9, 100.0))
    state, metrics = train(frozen_behind(keeping), variables, batch, frozen=frozen)
    (loss, _), gradients = on_one_device(KeepingMeasured(coarse), batch)(
        variables["params"], variables["batch_stats"]
    )
    np.testing.assert_allclose(metrics["fine/depth"], loss, rtol=1e-5)
    assert_same(gradients_of(state, variables), gradients, 1e-4)


def test_joint_training_weighs_both_depths():
    network = TwoStage(COARSE, FINE)
    variables, batch = variables_of(network), batch_of(8)
    objective = Objective(coarse_weight=0.5, fine_weight=2.0)
    state, metrics = train(network, variables, batch, objective=objective)
    truth = batch["ground_truth"]

    def loss_of(params):
        maps, _ = network.apply(
            variables | {"params": params}, batch["image"], batch["sparse_depth"], train=True,
            mutable="batch_stats",
        )  # fmt: skip
        coarse, fine = (masked_mean((depth - truth) ** 2, truth) for depth in maps)
        return 0.5 * coarse + 2.0 * fine, (coarse, fine)

    with_gradients = jax.jit(jax.value_and_grad(loss_of, has_aux=True))
    (loss, parts), gradients = with_gradients(variables["params"])
    ours = [metrics[name][0] for name in ("loss", "coarse/depth", "fine/depth")]
    np.testing.assert_allclose(ours, [loss, *parts], rtol=1e-5)
    assert_same(gradients_of(state, variables), gradients, 1e-4)


def test_moving_average():
    variables, batch = variables_of(COARSE), parallel.shard(batch_of(8))
    step = step_of(COARSE, ADAM, ema_decay=0.15)
    state = parallel.replicate(initial_state(variables, ADAM, ema=True))
    average = variables["params"]
    # min(0.15, (1 + t) / (10 + t)).
    for decay in (0.1, 0.15, 0.15):
        state, _ = step(state, {}, batch)
        host = parallel.unreplicate(state)
        average = jax.tree.map(lambda a, p, d=decay: d * a + (1 - d) * p, average, host.params)
        assert_same(host.ema_params, average, 1e-6)


def test_the_norm_is_that_before_clipping():
    variables, batch = variables_of(COARSE), batch_of(8)
    free, metrics = train(COARSE, variables, batch)
    clipped = make_optimizer("sgd", SCHEDULE, clip_norm=0.5, momentum=0.0)
    state, same = train(COARSE, variables, batch, optimizer=clipped)
    norm = norm_of(gradients_of(free, variables))
    np.testing.assert_allclose(metrics["gradient_norm"], norm, rtol=1e-4)
    np.testing.assert_allclose(same["gradient_norm"], norm, rtol=1e-4)
    assert norm_of(gradients_of(state, variables)) == pytest.approx(0.5, rel=1e-3)


def test_a_batch_without_ground_truth_changes_nothing():
    variables, batch = variables_of(COARSE), batch_of(8)
    batch["ground_truth"] = np.zeros_like(batch["ground_truth"])
    state, metrics = train(COARSE, variables, batch)
    assert metrics["loss"][0] == metrics["gradient_norm"][0] == 0
    jax.tree.map(np.testing.assert_array_equal, state.params, variables["params"])


@pytest.mark.slow
def test_one_adam_step_matches_the_reference():
    name = "std18_rgbd"
    golden = golden_data.load(name)
    spec, variables = golden_data.model(name, int(golden["seed"]))
    # The two frames repeated four times: mean, moments and gradient are those of the two.
    batch = {"image": golden["rgb"], "sparse_depth": golden["depth"], "ground_truth": golden["gt"]}
    batch = {name: np.tile(leaf, (4, 1, 1, 1)) for name, leaf in batch.items()}
    state, metrics = train(models.build(spec), variables, batch, optimizer=ADAM)
    np.testing.assert_allclose(metrics["loss"], golden["loss"], rtol=1e-5)
    before = flatten_dict(variables, sep="/")
    after = flatten_dict({"params": state.params, "batch_stats": state.batch_stats}, sep="/")
    targets = [convert.entries(before)[name].target for name in golden["param_names"]]
    changes = [norm_of(after[target] - before[target]) for target in targets]
    np.testing.assert_allclose(changes, golden["param_delta_norm"], rtol=2e-3)


@pytest.mark.slow
@pytest.mark.usefixtures("short_resnet")
def test_rematerialisation_has_the_same_gradients():
    variables, batch = random_variables(SPEC), batch_of(2)
    plain, again = (
        on_one_device(models.build(SPEC, remat=on), batch)(
            variables["params"], variables["batch_stats"]
        )
        for on in (False, True)
    )
    assert_same(again, plain, 1e-5)


def stored_bytes(remat, spec, batch):
    """Size of what the forward pass stores for the backward pass. Compiles nothing.

    XLA's count of temporary memory is not useful here: on CPUs, XLA undoes the rematerialisation.
    """

    def residuals(variables):
        def outputs(params):
            variables_now = variables | {"params": params}
            return models.build(spec, remat=remat).apply(
                variables_now, batch["image"], batch["sparse_depth"], True, mutable="batch_stats"
            )[0]

        return jax.vjp(outputs, variables["params"])[1]

    leaves = jax.tree.leaves(jax.eval_shape(residuals, models.variable_shapes(spec)))
    return sum(leaf.size * leaf.dtype.itemsize for leaf in leaves)


def test_rematerialisation_stores_less():
    spec, batch = SparseToCoarseSpec(34, width=16), batch_of(2, shape=(128, 256))
    assert stored_bytes(True, spec, batch) < 0.25 * stored_bytes(False, spec, batch)


def test_rematerialisation_keeps_the_variables():
    inputs = jnp.zeros((1, 16, 16, 3)), jnp.zeros((1, 16, 16, 1))
    init = models.build(SPEC, remat=True).init
    assert jax.eval_shape(init, jax.random.key(0), *inputs) == models.variable_shapes(SPEC)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"accumulate": 0}, "accumulate must be 1 micro-batch or more, got 0"),
        (
            {"accumulate": 2},
            "the 1 frames on each device are not divisible by accumulate=2: take a batch size that "
            "is a multiple of 16",
        ),
        ({"ema_decay": 1.0}, r"ema_decay must be in \[0, 1\), got 1.0"),
        ({"objective": Objective("photo")}, "'photo' needs near"),
    ],
)
def test_invalid_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        train(COARSE, variables_of(COARSE), batch_of(8), **settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mode": "both"}, "mode must be one of dense, sparse, .*, got 'both'"),
        ({"depth_loss": "huber"}, "depth_loss must be one of mse, l1, l1\\+mse, l1\\+rmse, got"),
        ({"smoothness_weight": -1.0}, "smoothness_weight must be finite and at least 0, got -1.0"),
        ({"rmse_weight": math.inf}, "rmse_weight must be finite and at least 0, got inf"),
    ],
)
def test_invalid_objectives_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Objective(**settings)


def test_the_fine_network_needs_a_coarse_depth():
    batch = batch_of(8)
    del batch["coarse_depth"]
    message = "a CoarseToFine trains on coarse_depth, which is missing from the batch"
    with pytest.raises(ValueError, match=message):
        train(FINE, variables_of(FINE), batch)


@pytest.mark.parametrize(
    ("settings", "ema", "message"),
    [
        ({"ema_decay": 0.9}, False, r"got ema_decay=0.9 and a state without a moving average"),
        ({}, True, r"got ema_decay=None and a state with a moving average"),
    ],
)
def test_step_and_state_agree_on_the_moving_average(settings, ema, message):
    state = parallel.replicate(initial_state(variables_of(COARSE), SGD, ema=ema))
    with pytest.raises(ValueError, match=message):
        step_of(COARSE, **settings)(state, {}, parallel.shard(batch_of(8)))


@pytest.mark.parametrize(
    ("mode", "target"), [("dense", "ground_truth"), ("sparse", "sparse_depth")]
)
def test_the_weight_of_a_frame_scales_its_errors(mode, target):
    rng = np.random.default_rng(0)
    depth, truth = rng.uniform(5, 20, (2, 2, 6, 8, 1)).astype(np.float32)
    weight = np.array([1.0, 0.1], np.float32).reshape(2, 1, 1, 1)
    batch = {"ground_truth": truth, "sparse_depth": truth, "weight": weight}
    found = Objective(mode, "l1").parts(jnp.array(depth), batch, None)["depth"]
    np.testing.assert_allclose(found, np.mean(weight * np.abs(depth - truth)), rtol=1e-5)
