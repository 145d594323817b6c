"""Arrays in folders that orbax has written, and their digest."""

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest

from fcfrnet_jax.weights import arrays

TREE = {
    "kernel": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
    "state": ({"count": np.array(7, np.int32)}, np.array([True, False])),
    "half": np.arange(5).astype(jax.numpy.bfloat16),
}


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stored") / "tree #1 %"
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(folder, arrays.by_name(TREE))
    return folder


def test_arrays_of_every_kind_are_read_exactly(stored):
    named = arrays.by_name(TREE)
    assert set(named) == {"kernel", "state.0.count", "state.1", "half"}
    found = arrays.read_arrays(stored, check=lambda _: None)
    assert arrays.digest(found) == arrays.digest(named)
    for name, array in named.items():
        np.testing.assert_array_equal(found[name], array)


def test_the_types_are_checked_before_anything_is_read(stored):
    def check(found):
        assert found["kernel"] == "float32 (2, 3, 4)"
        raise ValueError("too large")

    with pytest.raises(ValueError, match=r"^too large$"):
        arrays.read_arrays(stored, check)


def test_differences_are_named():
    found, wanted = {"a": "f4 (2,)", "b": "f4 ()"}, {"a": "f4 (3,)", "c": "f4 ()"}
    expected = "a is f4 (2,), expected f4 (3,), b is f4 (), expected nothing, c is missing, "
    assert arrays.differences(found, wanted) == f"{expected}expected f4 ()"
    assert arrays.differences(found, found) == ""


def test_the_digest_detects_every_difference():
    one = {"a": np.arange(6, dtype=np.int32), "b": np.zeros((0, 3), np.float32)}
    changes = ({"a": one["a"][::-1]}, {"a": one["a"].reshape(2, 3)}, {"a": one["a"].astype("f4")})
    others = [
        one | change for change in (*changes, {"b": np.zeros((0, 4), np.float32)}, {"c": one["a"]})
    ]
    assert arrays.digest(dict(reversed(one.items()))) == arrays.digest(one)
    assert len({arrays.digest(each) for each in (one, *others)}) == 6
