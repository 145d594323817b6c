"""State dicts of narrow networks, with the names of released checkpoints."""

from functools import cache

from tests import golden_data


@cache
def cut_state(name, width):
    divisor = 64 // width
    state = golden_data.state_dict(name, 1)

    def cut(key, array):
        keep = [
            size if (key.startswith("convtf") and axis == 0) or (size in (1, 3) and axis > 0)
            else max(size // divisor, 1)
            for axis, size in enumerate(array.shape)
        ]  # fmt: skip
        return array[tuple(slice(size) for size in keep)]

    return {key: cut(key, array) for key, array in state.items()}


def narrow_state(name="std18_rgbd", width=4):
    """The state dict of a narrow network: slices of the full one's arrays."""
    return {key: array.copy() for key, array in cut_state(name, width).items()}
