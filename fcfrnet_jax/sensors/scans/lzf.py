"""Decompresses LZF, the compression of binary_compressed PCD files (Marc Lehmann's LibLZF)."""


def decompress(data: bytes, size: int) -> bytes:
    """Decompresses a block.

    Args:
      data: the compressed block.
      size: the number of bytes to which it decompresses.

    Raises:
      ValueError: the block is damaged or has another size.
    """
    output = bytearray()
    position, end = 0, len(data)
    try:
        while position < end:
            if len(output) > size:
                raise ValueError(f"it decompresses to more than {size} bytes")
            control = data[position]
            position += 1
            if control < 32:
                # A run of bytes.
                output += data[position : position + control + 1]
                position += control + 1
                continue
            length = control >> 5
            if length == 7:
                length += data[position]
                position += 1
            start = len(output) - ((control & 31) << 8) - data[position] - 1
            position += 1
            _repeat(output, start, length + 2)
    except IndexError:
        raise ValueError(f"it ends in byte {end} within a reference") from None
    if len(output) != size:
        raise ValueError(f"it decompresses to {len(output)} bytes, expected {size}")
    return bytes(output)


def _repeat(output: bytearray, start: int, length: int) -> None:
    """Appends `length` bytes from `start` on; they may overlap with the bytes that are appended."""
    if start < 0:
        raise ValueError(f"a reference at {len(output)} leads {-start} bytes before the start")
    period = output[start : start + length]
    output += (period * (length // len(period) + 1))[:length]
