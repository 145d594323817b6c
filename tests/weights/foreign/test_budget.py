"""The budget of the reader: what hostile files cost, counted in operations and bytes."""

import io
import pickle

import numpy as np
import pytest

from fcfrnet_jax.weights.foreign import read_state
from fcfrnet_jax.weights.foreign.budget import MAX_NUMBERS, MAX_OPERATIONS, Budget
from fcfrnet_jax.weights.foreign.pickle_nodes import CheckpointError
from fcfrnet_jax.weights.foreign.pickle_reader import read_pickle
from tests.weights.foreign.checkpoint_files import Made, array_of, values, write


def shared_list(count: int) -> bytes:
    return b"\x80\x04](]\x94(" + b"]" * count + b"e" + b"h\x00" * count + b"e."


def shared_in_calls(count: int) -> bytes:
    return b"](cm\nC\nq\x000(" + b"N" * count + b"tq\x010" + b"h\x00h\x01R" * count + b"e."


def shared_tuples(count: int) -> bytes:
    return b"(" + b"N" * count + b"tq\x000](" + b"h\x00\x85" * count + b"e."


@pytest.mark.parametrize("make", [shared_list, shared_in_calls, shared_tuples])
def test_operations_grow_linearly_with_the_file(make):
    spent = []
    for count in (1000, 2000, 4000):
        budget = Budget(1 << 20)
        read_pickle(io.BytesIO(make(count)), budget=budget)
        spent.append(budget.spent)
    assert spent[2] - spent[1] == 2 * (spent[1] - spent[0])
    assert spent[2] < 10 * 4000


def numbers(count: int, opcodes: bytes) -> bytes:
    keys = [i << 40 for i in range(count // 2)] + [i + 0.5 for i in range(count - count // 2)]
    pairs = [values(key) + (b"N" if opcodes == b"u" else b"") for key in keys]
    start = {b"u": b"}(", b"\x90": b"\x8f(", b"\x91": b"("}[opcodes]
    return b"\x80\x04" + start + b"".join(pairs) + opcodes + b"."


@pytest.mark.parametrize("opcodes", [b"u", b"\x90", b"\x91"], ids=["dict", "set", "frozenset"])
def test_numbers_that_may_collide_are_counted(opcodes):
    read_pickle(io.BytesIO(numbers(MAX_NUMBERS, opcodes)))
    with pytest.raises(CheckpointError, match="more than 4096 numbers as dict keys or set members"):
        read_pickle(io.BytesIO(numbers(MAX_NUMBERS + 1, opcodes)))


def test_the_budget_of_a_small_file_is_small():
    with pytest.raises(CheckpointError, match="needs more than 80 operations"):
        Budget(10).spend(81)
    with pytest.raises(CheckpointError, match="needs more than 3 KiB for its objects"):
        Budget(10).spend(1, 4001)
    with pytest.raises(CheckpointError, match=f"needs more than {MAX_OPERATIONS} operations"):
        Budget(1 << 40).spend(MAX_OPERATIONS + 1)


def test_the_smallest_checkpoints_are_within_their_budget(tmp_path):
    for protocol in (2, 3, 4, 5):
        state = {"": np.zeros(1, np.float32)}
        assert read_state(write(tmp_path / "a", state, protocol)).arrays


def test_one_block_of_data_is_not_decoded_for_every_entry(tmp_path):
    """Text of protocol 2 is encoded only if its length is right; the failures are not counted."""
    text = "\xff" * 1000
    short = [array_of(shape=(2,), data=text) for _ in range(1000)]
    path = write(tmp_path / "a", dict(zip(map(str, range(1000)), short, strict=True)), 2)
    with pytest.raises(CheckpointError, match=r"unusable entries \(20 or more\): 0 \(1000 bytes"):
        read_state(path)


@pytest.mark.parametrize("protocol", [2, 4])
def test_entries_that_share_data_are_together_at_most_as_large_as_the_file(tmp_path, protocol):
    array = np.zeros(1000, np.float32)
    assert read_state(write(tmp_path / "a", {"a": array}, protocol)).arrays
    with pytest.raises(CheckpointError, match="the entries share data: together they are larger"):
        read_state(write(tmp_path / "a", {"a": array, "b": array}, protocol))


def test_a_prefix_that_is_repeated_in_a_name_is_stripped_at_once(tmp_path):
    state = {"module." * 140 + "w": np.zeros(1), "module." * 150 + "w": np.zeros(1)}
    with pytest.raises(CheckpointError, match=r"module\.+ \(a name of 1051 characters\)"):
        read_state(write(tmp_path / "a", state))
    del state["module." * 150 + "w"]
    assert list(read_state(write(tmp_path / "a", state)).arrays) == ["w"]


def test_a_huge_shared_tuple_is_not_searched_for_every_array(tmp_path):
    shape = (1,) * 3000
    arrays = {str(i): array_of(shape=shape, data=b"\0" * 4) for i in range(30)}
    with pytest.raises(CheckpointError, match="an impossible array shape"):
        read_state(write(tmp_path / "a", arrays))


def test_wide_text_is_refused_before_it_is_decoded():
    text = "a" * (1 << 20) + "\U0001f600"
    with pytest.raises(CheckpointError, match="1048580 bytes of text with characters beyond Latin"):
        read_pickle(io.BytesIO(pickle.dumps(text, 4)))
    latin = "\xff" * (1 << 20)
    assert read_pickle(io.BytesIO(pickle.dumps(latin, 4))).root == latin


def test_a_call_of_another_class_costs_no_more_than_its_opcodes():
    budget = Budget(1 << 20)
    read_pickle(io.BytesIO(pickle.dumps([Made(dict, ()) for _ in range(100)], 4)), budget=budget)
    assert budget.spent < 1000
