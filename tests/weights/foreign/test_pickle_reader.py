"""The pickle reader against Python's own pickle on trusted values, and against hostile files."""

import contextlib
import io
import pickle
import pickletools
import subprocess
import sys
from collections import OrderedDict, defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fcfrnet_jax.weights.foreign.pickle_nodes import Call, CheckpointError, Global, PersistentId
from fcfrnet_jax.weights.foreign.pickle_reader import read_pickle
from tests.weights.foreign.checkpoint_files import PADDLE_FILES

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**60) + 1, 2**60 - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=20)
    | st.binary(max_size=20)
)
values = st.recursive(
    scalars | st.frozensets(scalars, max_size=4) | st.sets(scalars, max_size=4),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.tuples(inner, inner)
        | st.dictionaries(scalars, inner, max_size=4)
    ),
    max_leaves=20,
)


def read(data: bytes, allow_persistent_ids: bool = False):
    return read_pickle(io.BytesIO(data), allow_persistent_ids)


@settings(max_examples=200)
@given(values, st.integers(4, 5))
def test_plain_values_equal_those_of_pickle(value, protocol):
    root = read(pickle.dumps(value, protocol)).root
    assert root == value
    assert type(root) is type(value)


# Without bytes and sets, which protocols before 3 and 4 write as calls.
old_scalars = (
    st.integers(-(2**100), 2**100) | st.floats(allow_nan=False) | st.text() | st.booleans()
)
old_values = st.recursive(
    old_scalars | st.none(),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner, inner)
    ),
    max_leaves=20,
)


@given(old_values, st.integers(0, 3))
def test_older_protocols_equal_those_of_pickle(value, protocol):
    assert read(pickle.dumps(value, protocol)).root == value


def test_bytes_of_protocol_2_are_read_without_calling_the_codec():
    node = read(pickle.dumps(b"\xff\x00", 2)).root
    assert str(node.function) == "_codecs.encode"
    assert node.arguments == ("\xff\x00", "latin1")


def test_consecutive_pickles_are_read_one_by_one():
    stream = io.BytesIO(pickle.dumps([1], 4) + pickle.dumps("second", 2) + b"rest")
    assert (read_pickle(stream).root, read_pickle(stream).root) == ([1], "second")
    assert stream.read() == b"rest"


@pytest.mark.parametrize("protocol", range(6))
def test_ordered_dict_keeps_its_items(protocol):
    node = read(pickle.dumps(OrderedDict(b=1, a=[2]), protocol)).root
    assert node.function == Global("collections", "OrderedDict")
    assert list(node.items.items()) == [("b", 1), ("a", [2])]


def test_foreign_classes_are_bare_names_and_never_imported():
    before = set(sys.modules)
    contents = read(b"\x80\x02cantigravity_x.deep\nThing\n)\x81}X\x01\x00\x00\x00aK\x01sb.")
    assert isinstance(contents.root, Call)
    assert contents.root.state == {"a": 1}
    assert contents.foreign == (Global("antigravity_x.deep", "Thing"),)
    assert set(sys.modules) == before


def test_new_with_keywords_and_old_style_instances():
    node = read(b"\x80\x04\x8c\x01m\x8c\x01C\x93)}\x8c\x01kK\x05s\x92.").root
    assert (str(node.function), node.arguments, node.keywords) == ("m.C", (), {"k": 5})
    assert read(b"(K\x01im\nC\n.").root.arguments == (1,)
    assert read(b"(cm\nC\nK\x02o.").root.arguments == (2,)


def test_defaultdict_and_appended_lists():
    value = defaultdict(list, a=1)
    assert read(pickle.dumps(value, 4)).root.items == {"a": 1}
    assert read(b"cm\nMyList\n)R(K\x01K\x02e.").root.appended == [1, 2]


def test_persistent_ids_only_where_the_format_has_them():
    contents = read(b"\x80\x02X\x01\x00\x00\x00aQ.", True)
    assert isinstance(contents.root, PersistentId)
    assert (contents.root.value, contents.persistent_ids) == ("a", (contents.root,))
    with pytest.raises(CheckpointError, match=r"persistent id.*byte 8, BINPERSID"):
        read(b"\x80\x02X\x01\x00\x00\x00aQ.")


def named(module: str, name: str) -> bytes:
    """STACK_GLOBAL of protocol 4, which also takes dotted names."""
    text = b"".join(b"\x8c" + bytes([len(part)]) + part.encode() for part in (module, name))
    return b"\x80\x04" + text + b"\x93."


REFUSED_NAMES = """
    os:system posix:system nt:system subprocess:Popen builtins:eval __builtin__:eval
    builtins:getattr commands:getoutput copyreg:__newobj__ copyreg:_reconstructor.__globals__
    collections:OrderedDict.fromkeys collections.abc:Mapping numpy:f2py.compile
    numpy.f2py:compile numpy.testing._private.utils:runstring pickle:loads
    importlib:import_module imp:load_source
"""


@pytest.mark.parametrize("dotted", REFUSED_NAMES.split())
def test_dangerous_names_are_refused_by_name_and_byte(dotted):
    module, name = dotted.split(":")
    with pytest.raises(CheckpointError, match=rf"{module}\.{name}.*at byte \d+, STACK_GLOBAL"):
        read(named(module, name))
    with pytest.raises(CheckpointError, match=rf"{module}\.{name}.*at byte 0, GLOBAL"):
        read(f"c{module}\n{name}\n.".encode())


def test_a_pickle_that_would_run_a_command_does_nothing(tmp_path):
    marker = tmp_path / "marker"
    source = f"open({str(marker)!r}, 'w')"
    for data in (
        f"cos\nsystem\n(S'touch {marker}'\ntR.".encode(),
        f"(S'touch {marker}'\nios\nsystem\n.".encode(),
        f"(cbuiltins\nexec\nS{source!r}\no.".encode(),
    ):
        with pytest.raises(CheckpointError, match="which no checkpoint needs"):
            read(data)
    assert not marker.exists()
    pickle.loads(data)
    assert marker.exists(), "the payload is a working one"


def eight(size: int) -> bytes:
    return size.to_bytes(8, "little")


BROKEN = {
    "extension code": b"\x80\x02\x82\x01.",
    "outside buffer": b"\x80\x05\x97.",
    "opcode .* unknown": b"\x7f.",
    "the stack is empty": b"0.",
    "remain on the stack": b"NN.",
    "no mark": b"Nt.",
    "never stored": b"h\x07.",
    "dict as a dict key": b"}}Ns.",
    "tuple as a dict key": b"})Ns.",
    "list as a dict key or set member": b"\x80\x04\x8f(]\x90.",
    "beyond 2.60": b"}" + pickle.dumps(2**61 - 1, 2)[2:-1] + b"Ns.",
    "given twice": b"}(K\x01NK\x01Nu.",
    "without a value": b"}(K\x01u.",
    "a list cannot take this state": b"]}b.",
    "Global cannot take this state": b"cm\nC\n}b.",
    "cannot append to a dict": b"}Na.",
    "cannot store items in a list": b"]NNs.",
    "a call of a NoneType with a tuple": b"N)R.",
    "a call of a Global with a list": b"cm\nC\n]R.",
    "a name that is not text": b"\x80\x04NN\x93.",
    "not a Python name": b"c../x\ny z\n.",
    "protocol 6": b"\x80\x06N.",
    "integer of 301 bytes": b"\x8b\x2d\x01\x00\x00" + b"\xff" * 300 + b"\x00.",
    "4300 digits": b"I" + b"9" * 9000 + b"\n.",
    "a memo index": b"Np-1\n.",
    "a line of more than": b"S'" + b"a" * (2 << 20) + b"'\n.",
    "10000000000 more bytes": b"\x80\x04\x8e" + eight(10**10) + b"abc.",
    "byte count > sys.maxsize": b"\x80\x05\x96" + eight(2**64 - 1) + b"abc.",
    "9999 more bytes": b"\x80\x04\x95" + eight(9999) + b"N.",
    "4294967295 more bytes": b"X\xff\xff\xff\xffabc.",
    "an integer of -1 bytes": b"\x8b\xff\xff\xff\xff.",
    "can't decode byte": b"\x8c\x01\xff.",
    "a structure that contains itself": b"]\x94h\x00a.",
    "truncated at byte 0": b"",
}


@pytest.mark.parametrize("message", BROKEN)
def test_broken_pickles_are_refused(message):
    with pytest.raises(CheckpointError, match=message):
        read(BROKEN[message])


@pytest.mark.parametrize("call", [b"cm\nC\n(h\x00tR", b"cm\nC\n)Rh\x00b"])
def test_a_structure_that_contains_itself_is_refused(call):
    with pytest.raises(CheckpointError, match="contains itself"):
        read(b"]\x94" + call + b"a.")


def test_a_shared_list_of_64_levels_is_not_expanded():
    data = b"]q\x00" + b"".join(b"0](h%ch%ceq%c" % (i, i, i + 1) for i in range(64)) + b"."
    root = read(data).root
    for _ in range(64):
        assert root[0] is root[1]
        root = root[0]
    assert root == []


DEEP = "nested deeper than 100 levels"
ENDLESS = {
    "tuples": (b")" + b"\x85" * 60_000 + b".", DEEP),
    "lists": (b"]" * 60_000 + b"a" * 59_999 + b".", DEEP),
    "dicts": (b"}" + b"N}" * 40_000 + b"s" * 40_000 + b".", DEEP),
    "calls": (b"cm\nC\n" * 30_000 + b")R" + b"\x85R" * 29_999 + b".", DEEP),
    "marks": (b"(" * 200_000 + b".", "the stack is empty"),
    "sets": (b"\x8f" * 900_000 + b".", "needs more than 40960 KiB for its objects"),
    "opcodes": (b"N0" * 600_000 + b"N.", "needs more than 250000 operations to read"),
}
SUBPROCESS = """
import io, resource, sys
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
from fcfrnet_jax.weights.foreign.pickle_reader import read_pickle
try:
    read_pickle(io.BytesIO(sys.stdin.buffer.read()))
except ValueError as error:
    print(type(error).__name__, error)
"""


@pytest.mark.parametrize("kind", ENDLESS)
def test_deep_or_endless_pickles_end_in_one_error_within_1_gib(kind):
    data, message = ENDLESS[kind]
    command = [sys.executable, "-c", SUBPROCESS]
    done = subprocess.run(command, input=data, capture_output=True, timeout=60, check=True)
    assert done.stdout.decode().startswith(f"CheckpointError {message}")


@pytest.mark.filterwarnings("error")
def test_a_warning_of_python_becomes_one_error():
    with pytest.raises(CheckpointError, match="damaged pickle"):
        read(b"S'\\q'\n.")


@pytest.mark.parametrize("path", PADDLE_FILES, ids=lambda path: path.stem)
def test_every_truncation_of_a_real_file_is_an_error(path):
    data = path.read_bytes()
    for size in range(len(data)):
        with pytest.raises(
            CheckpointError, match=r"truncated at byte \d+: .*; download or copy the file again"
        ):
            read(data[:size])


@pytest.mark.filterwarnings("ignore:invalid")
@settings(max_examples=400)
@given(st.sampled_from(PADDLE_FILES), st.data())
def test_mutated_real_files_are_read_or_refused(path, data):
    content = bytearray(path.read_bytes())
    places = st.tuples(st.integers(0, len(content) - 1), st.integers(0, 255))
    for place, byte in data.draw(st.lists(places, min_size=1, max_size=4)):
        content[place] = byte
    with contextlib.suppress(CheckpointError):
        read(bytes(content), data.draw(st.booleans()))


@pytest.mark.filterwarnings("ignore:invalid")
@settings(max_examples=300)
@given(st.lists(st.sampled_from([op.code.encode("latin-1") for op in pickletools.opcodes])))
def test_random_opcodes_are_read_or_refused(codes):
    with contextlib.suppress(CheckpointError):
        read(b"".join(codes) + b"\x00\n\x00.")


def argument_of(opcode):
    """Bytes that `pickletools` accepts as the argument of an opcode."""
    texts = {"stringnl": b"'a'\n", "stringnl_noescape_pair": b"a\nb\n"}
    if opcode.arg is None:
        return b""
    # Counts, which are zero here, and numbers have at most eight bytes.
    return texts.get(opcode.arg.name, b"1\n" if "nl" in opcode.arg.name else bytes(8))


@pytest.mark.parametrize("opcode", pickletools.opcodes, ids=lambda opcode: opcode.name)
def test_every_opcode_of_pickletools_is_read_or_refused(opcode):
    data = opcode.code.encode("latin-1") + argument_of(opcode)
    assert next(pickletools.genops(data))[0] is opcode
    with contextlib.suppress(CheckpointError):
        read(data + b".", True)
