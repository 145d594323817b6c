"""Where a checkpoint holds its state dict, and the choice between several."""

import numpy as np
import pytest

from fcfrnet_jax.weights.foreign import read_state
from fcfrnet_jax.weights.foreign.pickle_nodes import CheckpointError
from tests.weights.foreign.checkpoint_files import write

WEIGHTS, AVERAGE = {"w": np.float32([1])}, {"w": np.float32([2])}


def value(path, name=None):
    return read_state(path, name).arrays["w"][0]


@pytest.mark.parametrize("name", ["model", "state_dict", "model_state_dict", "net", "network"])
def test_the_usual_names_of_a_state_are_found(name, tmp_path):
    assert value(write(tmp_path / "a", {"epoch": 1, name: WEIGHTS, "optimizer": {"lr": 1}})) == 1


@pytest.mark.parametrize("prefix", ["_orig_mod.", "module._orig_mod.", "model.", "net.module."])
def test_prefixes_of_wrappers_are_stripped(prefix, tmp_path):
    names = {f"{prefix}w": np.float32([1]), f"{prefix}conv.model.w": np.float32([3])}
    state = read_state(write(tmp_path / "a", {"state_dict": names}))
    assert list(state.arrays) == ["w", "conv.model.w"]


@pytest.mark.parametrize("other", ["model_ema", "ema", "state_dict_ema", "ema_model"])
def test_of_weights_and_average_the_choice_is_named(other, tmp_path):
    path = write(tmp_path / "a", {"model": WEIGHTS, other: AVERAGE})
    assert read_state(path).notes == [
        "training checkpoint", f"took model; state='{other}' takes the other weights",
    ]  # fmt: skip
    assert (value(path), value(path, other)) == (1, 2)
    assert (
        read_state(path, other).notes[1] == f"took {other}; state='model' takes the other weights"
    )


def test_an_average_alone_is_taken(tmp_path):
    assert value(write(tmp_path / "a", {"ema": AVERAGE, "epoch": 3})) == 2


def test_an_average_without_arrays_is_not_offered(tmp_path):
    notes = read_state(write(tmp_path / "a", {"model": WEIGHTS, "ema": {"decay": 0.9}})).notes
    assert notes == ["training checkpoint", "entries ignored: ema"]


def test_any_entry_can_be_chosen(tmp_path):
    path = write(tmp_path / "a", {"teacher": AVERAGE, "student": WEIGHTS})
    assert value(path, "teacher") == 2
    both = "these hold arrays: teacher, student; choose one, such as state='teacher'"
    with pytest.raises(CheckpointError, match=f"no state dict under a usual name; {both}"):
        read_state(path)
    with pytest.raises(CheckpointError, match=f"no state dict 'pupil'; {both}"):
        read_state(path, "pupil")


def test_two_states_of_equal_rank_are_not_chosen_from(tmp_path):
    path = write(tmp_path / "a", {"model": WEIGHTS, "state_dict": AVERAGE})
    with pytest.raises(CheckpointError, match=r"both model and state_dict .*state='model'"):
        read_state(path)
    assert value(path, "state_dict") == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"state": {0: {}}, "param_groups": []}, "a PyTorch optimizer without weights; convert"),
        ({"conv_0.w_0_moment1_0": np.zeros(1)}, r"\(.pdopt\) without weights; convert the .pdpar"),
        ({"LR_Scheduler": {}, "w": np.zeros(1)}, "a PaddlePaddle optimizer"),
    ],
)
def test_the_state_of_an_optimizer_is_named(content, message, tmp_path):
    with pytest.raises(CheckpointError, match=message):
        read_state(write(tmp_path / "a", content))
