"""Runs every test on eight virtual CPU devices, as the pmap tests need."""

import gc
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

# Must be set before jax initialises its backend, and so before any test module imports jax.
os.environ["JAX_PLATFORMS"] = "cpu"


def xla_flags(devices: int) -> str:
    """The XLA flags of the tests and of the commands that they start.

    Compilation takes most of the tests' time, and optimisation takes a third of it. Optimised
    programs would save less, because they run for milliseconds.
    """
    count = f"--xla_force_host_platform_device_count={devices}"
    return f"{count} --xla_backend_optimization_level=0"


os.environ["XLA_FLAGS"] = xla_flags(8)
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"

# Many tests compile the same steps. Workers, and commands that tests start, share the compiled
# programs. A folder that is already set is kept for the next run.
OWN_CACHE = "JAX_COMPILATION_CACHE_DIR" not in os.environ
if OWN_CACHE:
    os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="fcfrnet-jax-tests-")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.5")

from tests import tiny_networks  # noqa: E402

ROOT = Path(__file__).parent.parent

# The time of an example depends on compilation and on the load of the machine.
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")

# As in the commands (`process.collect_rarely`): tracing creates millions of long-lived objects.
gc.set_threshold(20_000, *gc.get_threshold()[1:])


def pytest_sessionfinish() -> None:
    # Parallel workers inherit the folder from the process that started them, which ends last.
    if OWN_CACHE:
        shutil.rmtree(os.environ["JAX_COMPILATION_CACHE_DIR"], ignore_errors=True)


@pytest.fixture(scope="session", autouse=True)
def no_fsync() -> Iterator[None]:
    """Does not wait for the disk, which only matters for a power cut; tests write many files."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield


@pytest.fixture(scope="session")
def kitti_real() -> Path:
    """The folder of real KITTI frames, whose licence does not allow distributing them here."""
    folder = ROOT.parent / "shared" / "kitti_real"
    if not folder.is_dir():
        pytest.skip(
            "needs the real KITTI frames in ../shared/kitti_real, which may not be distributed"
        )
    return folder


@pytest.fixture(scope="session")
def real_sensors() -> Path:
    """The folder of recordings of several sensors, whose licences forbid distributing them."""
    folder = ROOT.parent / "shared" / "sensors"
    if not folder.is_dir():
        pytest.skip("needs the recordings in ../shared/sensors, which may not be distributed")
    return folder


@pytest.fixture
def short_resnet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shortens ResNet-18 in one test."""
    tiny_networks.shorten_resnet(monkeypatch)


@pytest.fixture(scope="module")
def short_resnets() -> Iterator[None]:
    """Shortens ResNet-18 in all tests and fixtures of a module."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        tiny_networks.shorten_resnet(monkeypatch)
        yield
