"""Iterates over the batches of a tf.data pipeline."""

import itertools
import weakref
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import tensorflow as tf


class BatchStream:
    """The batches of a tf.data.Dataset as dicts of NumPy arrays; can be iterated repeatedly.

    The arrays are read-only views of TensorFlow's memory. A file that cannot be read raises a
    ValueError that names it.
    """

    def __init__(self, dataset: "tf.data.Dataset", raise_bad: Callable[[int], None]) -> None:
        """Opens the stream.

        Args:
          dataset: of the batches.
          raise_bad: called with the position of a batch that cannot be read, because TensorFlow's
            error does not name the file; checks the files and raises a ValueError if one is bad.
        """
        self._dataset, self._raise_bad = dataset, raise_bad

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        import tensorflow as tf

        source = [self._dataset.as_numpy_iterator()]
        # If a thread still runs a Python function of the chain when the interpreter ends, the
        # process aborts. The finalizer releases the iterator before that.
        release = weakref.finalize(self, source.clear)
        try:
            for position in itertools.count():
                try:
                    batch = next(source[0], None)
                except tf.errors.OpError as error:
                    self._raise_bad(position)
                    raise OSError(f"a batch cannot be read: {error}") from error
                if batch is None:
                    return
                yield batch
        finally:
            release()
