"""Errors relative to the golden data of the reference implementation, on the device at hand."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from fcfrnet_jax.networks import models, select
from fcfrnet_jax.weights import convert
from tests.golden import stand_in_weights

FOLDER = Path(__file__).resolve().parents[2] / "tests" / "golden"


def golden(name: str, dtype: str, precision: str) -> dict[str, float]:
    """Compares the outputs of a model with golden data.

    Args:
      name: a file of golden data.
      dtype: of the convolutions.
      precision: of products of float32 matrices, as for `jax.default_matmul_precision`.

    Returns:
      Depth errors in mm, as root mean square and maximum: of the plain network and of the one that
      predicts in eval mode, and of the one that trains in train mode; and the relative error of the
      loss.
    """
    with np.load(FOLDER / f"{name}.npz") as data:
        found = dict(data)
    state_spec = json.loads((FOLDER / "paddle_state_spec.json").read_text(encoding="utf-8"))
    kind = "std" if name.startswith("std") else "fcfrnet"
    state = stand_in_weights.state_dict(kind, state_spec[name], int(found["seed"]))
    spec = convert.recognise(state)
    variables = convert.to_variables(state, spec, strict=True)[0]
    image = found["rgb" if spec.modality.startswith("rgb") else "gray"]
    depth, truth, wanted = found["depth"], found["gt"], found["pred_eval"]
    plain = models.build(spec, dtype=jnp.dtype(dtype))
    fast, folded, options = select.for_prediction(spec, variables, jnp.dtype(dtype))
    trained = select.for_training(spec, dtype=jnp.dtype(dtype))

    def train(variables: models.Variables) -> Any:
        return trained.apply(variables, image, depth, train=True, mutable=["batch_stats"])[0]

    programs = {
        "plain": (jax.jit(plain.apply), (variables, image, depth)),
        "predicting": (jax.jit(fast.apply, compiler_options=options), (folded, image, depth)),
        "training": (jax.jit(train), (variables,)),
    }
    with jax.default_matmul_precision(precision):
        lowered = {form: jitted.lower(*given) for form, (jitted, given) in programs.items()}
    with ThreadPoolExecutor() as pool:
        compiled = dict(
            zip(lowered, pool.map(lambda each: each.compile(), lowered.values()), strict=True)
        )
    found_depth = {
        form: np.asarray(compiled[form](*given), np.float64)
        for form, (_, given) in programs.items()
    }
    row: dict[str, float] = {}
    for form, depth_of in found_depth.items():
        if form == "training":
            row |= _errors(form, depth_of, found["pred_train"])
        else:
            row |= _errors(form, np.maximum(depth_of, 0.9), wanted)
    training = found_depth["training"]
    loss = np.mean(((training - truth) ** 2)[truth > 0])
    return row | {"loss_relative": float(abs(loss / found["loss"] - 1))}


def _errors(form: str, depth: npt.ArrayLike, wanted: np.ndarray) -> dict[str, float]:
    error = 1e3 * (np.asarray(depth, np.float64) - wanted)
    return {
        f"{form}_rmse_mm": float(np.sqrt(np.mean(error**2))),
        f"{form}_max_mm": float(np.abs(error).max()),
    }
