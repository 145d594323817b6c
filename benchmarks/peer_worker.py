"""One contender of `peers.py`: makes one call for each line that it reads.

Started by `peers.py` with a JSON object that describes the task. Each contender computes the depth
`[B, H, W]` of the same images and coarse depths with the same variables, and saves the residual. In
mode `train`, a call is one step of Adam on the mean squared error, and the first loss is saved.
"""

import importlib.metadata
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from fcfrnet_jax.networks.specs import CoarseToFineSpec, Spec, TwoStageSpec
from fcfrnet_jax.weights.checkpoint import load_model

Call = Callable[[], Any]
Wait = Callable[[Any], Any]
RATE = 1e-4
# How often the fill has to repeat its last dilation on the frames of the task.
FILL_DILATIONS = 1


class Task:
    """What to compute, and the inputs."""

    def __init__(self, described: dict[str, Any]):
        self.name, self.dtype, self.mode = (described[key] for key in ("name", "dtype", "mode"))
        self.spec: Spec = CoarseToFineSpec(described["layers"], "rgbd", width=described["width"])
        self.trained: dict[str, Any] | None = None
        if described.get("checkpoint"):
            self.spec, self.trained = load_model(described["checkpoint"])
        random = np.random.default_rng(0)
        shape = (described["batch"], *described["size"])
        # Smooth like real depth. With noise, rounding would decide which branch the fusion takes.
        v, u = np.mgrid[: shape[1], : shape[2]]
        depth = 30.0 + 20.0 * np.sin(v / 40.0) + 10.0 * np.cos(u / 60.0)
        self.depth = np.tile(depth.astype(np.float32), (shape[0], 1, 1))[..., None]
        self.image = random.integers(0, 256, (*shape, 3), dtype=np.uint8)
        self.truth = self.depth + random.normal(0, 0.3, self.depth.shape).astype(np.float32)
        self.output = Path(described["output"])
        if self.trained:
            # Every fifth row is one of the scan, below the upper third of the image.
            rows = (v % 5 == 0) & (v > shape[1] // 3) & (random.random(v.shape) < 0.5)
            self.depth = np.where(rows[None, ..., None], self.depth, np.float32(0.0))

    def variables(self) -> dict[str, Any]:
        """The checkpoint's, or random ones with a last layer that returns some metres."""
        if self.trained:
            return self.trained
        from fcfrnet_jax.networks.initialise import initial_variables

        variables = initial_variables(self.spec, 0, "resnet")
        last = variables["params"]["convtf"]
        last["kernel"] = np.random.default_rng(1).normal(0, 5e-3, last["kernel"].shape)
        last["kernel"] = last["kernel"].astype(np.float32)
        return variables

    def folded(self) -> dict[str, Any]:
        from fcfrnet_jax.networks.fold import fold

        return fold(self.spec, self.variables())


def twin_of(task: Task) -> Any:
    """The model in PyTorch, folded for predictions."""
    from benchmarks.torch_patches import CompactTwin
    from benchmarks.torch_twin import Twin, load

    if isinstance(task.spec, TwoStageSpec):
        return CompactTwin(task.spec, task.folded(), FILL_DILATIONS).eval()
    assert isinstance(task.spec, CoarseToFineSpec)
    predict = task.mode == "predict"
    return load(Twin(task.spec, not predict), task.folded() if predict else task.variables())


def with_jax(task: Task) -> tuple[Call, Wait]:
    import jax
    import jax.numpy as jnp

    from fcfrnet_jax import parallel
    from fcfrnet_jax.networks import select
    from fcfrnet_jax.networks.parts import Parts
    from fcfrnet_jax.process import keep_freed_memory
    from fcfrnet_jax.training.objective import Objective
    from fcfrnet_jax.training.optimizers import make_optimizer, make_schedule
    from fcfrnet_jax.training.state import initial_state
    from fcfrnet_jax.training.update import make_update

    # Like the commands.
    keep_freed_memory()
    dtype = jnp.dtype(task.dtype)
    parts = Parts if task.name == "jax-plain" else None
    if task.mode == "predict":
        selected = select.for_prediction(task.spec, task.variables(), dtype, parts=parts)
        network, folded, options = selected
        variables, image, depth = jax.device_put((folded, task.image, task.depth))
        apply = jax.jit(network.apply, compiler_options=options)
        if task.trained:
            return lambda: apply(variables, image, depth)[1], jax.block_until_ready
        return lambda: apply(variables, image, depth), jax.block_until_ready

    network = select.for_training(task.spec, dtype=dtype, parts=parts)
    schedule = make_schedule("constant", RATE)
    optimizer = make_optimizer("adam", schedule)
    one_device = make_update(network, optimizer, schedule, Objective())
    step = parallel.map_global(one_device, donate=True)
    state = parallel.replicate(initial_state(task.variables(), optimizer))
    maps = {"sparse_depth": task.depth, "coarse_depth": task.depth, "ground_truth": task.truth}
    # Copied to the device once, like the tensors of the others.
    batch = jax.pmap(lambda leaf: leaf, parallel.AXIS)(parallel.shard(maps | {"image": task.image}))

    def update() -> Any:
        nonlocal state
        state, metrics = step(state, {}, batch)
        return metrics["loss"][0]

    return update, jax.block_until_ready


def with_torch(task: Task) -> tuple[Call, Wait]:
    import torch

    cuda = torch.cuda.is_available()
    device = torch.device("cuda" if cuda else "cpu")
    torch.backends.cudnn.benchmark = True
    predict = task.mode == "predict"
    # With channels_last, torch.compile 2.13 gives wrong results for the whole model. It chooses the
    # layout of the convolutions itself.
    channels_last = cuda or (predict and not task.trained)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    twin = twin_of(task).to(device, memory_format=layout).train(not predict)
    halved = predict and cuda and task.dtype == "bfloat16"
    if halved:
        # Faster than casting the kernels in every call.
        twin = twin.to(torch.bfloat16)
    channels_first = (0, 3, 1, 2)
    image = torch.from_numpy(task.image.transpose(channels_first).astype(np.float32))
    image, depth, truth = (
        tensor.to(device)
        for tensor in (
            image.contiguous(memory_format=layout),
            torch.from_numpy(task.depth.transpose(channels_first).copy()),
            torch.from_numpy(task.truth.transpose(channels_first).copy()),
        )
    )

    def loss_of(image: Any, depth: Any) -> Any:
        return ((twin(image, depth).float() - truth) ** 2).mean()

    compiled: Any = twin if predict else loss_of
    if task.name in TORCH_MODES:
        import torch._inductor.config as inductor

        inductor.freezing = predict and not cuda
        compiled = torch.compile(compiled, mode=TORCH_MODES[task.name], dynamic=False)
    enabled = task.dtype == "bfloat16" and not halved
    mixed = torch.autocast(device.type, torch.bfloat16, enabled=enabled)

    def wait(result: Any) -> Any:
        if cuda:
            torch.cuda.synchronize()
        return result

    if predict:

        def call() -> Any:
            torch.compiler.cudagraph_mark_step_begin()
            with torch.inference_mode(), mixed:
                return compiled(image, depth)

        return call, wait

    optimizer = torch.optim.Adam(twin.parameters(), RATE, fused=cuda)

    def update() -> Any:
        torch.compiler.cudagraph_mark_step_begin()
        optimizer.zero_grad(set_to_none=True)
        with mixed:
            loss = compiled(image, depth)
        loss.backward()
        optimizer.step()
        # A copy, because the next step may reuse the memory.
        return loss.detach().clone()

    return update, wait


# How `torch.compile` optimises; `torch-graphs` captures CUDA graphs.
TORCH_MODES = {
    "torch-compile": None,
    "torch-graphs": "reduce-overhead",
    "torch-autotune": "max-autotune",
}


def exported(task: Task) -> Path:
    """The folded twin as an ONNX file."""
    import torch

    twin = twin_of(task).eval()
    path = task.output.with_name("twin.onnx")
    shapes = ((task.depth.shape[0], c, *task.depth.shape[1:3]) for c in (3, 1))
    inputs = tuple(torch.zeros(shape) for shape in shapes)
    torch.onnx.export(
        twin, inputs, str(path), input_names=["image", "depth"], output_names=["fine"], dynamo=False
    )
    return path


def channels_first(task: Task) -> dict[str, np.ndarray]:
    arrays = {"image": task.image.astype(np.float32), "depth": task.depth}
    return {k: np.ascontiguousarray(v.transpose(0, 3, 1, 2)) for k, v in arrays.items()}


def with_onnxruntime(task: Task) -> tuple[Call, Wait]:
    import onnxruntime

    if task.dtype != "float32":
        raise SystemExit("onnxruntime has no bfloat16 convolutions on CPUs")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = os.cpu_count()
    providers = onnxruntime.get_available_providers()
    session = onnxruntime.InferenceSession(str(exported(task)), options, providers=providers)
    inputs = channels_first(task)
    return lambda: session.run(None, inputs)[0], lambda result: result


def with_openvino(task: Task) -> tuple[Call, Wait]:
    import openvino

    precision = {"float32": "f32", "bfloat16": "bf16"}[task.dtype]
    hints = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": precision}
    model = openvino.Core().compile_model(str(exported(task)), "CPU", hints)
    inputs, request = channels_first(task), model.create_infer_request()

    def call() -> Any:
        request.infer(inputs)
        return request.get_output_tensor(0).data

    return call, lambda result: result


CONTENDERS = {
    "jax": with_jax,
    "torch": with_torch,
    "torch-compile": with_torch,
    "torch-autotune": with_torch,
    "onnxruntime": with_onnxruntime,
    "openvino": with_openvino,
}


def device_name() -> str:
    if "jax" in sys.modules:
        import jax

        device = jax.devices()[0]
        if device.platform != "cpu":
            return device.device_kind
    if "torch" in sys.modules:
        import torch

        if torch.cuda.is_available():
            return torch.cuda.get_device_name()
    return f"{os.cpu_count()} x {platform.machine()} CPU"


def main() -> None:
    task = Task(json.loads(sys.argv[1]))
    call, wait = CONTENDERS[task.name](task)
    start = time.perf_counter()
    first = wait(call())
    compiling = time.perf_counter() - start
    output = np.asarray(first.float().cpu() if hasattr(first, "cpu") else first, np.float32)
    # Compare the residual only: errors would be small relative to the depth.
    base = task.depth.squeeze() if task.mode == "predict" and not task.trained else 0.0
    np.save(task.output, output.squeeze() - base)
    wait(call())
    package = task.name.split("-")[0]
    version = importlib.metadata.version(package)
    answer = {"first_call_s": compiling, "device": device_name(), "version": version}
    print("answer " + json.dumps(answer), flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        wait(call())
        print("answer " + json.dumps({"seconds": time.perf_counter() - start}), flush=True)


if __name__ == "__main__":
    main()
