"""Runs every test on eight virtual CPU devices, as the pmap tests need."""

import gc
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

# Must be set before jax makes its backend, so before any test module imports it.
os.environ["JAX_PLATFORMS"] = "cpu"


def xla_flags(devices: int) -> str:
    """What the tests, and commands that they start, run with.

    Almost all of the tests' time goes into compiling, of which a third is the optimisation of code
    that then runs for milliseconds.
    """
    count = f"--xla_force_host_platform_device_count={devices}"
    return f"{count} --xla_backend_optimization_level=0"


os.environ["XLA_FLAGS"] = xla_flags(8)
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"

# Many tests compile the same steps; workers and commands that tests start share what is compiled.
# Where a folder is set already, it stays for the next run.
OWN_CACHE = "JAX_COMPILATION_CACHE_DIR" not in os.environ
if OWN_CACHE:
    os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="fcfrnet-jax-tests-")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.5")

from tests import tiny_networks  # noqa: E402

ROOT = Path(__file__).parent.parent

# What is slow here is compiling, and a busy machine.
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")

# As in the commands, see `process.collect_rarely`: tracing makes millions of objects that stay.
gc.set_threshold(20_000, *gc.get_threshold()[1:])


def pytest_sessionfinish() -> None:
    # Parallel workers find it set by the process that started them, which ends last.
    if OWN_CACHE:
        shutil.rmtree(os.environ["JAX_COMPILATION_CACHE_DIR"], ignore_errors=True)


@pytest.fixture(scope="session")
def kitti_real() -> Path:
    """The folder of real KITTI frames; its licence forbids to ship them with the project."""
    folder = ROOT.parent / "shared" / "kitti_real"
    if not folder.is_dir():
        pytest.skip(
            "needs the real KITTI frames in ../shared/kitti_real, which are not ours to ship"
        )
    return folder


@pytest.fixture
def short_resnet(monkeypatch: pytest.MonkeyPatch) -> None:
    """For one test."""
    tiny_networks.shorten_resnet(monkeypatch)


@pytest.fixture(scope="module")
def short_resnets() -> Iterator[None]:
    """For all tests and fixtures of a module."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        tiny_networks.shorten_resnet(monkeypatch)
        yield
