"""Writes and reads `tf.train.Example`, the format of TFDS's records, without TensorFlow.

Reading returns views, not copies, which TensorFlow's parser makes. Only lists of bytes and of
integers are supported. Protocol buffers: protobuf.dev/programming-guides/encoding;
`tensorflow/core/example/{example,feature}.proto`.
"""

from collections.abc import Iterator, Mapping, Sequence

_FEATURES = 1  # Example.features; Features.feature, a map; the key of an entry of the map
_VALUE = 2  # the value of an entry
_BYTES_LIST, _INT64_LIST = 1, 3
_LENGTH_DELIMITED = 2  # the wire type


def serialise(features: Mapping[str, bytes | Sequence[int]]) -> bytes:
    """Serialises an example. Each feature is one string of bytes, or integers from 0 to 2^63 - 1.

    The same features give the same bytes, whatever their order.
    """
    entries = (_entry(name, features[name]) for name in sorted(features))
    return _field(_FEATURES, b"".join(_field(_FEATURES, entry) for entry in entries))


def parse(record: memoryview) -> dict[str, memoryview]:
    """Returns the features of an example that are bytes, as views.

    Raises:
      ValueError: the record is no example. The message continues a sentence that begins with the
        name of the record.
    """
    found = {}
    try:
        for features in _fields(record, _FEATURES):
            for entry in _fields(features, _FEATURES):
                name = b"".join(_fields(entry, _FEATURES)).decode()
                for feature in _fields(entry, _VALUE):
                    for values in _fields(feature, _BYTES_LIST):
                        found[name] = next(_fields(values, 1))
    except (IndexError, StopIteration, UnicodeDecodeError) as error:
        raise ValueError("is not a tf.train.Example") from error
    return found


def _entry(name: str, value: bytes | Sequence[int]) -> bytes:
    if isinstance(value, bytes):
        feature = _field(_BYTES_LIST, _field(1, value))
    else:
        feature = _field(_INT64_LIST, _field(1, b"".join(map(_varint, value))))
    return _field(_FEATURES, name.encode()) + _field(_VALUE, feature)


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | _LENGTH_DELIMITED) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])


def _fields(message: memoryview, wanted: int) -> Iterator[memoryview]:
    """Yields the contents of the fields with a number; all fields have lengths."""
    offset = 0
    while offset < len(message):
        key, offset = _read_varint(message, offset)
        length, offset = _read_varint(message, offset)
        if key & 7 != _LENGTH_DELIMITED or offset + length > len(message):
            raise IndexError
        if key >> 3 == wanted:
            yield message[offset : offset + length]
        offset += length


def _read_varint(message: memoryview, offset: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[offset]
        value |= (byte & 0x7F) << shift
        offset, shift = offset + 1, shift + 7
        if byte < 0x80:
            return value, offset
