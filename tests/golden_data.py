"""Golden data of the reference implementation, and the stand-in weights behind them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fcfrnet_jax.networks.specs import StageSpec
from fcfrnet_jax.weights import convert
from tests.golden import stand_in_weights

FOLDER = Path(__file__).parent / "golden"
MODELS = ("fcfrnet18_rgbd", "fcfrnet34_gd", "std18_rgbd", "std34_gd")
# For tests in which all models run the same code: one model in the quick tests, all of them in CI.
ONE_QUICK = [MODELS[0], *(pytest.param(name, marks=pytest.mark.slow) for name in MODELS[1:])]
STATE_SPEC: dict[str, dict[str, list[int]]] = json.loads(
    (FOLDER / "paddle_state_spec.json").read_text()
)


def load(name: str) -> dict[str, np.ndarray]:
    with np.load(FOLDER / f"{name}.npz") as data:
        return dict(data)


def state_dict(name: str, seed: int) -> dict[str, np.ndarray]:
    """The Paddle state dict of stand-in weights for a model of `STATE_SPEC`."""
    kind = "std" if name.startswith("std") else "fcfrnet"
    return stand_in_weights.state_dict(kind, STATE_SPEC[name], seed)


def model(name: str, seed: int) -> tuple[StageSpec, dict[str, Any]]:
    """Spec and variables of stand-in weights, through the converter's rules."""
    arrays = state_dict(name, seed)
    spec = convert.recognise(arrays)
    return spec, convert.to_variables(arrays, spec, strict=True)[0]


def image(golden: dict[str, np.ndarray], spec: StageSpec) -> np.ndarray:
    """The golden image that the modality needs."""
    return golden["rgb" if spec.modality.startswith("rgb") else "gray"]
