"""Examples against the protocol buffers of TensorFlow."""

import pytest

from fcfrnet_jax.data.shards.example import parse, serialise

FEATURES = {"b": b"x" * 300, "a/shape": (1242, 0, 3, 2**40), "empty": b"", "a": bytes(range(256))}


def test_tensorflow_reads_what_is_written():
    from tensorflow.train import Example

    found = Example.FromString(serialise(FEATURES)).features.feature
    assert found.keys() == FEATURES.keys()
    assert tuple(found["a/shape"].int64_list.value) == FEATURES["a/shape"]
    assert all(found[name].bytes_list.value[:] == [FEATURES[name]] for name in ("a", "b", "empty"))


def test_what_tensorflow_writes_is_read():
    from tensorflow.train import Example

    record = Example.FromString(serialise(FEATURES)).SerializeToString()
    found = {name: bytes(value) for name, value in parse(memoryview(record)).items()}
    assert found == {name: FEATURES[name] for name in ("a", "b", "empty")}


def test_the_order_of_the_features_does_not_matter():
    assert serialise(dict(reversed(FEATURES.items()))) == serialise(FEATURES)


@pytest.mark.parametrize("length", [1, 100, 500])
def test_truncated_examples(length):
    with pytest.raises(ValueError, match=r"^is not a tf\.train\.Example$"):
        parse(memoryview(serialise(FEATURES)[:length]))
