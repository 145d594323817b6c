"""Files of NumPy that claim more than they have, or unpack to more than is wanted."""

import io
import zipfile

import numpy as np
import pytest

from fcfrnet_jax import numpy_files


def header(shape: tuple[int, ...]) -> bytes:
    stream = io.BytesIO()
    fields = {"descr": "<f4", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, fields)
    return stream.getvalue()


def load(data: bytes):
    return numpy_files.load(io.BytesIO(data))


def test_arrays_are_those_of_numpy():
    stream, array = io.BytesIO(), np.arange(6.0).reshape(2, 3)
    np.savez_compressed(stream, a=array, b=array.T, empty=np.zeros((0, 3)), one=np.float32(1))
    found, expected = load(stream.getvalue()), np.load(io.BytesIO(stream.getvalue()))
    assert [*found] == expected.files
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values)


def test_a_header_that_claims_more_than_the_file_has():
    data = header((10**6, 10**6)) + bytes(40)
    with pytest.raises(ValueError, match=r"claims 4,000,000,000,000 bytes of float32 .*, it has 1"):
        load(data)


def test_a_small_file_that_unpacks_to_gigabytes_is_not_unpacked():
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("depth.npy", header((1,)) + bytes(4))
    data = stream.getvalue()
    # The sizes before and after compression in the list of the archive.
    place = data.index(b"PK\x01\x02") + 24
    data = data[:place] + (3_600_000_000).to_bytes(4, "little") + data[place + 4 :]
    with pytest.raises(ValueError, match=r"^holds 3,600,000,000 bytes, more than 1,0"):
        load(data)
