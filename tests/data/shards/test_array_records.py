"""Records that are read in place, against the reader of the package."""

from pathlib import Path

import numpy as np
import pytest
from array_record.python.array_record_module import ArrayRecordReader

from fcfrnet_jax.data.shards import array_records

# Records that end before, at and after the headers of blocks, at multiples of 65,536 bytes.
SIZES = [1, 3, 65_000, 300, 64, 400, 200_000, 65_536, 65_512, 2, 131_072, 700_000, 5]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    rng = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("records") / "file.array_record"
    records = [rng.bytes(size) for size in SIZES]
    return path, records, array_records.write(path, records)


def test_records_are_those_of_the_package(written):
    path, records, spans = written
    assert ArrayRecordReader(str(path)).read_all() == records
    for record, span in zip(records, spans, strict=True):
        assert array_records.read_checked(path, span).tobytes() == record


def test_equal_records_have_different_places(tmp_path):
    path = tmp_path / "file"
    spans = array_records.write(path, [b"same"] * 3)
    assert len({span.start for span in spans}) == 3


def test_a_truncated_file(written, tmp_path):
    path, _, spans = written
    copy = tmp_path / "copy"
    copy.write_bytes(path.read_bytes()[:100_000])
    with pytest.raises(ValueError, match=r"^is truncated: the file has \d+ bytes less$"):
        array_records.read_checked(copy, spans[6])


def test_a_missing_file(written, tmp_path):
    with pytest.raises(ValueError, match=r"^cannot be read: No such file"):
        array_records.read_checked(tmp_path / "none", written[2][0])


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="it is a device of Linux")
@pytest.mark.parametrize("count", [1, 50])
def test_a_full_disk(count):
    with pytest.raises(OSError, match="No space left on device: '/dev/full'"):
        array_records.write(Path("/dev/full"), [bytes(100_000)] * count)
