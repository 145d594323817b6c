"""Reads untrusted pickles as inert data: nothing that a file names is imported or called.

`pickle` runs any code that a file names. Here `opcodes` splits the file into opcodes, and a table
maps each opcode to a method that only moves values on a stack; no method calls anything. A call
that the file requests is returned as a `Call`, which the reader of a format recognises.
"""

from collections.abc import Callable
from typing import Any, BinaryIO, TypeAlias

from fcfrnet_jax.weights.foreign.budget import Budget
from fcfrnet_jax.weights.foreign.opcodes import BoundedStream, opcodes
from fcfrnet_jax.weights.foreign.pickle_nodes import (
    AGAIN,
    Call,
    CheckpointError,
    Global,
    PersistentId,
    PickleContents,
    is_known,
    printable_name,
)
from fcfrnet_jax.weights.foreign.structure import check_depth, check_keys, store_pairs

MAX_INTEGER_BITS = 128
# Estimates of the bytes that the objects of an opcode take, with their places on the stack, in the
# memo and in the object that refers to them.
_COSTS = {"EMPTY_SET": 320, "EMPTY_DICT": 320, "DICT": 320, "FROZENSET": 320}
_CALL, _OTHER = 480, 96
_COSTS.update(
    dict.fromkeys(("REDUCE", "NEWOBJ", "NEWOBJ_EX", "INST", "OBJ", "PERSID", "BINPERSID"), _CALL)
)
# A name is checked against several lists.
_NAME_OPERATIONS = 4


def read_pickle(
    file: BinaryIO, allow_persistent_ids: bool = False, budget: Budget | None = None
) -> PickleContents:
    """Reads one pickle of protocol 0 to 5 from a seekable `file`; the position is then after it.

    Time and memory are bounded by the size of the file, see `Budget`. Declared lengths beyond the
    end of the file and integers of more than `MAX_INTEGER_BITS` bits are refused.

    Args:
      file: a binary file, at the first byte of the pickle.
      allow_persistent_ids: whether the format has persistent ids, as PyTorch's does.
      budget: what is left for the file; None for a whole budget.

    Raises:
      CheckpointError: the pickle is truncated, damaged or nested too deeply, needs too many
        operations or objects, or names something in the standard library or NumPy that no
        checkpoint needs. The message gives the byte.
    """
    stream = BoundedStream(file)
    budget = budget or Budget(stream.size)
    machine = _Machine(stream, allow_persistent_ids, budget)
    try:
        for step in opcodes(stream):
            machine.execute(*step)
        root = machine.result()
        check_depth(root, budget)
    except CheckpointError:
        raise
    # Python warns of invalid escapes in text, which raises where warnings are errors.
    except (ValueError, OverflowError, RecursionError, Warning) as error:
        reason = printable_name(str(error) or type(error).__name__)
        where = f"damaged pickle before byte {stream.tell()}"
        raise CheckpointError(f"{where}: {reason}; {AGAIN}") from error
    foreign = tuple(sorted(machine.foreign, key=str))
    return PickleContents(root, tuple(machine.persistent_ids), foreign)


class _Machine:
    """The stack and memo of a pickle, with one method per kind of opcode; none calls anything."""

    def __init__(self, stream: BoundedStream, allow_persistent_ids: bool, budget: Budget):
        self.stream = stream
        self.budget = budget
        self.allow_persistent_ids = allow_persistent_ids
        self.stack: list[Any] = []
        self.marks: list[int] = []
        # A dict, so that a huge index takes no memory.
        self.memo: dict[int, Any] = {}
        self.persistent_ids: list[PersistentId] = []
        self.foreign: set[Global] = set()

    def execute(self, opcode: str, argument: Any, position: int) -> None:
        try:
            self.budget.spend(1, _COSTS.get(opcode, _OTHER))
            _HANDLERS[opcode](self, argument)
        except CheckpointError as error:
            raise CheckpointError(f"{error} (at byte {position}, {opcode})") from None

    def result(self) -> Any:
        value = self.pop()
        if self.stack or self.marks:
            raise CheckpointError("values or marks remain on the stack")
        return value

    def top(self) -> Any:
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise CheckpointError("the stack is empty")
        return self.stack[-1]

    def pop(self) -> Any:
        self.top()
        return self.stack.pop()

    def pop_many(self, count: int) -> list:
        return [self.pop() for _ in range(count)][::-1]

    def pop_marked(self) -> list:
        """Removes the last mark and returns everything above it."""
        if not self.marks:
            raise CheckpointError("no mark on the stack")
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def push_integer(self, value: int) -> None:
        if value.bit_length() > MAX_INTEGER_BITS:
            raise CheckpointError(f"an integer of {value.bit_length()} bits")
        self.push(value)

    def push_persistent(self, value: Any) -> None:
        if not self.allow_persistent_ids:
            raise CheckpointError("a persistent id, which this format does not have")
        self.persistent_ids.append(PersistentId(value))
        self.push(self.persistent_ids[-1])

    def discard(self, _: Any) -> None:
        if self.marks and self.marks[-1] == len(self.stack):
            self.marks.pop()
        else:
            self.pop()

    def get(self, index: int) -> None:
        if index not in self.memo:
            raise CheckpointError("a memo entry that was never stored")
        self.push(self.memo[index])

    def put(self, index: int | None) -> None:
        index = len(self.memo) if index is None else index
        if not 0 <= index < 1 << 32:
            raise CheckpointError("a memo index outside 0 to 2^32")
        self.memo[index] = self.top()

    def append(self, values: list) -> None:
        target = self.top()
        if not isinstance(target, list | Call):
            raise CheckpointError(f"cannot append to a {type(target).__name__}")
        (target.appended if isinstance(target, Call) else target).extend(values)

    def add(self, values: list) -> None:
        target = self.top()
        if not isinstance(target, set):
            raise CheckpointError(f"cannot add members to a {type(target).__name__}")
        target.update(check_keys(values, self.budget))

    def push_dict(self, _: Any) -> None:
        pairs = self.pop_marked()
        self.push({})
        self.store(pairs)

    def push_frozenset(self, _: Any) -> None:
        self.push(frozenset(check_keys(self.pop_marked(), self.budget)))

    def store(self, pairs: list) -> None:
        target = self.top()
        if not isinstance(target, dict | Call):
            raise CheckpointError(f"cannot store items in a {type(target).__name__}")
        store_pairs(target.items if isinstance(target, Call) else target, pairs, self.budget)

    def named(self, module: Any, name: Any) -> Global:
        if not (isinstance(module, str) and isinstance(name, str)):
            raise CheckpointError("a name that is not text")
        self.budget.spend(_NAME_OPERATIONS)
        found = Global(module, name)
        if not is_known(found):
            self.foreign.add(found)
        return found

    def push_call(self, function: Any, arguments: Any, keywords: Any = None) -> None:
        if not (isinstance(function, Global) and isinstance(arguments, tuple)):
            kinds = f"a {type(function).__name__} with a {type(arguments).__name__}"
            raise CheckpointError(f"a call of {kinds}, expected a name with a tuple")
        if not isinstance(keywords, dict | None):
            raise CheckpointError(f"keyword arguments in a {type(keywords).__name__}")
        self.push(Call(function, arguments, keywords or {}))

    def push_instance(self, text: str) -> None:
        arguments = tuple(self.pop_marked())
        self.push_call(self.named(*text.split(" ", 1)), arguments)

    def push_object(self, _: Any) -> None:
        function, *arguments = self.pop_marked() or [None]
        self.push_call(function, tuple(arguments))

    def build(self, _: Any) -> None:
        state, target = self.pop(), self.top()
        if not isinstance(target, Call) or target.state is not None:
            raise CheckpointError(f"a {type(target).__name__} cannot take this state")
        target.state = state

    def check_protocol(self, version: int) -> None:
        if version > 5:
            raise CheckpointError(f"pickle protocol {version}, expected 0 to 5")

    def refuse(self, _: Any) -> None:
        raise CheckpointError("an extension code or outside buffer, which no checkpoint needs")


_Handler: TypeAlias = Callable[[_Machine, Any], None]


def _from_mark(make: Callable[[list], Any]) -> _Handler:
    """A handler that turns everything above the last mark into one value."""
    return lambda machine, _: machine.push(make(machine.pop_marked()))


def _each(opcodes: str, handler: _Handler) -> dict[str, _Handler]:
    return dict.fromkeys(opcodes.split(), handler)


_HANDLERS: dict[str, _Handler] = {
    **_each("INT LONG LONG1 LONG4 BININT BININT1 BININT2", _Machine.push_integer),
    **_each("STRING BINSTRING SHORT_BINSTRING UNICODE BINUNICODE", _Machine.push),
    **_each("SHORT_BINUNICODE BINUNICODE8 FLOAT BINFLOAT", _Machine.push),
    **_each("BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8", _Machine.push),
    **_each("EXT1 EXT2 EXT4 NEXT_BUFFER READONLY_BUFFER", _Machine.refuse),
    **_each("GET BINGET LONG_BINGET", _Machine.get),
    **_each("PUT BINPUT LONG_BINPUT MEMOIZE", _Machine.put),
    "NONE": lambda machine, _: machine.push(None),
    "NEWTRUE": lambda machine, _: machine.push(True),
    "NEWFALSE": lambda machine, _: machine.push(False),
    "EMPTY_LIST": lambda machine, _: machine.push([]),
    "EMPTY_TUPLE": lambda machine, _: machine.push(()),
    "EMPTY_DICT": lambda machine, _: machine.push({}),
    "EMPTY_SET": lambda machine, _: machine.push(set()),
    "TUPLE1": lambda machine, _: machine.push(tuple(machine.pop_many(1))),
    "TUPLE2": lambda machine, _: machine.push(tuple(machine.pop_many(2))),
    "TUPLE3": lambda machine, _: machine.push(tuple(machine.pop_many(3))),
    "TUPLE": _from_mark(tuple),
    "LIST": _from_mark(list),
    "DICT": _Machine.push_dict,
    "FROZENSET": _Machine.push_frozenset,
    "APPEND": lambda machine, _: machine.append(machine.pop_many(1)),
    "APPENDS": lambda machine, _: machine.append(machine.pop_marked()),
    "SETITEM": lambda machine, _: machine.store(machine.pop_many(2)),
    "SETITEMS": lambda machine, _: machine.store(machine.pop_marked()),
    "ADDITEMS": lambda machine, _: machine.add(machine.pop_marked()),
    "MARK": lambda machine, _: machine.marks.append(len(machine.stack)),
    "POP_MARK": lambda machine, _: machine.pop_marked().clear(),
    "POP": _Machine.discard,
    "DUP": lambda machine, _: machine.push(machine.top()),
    "GLOBAL": lambda machine, text: machine.push(machine.named(*text.split(" ", 1))),
    "STACK_GLOBAL": lambda machine, _: machine.push(machine.named(*machine.pop_many(2))),
    "REDUCE": lambda machine, _: machine.push_call(*machine.pop_many(2)),
    "NEWOBJ": lambda machine, _: machine.push_call(*machine.pop_many(2)),
    "NEWOBJ_EX": lambda machine, _: machine.push_call(*machine.pop_many(3)),
    "INST": _Machine.push_instance,
    "OBJ": _Machine.push_object,
    "BUILD": _Machine.build,
    "PERSID": _Machine.push_persistent,
    "BINPERSID": lambda machine, _: machine.push_persistent(machine.pop()),
    "PROTO": _Machine.check_protocol,
    "FRAME": lambda machine, size: machine.stream.require(size),
    "STOP": lambda machine, _: None,
}
