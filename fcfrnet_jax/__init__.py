"""Depth completion in JAX: sparse LiDAR and a camera image in, dense metric depth out."""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fcfrnet_jax.pictures.point_clouds import point_cloud
    from fcfrnet_jax.prediction.predictor import Predictor, load
    from fcfrnet_jax.process import enable_compile_cache
    from fcfrnet_jax.sensors.calibration import read_calibration
    from fcfrnet_jax.sensors.projection import project
    from fcfrnet_jax.sensors.scans import read_scan
    from fcfrnet_jax.weights.convert import convert_paddle

__all__ = [
    "COMPACT",
    "Predictor",
    "convert_paddle",
    "enable_compile_cache",
    "load",
    "point_cloud",
    "project",
    "read_calibration",
    "read_scan",
]
__version__ = "0.2.0.dev0"
# The two-stage model that comes with the package, trained on rendered streets.
COMPACT = Path(__file__).parent / "pretrained" / "compact"
# Imported at first use, so that importing the package does not import jax.
_MODULES = {
    "Predictor": "fcfrnet_jax.prediction.predictor",
    "convert_paddle": "fcfrnet_jax.weights.convert",
    "enable_compile_cache": "fcfrnet_jax.process",
    "load": "fcfrnet_jax.prediction.predictor",
    "point_cloud": "fcfrnet_jax.pictures.point_clouds",
    "project": "fcfrnet_jax.sensors.projection",
    "read_calibration": "fcfrnet_jax.sensors.calibration",
    "read_scan": "fcfrnet_jax.sensors.scans",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
