"""What a pickle from a stranger is turned into, and which names it may hold.

Names of the standard library and of NumPy must stand in an exact list. Any other root is
a stranger's own code (`metrics.Result`): it is kept as a bare name, which nobody ever looks up.
"""

import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

MAX_DEPTH = 100


class CheckpointError(ValueError):
    """A checkpoint that is damaged, hostile, or in no format that is read here."""


@dataclass(frozen=True, slots=True)
class Global:
    """A function or class that a pickle names."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


# The nodes below compare by identity and print shortly: anything else would walk a hostile tree.
@dataclass(eq=False, repr=False, slots=True)
class Call:
    """A call that a pickle asks for and that was not made.

    Attributes:
      function: what would have been called.
      arguments: its positional arguments.
      keywords: its keyword arguments, in practice always empty.
      state: what BUILD would have handed to the new object, None if nothing.
      items: what would have been stored in it by key.
      appended: what would have been appended to it.
    """

    function: Global
    arguments: tuple
    keywords: dict = field(default_factory=dict)
    state: Any = None
    items: dict = field(default_factory=dict)
    appended: list = field(default_factory=list)

    def is_plain(self) -> bool:
        """Whether the call is all there is: no keywords, state, items or appended values."""
        return self.state is None and not (self.keywords or self.items or self.appended)


@dataclass(frozen=True, eq=False, repr=False, slots=True)
class PersistentId:
    """A reference to data kept outside the pickle, such as PyTorch's storages."""

    value: Any


@dataclass(frozen=True, eq=False, repr=False, slots=True)
class PickleContents:
    """One pickle.

    Attributes:
      root: Python's plain values, `Global`, `Call` and `PersistentId`, at most 100 levels deep and
        never inside themselves. Parts may be shared so often that to print, compare or copy a
        hostile root would never end: look only at what is expected.
      persistent_ids: every persistent id, in the order of the file.
      foreign: the names from outside NumPy and the standard library, sorted.
    """

    root: Any
    persistent_ids: tuple[PersistentId, ...]
    foreign: tuple[Global, ...]


_NUMPY_NAMES = [
    f"numpy.{core}.{name}"
    for core in ("core", "_core")
    for name in ("multiarray._reconstruct", "multiarray.scalar", "numeric._frombuffer")
]
_BUILTIN_NAMES = [
    f"{module}.{name}"
    for module in ("builtins", "__builtin__")
    for name in ("tuple", "list", "dict", "set", "frozenset", "bytes", "bytearray", "object")
]
_PATH_NAMES = [
    f"{module}.{pure}{flavour}Path"
    for module in ("pathlib", "pathlib._local")
    for pure in ("", "Pure")
    for flavour in ("", "Posix", "Windows")
]
_OTHER_NAMES = (
    "numpy.ndarray numpy.dtype _codecs.encode argparse.Namespace copyreg._reconstructor "
    "copy_reg._reconstructor collections.OrderedDict collections.defaultdict collections.Counter"
)
_KNOWN_NAMES = frozenset([*_NUMPY_NAMES, *_BUILTIN_NAMES, *_PATH_NAMES, *_OTHER_NAMES.split()])
_PYTHON2_ROOTS = (
    "__builtin__ copy_reg exceptions commands cPickle cStringIO StringIO Queue SocketServer "
    "UserDict UserList UserString ConfigParser HTMLParser httplib urllib urllib2 urlparse "
    "xmlrpclib thread popen2 os2 sets new compiler imputil ihooks user rexec Bastion anydbm dbhash"
)
# Modules that some Python versions have dropped stay guarded in the versions after them.
_DROPPED_ROOTS = (
    "asynchat asyncore audioop cgi cgitb crypt distutils imp nntplib nt pipes posix smtpd telnetlib"
)
_GUARDED_ROOTS = frozenset(
    {*sys.stdlib_module_names, *_PYTHON2_ROOTS.split(), *_DROPPED_ROOTS.split(), "numpy"}
)


def is_known(name: Global) -> bool:
    """Whether `name` belongs to the standard library or NumPy and has its place in checkpoints.

    Returns:
      False for a stranger's name.

    Raises:
      CheckpointError: a name of the standard library or NumPy that no checkpoint needs, or no name.
    """
    full = str(name)
    if full in _KNOWN_NAMES:
        return True
    if name.module.partition(".")[0] in _GUARDED_ROOTS:
        raise CheckpointError(f"names {shorten(full)}, which no checkpoint needs")
    if len(full) > 300 or not all(part.isidentifier() for part in full.split(".")):
        raise CheckpointError(f"names {shorten(full)!r}, which is no Python name")
    return False


def check_keys(values: Iterable) -> Iterable:
    """Returns `values` if each can be a dict key: a scalar whose hash cannot be forged.

    Nested tuples hash by recursion in C, and multiples of 2^61 - 1 all hash to 0.
    """
    for value in values:
        if type(value) not in (str, bytes, int, float, bool, type(None)):
            raise CheckpointError(f"a {type(value).__name__} as a dict key or set member")
        if isinstance(value, int) and abs(value) >> 60:
            raise CheckpointError("an integer beyond 2^60 as a dict key or set member")
    return values


def store_pairs(target: dict, pairs: list) -> None:
    """Stores `pairs`, an alternating list of keys and values, in `target`; no key may repeat."""
    if len(pairs) % 2:
        raise CheckpointError("a key without a value")
    for key, value in zip(check_keys(pairs[::2]), pairs[1::2], strict=True):
        if key in target:
            raise CheckpointError("a key given twice in one dict")
        target[key] = value


def _children(node: Any) -> list:
    children: Iterable = ()
    if isinstance(node, dict):
        children = node.values()
    elif isinstance(node, list | tuple):
        children = node
    elif isinstance(node, Call):
        children = (node.arguments, node.keywords, node.state, node.items, node.appended)
    elif isinstance(node, PersistentId):
        children = (node.value,)
    return [
        child for child in children if isinstance(child, dict | list | tuple | Call | PersistentId)
    ]


def check_depth(root: Any) -> None:
    """Raises CheckpointError if a tree is deeper than `MAX_DEPTH` or inside itself; no recursion.

    Takes linear time however often parts are shared.
    """
    on_path = -1
    depths: dict[int, int] = {}
    pending = [root]
    while pending:
        node = pending[-1]
        children = _children(node)
        if id(node) not in depths:
            depths[id(node)] = on_path
            if any(depths.get(id(child)) == on_path for child in children):
                raise CheckpointError("a structure that contains itself")
            pending.extend(child for child in children if id(child) not in depths)
            continue
        pending.pop()
        if depths[id(node)] == on_path:
            depths[id(node)] = 1 + max((depths[id(child)] for child in children), default=0)
            if depths[id(node)] > MAX_DEPTH:
                raise CheckpointError(f"nested deeper than {MAX_DEPTH} levels")


def shorten(text: str) -> str:
    """Makes a stranger's text fit for a message: ASCII, one line, at most 80 characters."""
    plain = ascii(text[:200])[1:-1]
    return plain if len(plain) <= 80 else plain[:77] + "..."


def list_some(texts: list[str], limit: int = 8) -> str:
    """Joins the first `limit` of `texts` and says how many more there are."""
    more = f" and {len(texts) - limit} more" if len(texts) > limit else ""
    return ", ".join(shorten(text) for text in texts[:limit]) + more
