"""What the reading of one untrusted file may cost, so that no file can stop the reader."""

from fcfrnet_jax.weights.foreign.pickle_nodes import CheckpointError

# A training checkpoint of these networks takes about 30,000 operations. With 700 entries, Adam's
# moments and averaged weights it would take 130,000, and 13 MiB of objects. One operation takes
# 1 to 2 us.
MAX_OPERATIONS = 250_000
OPERATIONS_PER_BYTE = 8
MAX_OBJECTS = 40 << 20
OBJECTS_PER_BYTE = 400
# Python's hash of a number is known, so that chosen numbers collide: a dict of them takes quadratic
# time. An optimizer's state has one integer key for each parameter.
MAX_NUMBERS = 4096


class Budget:
    """The operations and bytes that are left for one file.

    Both grow linearly with the size of the file up to a fixed limit. The values of arrays do not
    count: they are views of the file's data, or copies, whose total is at most the file's size.

    Attributes:
      spent: the operations so far: opcodes, references that are followed, arrays that are decoded.
      allocated: an upper estimate of the bytes of all objects so far, without the arrays' values.
      copied: the bytes of the arrays so far.
    """

    def __init__(self, file_size: int):
        """Sets the limits for a file of `file_size` bytes."""
        self.spent = self.allocated = self.copied = self._numbers = 0
        self._file_size = file_size
        self._operations = min(OPERATIONS_PER_BYTE * file_size, MAX_OPERATIONS)
        self._objects = min(OBJECTS_PER_BYTE * file_size, MAX_OBJECTS)

    def spend(self, operations: int, allocated: int = 0) -> None:
        """Counts operations and the bytes of the objects that they make.

        Raises:
          CheckpointError: more than this file may take.
        """
        self.spent += operations
        self.allocated += allocated
        if self.spent > self._operations:
            raise CheckpointError(f"needs more than {self._operations} operations to read")
        if self.allocated > self._objects:
            raise CheckpointError(f"needs more than {self._objects >> 10} KiB for its objects")

    def copy(self, size: int) -> None:
        """Counts the bytes of an array. Entries may share one block of data any number of times.

        Raises:
          CheckpointError: all arrays together are larger than the file.
        """
        self.copied += size
        if self.copied > self._file_size:
            raise CheckpointError("the entries share data: together they are larger than the file")

    def add_number(self) -> None:
        """Counts a number that is a dict key or set member.

        Raises:
          CheckpointError: there are more than `MAX_NUMBERS`.
        """
        self._numbers += 1
        if self._numbers > MAX_NUMBERS:
            raise CheckpointError(f"more than {MAX_NUMBERS} numbers as dict keys or set members")
