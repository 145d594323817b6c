"""The converter: recognition, the table of names, and everything that can be wrong with a file."""

import pickle
import subprocess

import jax
import numpy as np
import pytest

import fcfrnet_jax
from fcfrnet_jax.networks.specs import CoarseToFineSpec, SparseToCoarseSpec, TwoStageSpec
from fcfrnet_jax.weights import checkpoint, convert
from tests import golden_data
from tests.weights.narrow_states import narrow_state

NAMES = list(golden_data.STATE_SPEC)


def written(folder, state):
    path = folder / "weights.pdparams"
    path.write_bytes(pickle.dumps(state, protocol=4))
    return path


@pytest.mark.parametrize("name", NAMES)
def test_recognises_every_released_kind(name):
    shapes = golden_data.STATE_SPEC[name]
    arrays = {key: np.broadcast_to(np.float32(0), shape) for key, shape in shapes.items()}
    network, modality = name.split("_")
    kind = SparseToCoarseSpec if network.startswith("std") else CoarseToFineSpec
    assert convert.recognise(arrays) == kind(int(network[-2:]), modality)


@pytest.mark.parametrize("name", ["std18_rgbd", "fcfrnet18_rgbd"])
def test_width_is_recognised(name):
    assert convert.recognise(narrow_state(name)).width == 4


def test_every_entry_is_used_once():
    state = narrow_state("fcfrnet18_rgbd")
    variables, skipped = convert.to_variables(state, convert.recognise(state), strict=True)
    assert skipped == []
    total = sum(float(np.sum(array, dtype=np.float64)) for array in state.values())
    leaves = jax.tree.leaves(variables)
    assert sum(float(np.sum(leaf, dtype=np.float64)) for leaf in leaves) == pytest.approx(total)


def test_pytorch_names_give_the_same_variables():
    state = narrow_state()
    theirs = {
        key.replace("_mean", "running_mean").replace("_variance", "running_var"): array
        for key, array in state.items()
    }
    theirs["conv1_d.1.num_batches_tracked"] = np.array(7)
    spec = convert.recognise(state)
    ours, _ = convert.to_variables(state, spec)
    other, skipped = convert.to_variables(theirs, spec, strict=True)
    jax.tree.map(np.testing.assert_array_equal, ours, other)
    assert skipped == []


def test_all_faults_are_reported_together():
    state = narrow_state()
    del state["conv3.0.bn1._mean"]
    state["convt2.0.weight"] = state["convt2.0.weight"][:-1]
    state["conv6.1.bias"][1] = np.nan
    state["conv6.1._variance"][0] = -1
    state["conv1_d.1.running_mean"] = state["conv1_d.1._mean"]
    with pytest.raises(ValueError, match="5 entries do not match sparse_to_coarse") as error:
        convert.to_variables(state, convert.recognise(state))
    for line in (
        "conv3.0.bn1._mean -> batch_stats/conv3/block0/norm1/mean: missing",
        "convt2.0.weight -> params/convt2/conv/kernel: shape (11, 4, 3, 3), expected (12, 4, 3, 3)",
        "conv6.1.bias -> params/conv6/norm/bias: 1 of 32 values are NaN or infinite",
        "conv6.1._variance -> batch_stats/conv6/norm/var: a variance of -1",
        "already given by conv1_d.1._mean",
    ):
        assert line in str(error.value)


def test_unknown_entries_are_skipped_unless_strict():
    state = narrow_state() | {"old_layer.weight": np.ones(3, np.float32)}
    spec = convert.recognise(state)
    assert convert.to_variables(state, spec)[1] == ["old_layer.weight"]
    with pytest.raises(ValueError, match=r"old_layer.weight: the network has no such entry"):
        convert.to_variables(state, spec, strict=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda state: {"fc.weight": state["conv6.0.weight"]},
            "neither FCFR-Net nor the STD network",
        ),
        (lambda state: state | {"conv2.5.bn1.bias": np.ones(4)}, r"\[6, 2, 2, 2\] basic blocks"),
        (
            lambda state: state | {"conv1_img.0.weight": np.ones((4, 5, 3, 3))},
            r"found \(4, 5, 3, 3\)",
        ),
        (
            lambda s: {k: s[k] for k in s if k != "conv2.0.conv1.weight"},
            "conv2.0.conv1.weight: miss",
        ),
    ],
)
def test_other_networks_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        convert.recognise(change(narrow_state()))


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_other_precisions_become_float32(dtype, tmp_path):
    state = {key: array.astype(dtype) for key, array in narrow_state().items()}
    variables = convert.convert(written(tmp_path, state)).variables
    assert {leaf.dtype.name for leaf in jax.tree.leaves(variables)} == {"float32"}


def test_a_training_checkpoint_is_converted(tmp_path):
    state = narrow_state()
    model = {f"_layers.{key}": array for key, array in state.items()}
    path = written(tmp_path, {"epoch": 3, "model": model, "optimizer": {}, "args": {"layers": 18}})
    conversion = fcfrnet_jax.convert_paddle(path, tmp_path / "model")
    assert conversion.provenance["notes"][0] == "training checkpoint, epoch 3"
    expected, _ = convert.to_variables(state, convert.recognise(state))
    spec, restored = checkpoint.load_model(tmp_path / "model")
    assert spec == SparseToCoarseSpec(18, width=4)
    jax.tree.map(np.testing.assert_array_equal, restored, expected)


def test_two_files_make_a_two_stage_model(tmp_path):
    (tmp_path / "coarse").mkdir()
    coarse = written(tmp_path / "coarse", narrow_state())
    fine = written(tmp_path, narrow_state("fcfrnet18_rgbd"))
    conversion = fcfrnet_jax.convert_paddle(fine, tmp_path / "model", coarse_path=coarse)
    spec = checkpoint.load_spec(tmp_path / "model")
    assert spec == TwoStageSpec(SparseToCoarseSpec(18, width=4), CoarseToFineSpec(18, width=4))
    rows = dict(convert.summary(conversion))
    assert (rows["coarse network"], rows["fine layers"]) == ("sparse_to_coarse", "18")


def test_files_that_cannot_be_combined_are_named(tmp_path):
    coarse = written(tmp_path, narrow_state())
    with pytest.raises(ValueError, match=f"{coarse} and {coarse}: a two-stage model is .* got spa"):
        fcfrnet_jax.convert_paddle(coarse, tmp_path / "model", coarse_path=coarse)
    assert not (tmp_path / "model").exists()


def test_the_digest_of_every_input_is_recorded(tmp_path):
    path = written(tmp_path, narrow_state())
    fcfrnet_jax.convert_paddle(path, tmp_path / "model")
    command = ["sha256sum", path]
    expected = subprocess.run(command, capture_output=True, text=True, check=True).stdout[:64]
    assert checkpoint.load_provenance(tmp_path / "model")["sha256"] == expected


def test_a_converted_model_is_not_converted_again(tmp_path):
    fcfrnet_jax.convert_paddle(written(tmp_path, narrow_state()), tmp_path / "model")
    with pytest.raises(ValueError, match="model: a model that needs no conversion, expected a"):
        convert.convert(tmp_path / "model")


def test_an_existing_folder_is_refused_before_work(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="holds other files"):
        fcfrnet_jax.convert_paddle(tmp_path / "not_even_there", tmp_path)
