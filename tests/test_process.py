"""Settings of the whole process, tested in new processes where they cannot be undone."""

import gc
import os
import subprocess
import sys
from logging import WARNING, LogRecord

import pytest
from absl import logging

from fcfrnet_jax.process import (
    add_xla_flags,
    collect_rarely,
    enable_compile_cache,
    log_printable,
    quiet_tensorflow,
)
from tests.conftest import ROOT

KEEP = "from fcfrnet_jax.process import keep_freed_memory; kept = keep_freed_memory(); "
# Whether 300 MiB stay mapped after they were freed.
FREE = """
import os
size = 300 * 2**20
block = bytearray(size)
del block
pages = int(open("/proc/self/statm").read().split()[1])
print(pages * os.sysconf("SC_PAGE_SIZE") > size)
"""
LIBRARIES = ("jax", "tensorflow", "cv2")


def run(program, **environment):
    """Runs a Python program and returns what it prints."""
    command = [sys.executable, "-c", program]
    kept = {name: value for name, value in os.environ.items() if name not in environment}
    given = {name: value for name, value in environment.items() if value is not None}
    return subprocess.run(
        command, cwd=ROOT, env=kept | given, capture_output=True, text=True, check=True
    ).stdout.strip()


@pytest.mark.skipif(sys.platform != "linux", reason="it is a setting of glibc")
@pytest.mark.parametrize(("settings", "mapped"), [(KEEP, "True"), ("", "False")])
def test_freed_memory_stays_mapped_on_request(settings, mapped):
    assert run(settings + FREE) == mapped


@pytest.mark.skipif(sys.platform != "linux", reason="it is a setting of glibc")
@pytest.mark.parametrize(("call", "kept"), [("keep_arrays_of_frames", "True"), ("str", "False")])
def test_the_arrays_of_frames_stay_mapped_on_request(call, kept):
    blocks = """
arrays = [bytearray(4 * 2**20) for _ in range(40)]
del arrays
print(int(open("/proc/self/statm").read().split()[1]) * 4096 > 120 * 2**20)
"""
    assert run(f"from fcfrnet_jax.process import *; {call}()" + blocks) == kept


@pytest.mark.parametrize("platforms", ["cuda", "cuda,cpu", "tpu"])
def test_freed_memory_is_returned_if_an_accelerator_may_be_used(platforms):
    assert run(KEEP + "print(kept)", JAX_PLATFORMS=platforms) == "False"


def test_importing_it_imports_no_library():
    program = "import sys, fcfrnet_jax.process; print(*sys.modules)"
    assert not set(LIBRARIES) & set(run(program).split())


def compiled_files(tmp_path, cache_dir=None):
    """The folders of the user's cache, and whether each has a program that was compiled."""
    program = (
        "import jax; from fcfrnet_jax.process import enable_compile_cache; enable_compile_cache(); "
        "jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.0); "
        "print(jax.jit(lambda x: x + 1)(41))"
    )
    user = str(tmp_path / "cache")
    assert run(program, XDG_CACHE_HOME=user, JAX_COMPILATION_CACHE_DIR=cache_dir) == "42"
    return {folder.name: any(folder.rglob("*-cache")) for folder in tmp_path.glob("cache/*/*")}


def test_compiled_programs_are_kept_for_their_owner(tmp_path):
    assert compiled_files(tmp_path) == {"compiled": True}
    folder = tmp_path / "cache" / "fcfrnet_jax" / "compiled"
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_cache_that_is_set_already_is_used(tmp_path):
    assert compiled_files(tmp_path, str(tmp_path / "mine")) == {}
    assert any((tmp_path / "mine").iterdir())


def test_programs_of_others_are_kept_on_request(tmp_path):
    folder = tmp_path / "mine" / "compiled"
    program = (
        "import jax, fcfrnet_jax; jax.jit(lambda x: x + 1)(1); "
        f"print(fcfrnet_jax.enable_compile_cache({str(folder)!r})); "
        "jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.0); "
        "jax.jit(lambda x: x + 2)(1)"
    )
    environment = {"XDG_CACHE_HOME": str(tmp_path / "other"), "JAX_COMPILATION_CACHE_DIR": None}
    assert run(program, **environment) == str(folder)
    assert any(folder.glob("*-cache"))
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("mode", [0o770, 0o702])
def test_a_cache_that_others_can_change_is_not_used(mode, tmp_path, caplog):
    folder = tmp_path / "compiled"
    folder.mkdir()
    folder.chmod(mode)
    assert enable_compile_cache(folder) is None
    assert f"{folder} is not used for compiled programs, because other users can" in caplog.text


def test_programs_run_without_a_cache(tmp_path):
    (tmp_path / "cache").write_text("a file")
    assert compiled_files(tmp_path) == {}


def test_xla_flags_are_added_after_those_of_the_environment(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_a=1")
    add_xla_flags(" --xla_a=2  --xla_b ")
    assert os.environ["XLA_FLAGS"] == "--xla_a=1  --xla_a=2  --xla_b"


def test_of_repeated_xla_flags_the_last_one_counts():
    count = "--xla_force_host_platform_device_count"
    program = (
        f"from fcfrnet_jax.process import add_xla_flags; add_xla_flags('{count}=3'); "
        "import jax; print(jax.device_count())"
    )
    assert run(program, JAX_PLATFORMS="cpu", XLA_FLAGS=f"{count}=2") == "3"


def test_other_words_are_not_xla_flags(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_a=1")
    with pytest.raises(ValueError, match="XLA flags look like --xla_NAME=VALUE, got 'fast'"):
        add_xla_flags("--xla_b=2 fast")
    assert os.environ["XLA_FLAGS"] == "--xla_a=1"


def test_settings_of_the_user_for_tensorflow_stay(monkeypatch):
    monkeypatch.setattr(os, "environ", {"TF_CPP_MIN_LOG_LEVEL": "0"})
    quiet_tensorflow()
    assert os.environ["TF_CPP_MIN_LOG_LEVEL"] == "0"
    assert os.environ["TF_USE_LEGACY_KERAS"] == "1"


def collections_while_creating(count):
    """How often Python starts or ends a garbage collection while it creates objects."""
    phases = []
    gc.callbacks.append(lambda phase, _: phases.append(phase))
    try:
        kept = [[] for _ in range(count)]
    finally:
        gc.callbacks.pop()
    assert len(kept) == count
    return len(phases)


def test_garbage_is_collected_rarely():
    before = gc.get_threshold()
    try:
        gc.set_threshold(700, *before[1:])
        gc.collect()
        assert collections_while_creating(10_000) > 10
        collect_rarely()
        gc.collect()
        assert collections_while_creating(10_000) == 0
    finally:
        gc.set_threshold(*before)


def test_the_log_does_not_control_the_terminal():
    log_printable()
    for arguments, shown in ((("\x1b[2J",), r"\x1b[2J\u202e"), ((), r"%s\u202e")):
        record = LogRecord("absl", WARNING, "a.py", 1, "%s\u202e", arguments, None)
        assert logging.get_absl_handler().filter(record)
        assert record.getMessage() == shown
