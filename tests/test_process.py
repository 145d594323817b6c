"""Memory and compiled programs that are kept."""

import gc
import os
import subprocess
import sys

import pytest

from fcfrnet_jax.process import collect_rarely
from tests.conftest import ROOT

PROGRAM = """
import ctypes, os, sys
from fcfrnet_jax.process import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
size = 300 * 2**20
block = bytearray(size)
del block
pages = int(open("/proc/self/statm").read().split()[1])
print(pages * os.sysconf("SC_PAGE_SIZE") > size)
"""


def stays_mapped(choice):
    line = [sys.executable, "-c", PROGRAM, choice]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip() == "True"


@pytest.mark.skipif(sys.platform != "linux", reason="it is a setting of glibc")
def test_freed_memory_stays_mapped_where_asked():
    assert stays_mapped("keep")
    assert not stays_mapped("leave")


@pytest.mark.parametrize("platforms", ["cuda", "cuda,cpu", "tpu"])
def test_nothing_is_done_for_an_accelerator(platforms):
    program = "from fcfrnet_jax.process import keep_freed_memory; print(keep_freed_memory())"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={"JAX_PLATFORMS": platforms, "PATH": "/usr/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "False"


def compiled_files(tmp_path, **environment):
    """What a program that keeps what it compiles leaves in the user's cache."""
    program = "import jax; from fcfrnet_jax.process import keep_compiled; keep_compiled(); "
    program += "jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.0); "
    program += "print(jax.jit(lambda x: x + 1)(41))"
    names = {"JAX_COMPILATION_CACHE_DIR", "XDG_CACHE_HOME"}
    kept = {name: value for name, value in os.environ.items() if name not in names}
    line = [sys.executable, "-c", program]
    environment = kept | {"XDG_CACHE_HOME": str(tmp_path / "cache")} | environment
    done = subprocess.run(
        line, cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "42"
    return {folder.name: any(folder.rglob("*-cache")) for folder in tmp_path.glob("cache/*/*")}


def test_compiled_programs_are_kept(tmp_path):
    assert compiled_files(tmp_path) == {"compiled": True}


def test_a_folder_that_is_set_already_stays(tmp_path):
    assert compiled_files(tmp_path, JAX_COMPILATION_CACHE_DIR=str(tmp_path / "mine")) == {}
    assert any((tmp_path / "mine").iterdir())


def test_without_a_place_to_keep_them_programs_run_all_the_same(tmp_path):
    (tmp_path / "cache").write_text("a file")
    assert compiled_files(tmp_path) == {}


def test_flags_of_the_config_come_after_the_environment_s():
    program = (
        "from fcfrnet_jax.process import add_xla_flags\n"
        "add_xla_flags('--xla_force_host_platform_device_count=3')\n"
        "import jax; print(jax.device_count())"
    )
    environment = {"JAX_PLATFORMS": "cpu"}
    environment["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "3"


def test_what_is_no_flag_ends_the_command_with_a_line():
    line = [sys.executable, "-m", "fcfrnet_jax.main", "--config=configs/eval.py"]
    done = subprocess.run(
        [*line, "--config.xla_flags=fast"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith("XLA flags look like --xla_NAME=VALUE, got 'fast'")


def test_garbage_is_looked_for_rarely():
    def looks():
        phases = []
        gc.callbacks.append(lambda phase, _: phases.append(phase))
        try:
            kept = [[] for _ in range(10_000)]
        finally:
            gc.callbacks.pop()
        assert len(kept) == 10_000
        return len(phases)

    before = gc.get_threshold()
    try:
        gc.set_threshold(700, *before[1:])
        gc.collect()
        assert looks() > 10
        collect_rarely()
        gc.collect()
        assert looks() == 0
    finally:
        gc.set_threshold(*before)
