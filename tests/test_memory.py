"""Memory that is kept after it is freed."""

import subprocess
import sys

import pytest

from tests.conftest import ROOT

PROGRAM = """
import ctypes, os, sys
from fcfrnet_jax.memory import keep_freed_memory
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
    program = "from fcfrnet_jax.memory import keep_freed_memory; print(keep_freed_memory())"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={"JAX_PLATFORMS": platforms, "PATH": "/usr/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "False"
