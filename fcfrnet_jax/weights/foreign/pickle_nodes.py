"""The inert nodes that represent an untrusted pickle, and the names that it may contain.

Names of the standard library and of NumPy must be on a fixed list. Any other name belongs to the
author's own code (`metrics.Result`) and is kept as text, which is never looked up.
"""

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from fcfrnet_jax.files import list_some
from fcfrnet_jax.text import printable

MAX_AXES = 32
AGAIN = "download or copy the file again"


class CheckpointError(ValueError):
    """A checkpoint that is damaged, hostile, or in an unsupported format."""


@dataclass(frozen=True, slots=True)
class Global:
    """The name of a function or class in a pickle."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


# The nodes below compare by identity and have short representations, because comparing or printing
# a hostile tree may never end.
@dataclass(eq=False, repr=False, slots=True)
class Call:
    """A call that a pickle requests; it is recorded and never made.

    Attributes:
      function: the name of the function or class.
      arguments: the positional arguments.
      keywords: the keyword arguments, in practice always empty.
      state: what the opcode BUILD passes to the new object, or None.
      items: what the pickle stores in the object by key.
      appended: what the pickle appends to the object.
    """

    function: Global
    arguments: tuple
    keywords: dict = field(default_factory=dict)
    state: Any = None
    items: dict = field(default_factory=dict)
    appended: list = field(default_factory=list)

    def is_plain(self) -> bool:
        """Whether there are no keywords, state, items or appended values."""
        return self.state is None and not (self.keywords or self.items or self.appended)


def is_call(node: Any, *names: str) -> bool:
    """Whether `node` is a call, with positional arguments only, of one of the dotted `names`."""
    return isinstance(node, Call) and not node.keywords and str(node.function) in names


@dataclass(frozen=True, eq=False, repr=False, slots=True)
class PersistentId:
    """A reference to data outside the pickle, such as a PyTorch storage."""

    value: Any


@dataclass(frozen=True, eq=False, repr=False, slots=True)
class PickleContents:
    """The contents of one pickle.

    Attributes:
      root: plain Python values, `Global`, `Call` and `PersistentId`, at most 100 levels deep and
        without cycles. Do not print, compare or copy a whole root: parts may be shared so often
        that it would never end.
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
# Modules that were removed from later Python versions stay guarded in those versions.
_DROPPED_ROOTS = (
    "asynchat asyncore audioop cgi cgitb crypt distutils imp nntplib nt pipes posix smtpd telnetlib"
)
_GUARDED_ROOTS = frozenset(
    {*sys.stdlib_module_names, *_PYTHON2_ROOTS.split(), *_DROPPED_ROOTS.split(), "numpy"}
)


def is_known(name: Global) -> bool:
    """Whether `name` is one of the names of the standard library and NumPy that checkpoints use.

    Returns:
      False for a name of other code.

    Raises:
      CheckpointError: another name of the standard library or NumPy, or not a Python name.
    """
    full = str(name)
    if full in _KNOWN_NAMES:
        return True
    if name.module.partition(".")[0] in _GUARDED_ROOTS:
        raise CheckpointError(f"names {printable(full)}, which no checkpoint needs")
    if len(full) > 300 or not all(part.isidentifier() for part in full.split(".")):
        raise CheckpointError(f"names {printable(full)!r}, which is not a Python name")
    return False


def is_possible_shape(shape: tuple) -> bool:
    """Whether `shape` is a valid NumPy shape; a size of 0 must not hide impossible sizes."""
    # The length first: thousands of arrays may share one huge tuple.
    if len(shape) > MAX_AXES:
        return False
    sizes = all(type(size) is int and 0 <= size < 1 << 40 for size in shape)
    return sizes and math.prod(max(size, 1) for size in shape) < 1 << 59


def printable_name(text: object) -> str:
    """Makes untrusted text safe for a message: one line of at most 80 printable characters."""
    return printable(text, 80)


def list_printable(texts: Sequence[object], limit: int = 8) -> str:
    """Names the first untrusted `texts` and counts the rest, see `files.list_some`."""
    shown = [printable_name(text) for text in texts[:limit]]
    return list_some([*shown, *texts[limit:]], limit)
