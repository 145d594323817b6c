"""Compiles FCFR-Net for TPUs on a machine without one, and prints the compiler's estimates.

    pip install 'jax[tpu]'
    python benchmarks/tpu_aot.py --chip v5e --batch 8
    python benchmarks/tpu_aot.py --chip v6e --mode train --batch 4

Prints the memory that a chip needs, the compiler's estimate of the cycles by kind of operation, and
the corresponding share of the chip's peak in bfloat16. These are estimates, not measurements. Only
one process at a time can use libtpu. Compiling for the published size takes minutes. Needs jax,
libtpu, flax and optax.
"""

import argparse
import collections
import json
import os
import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import jax

# libtpu's names for hosts of four chips. Given a name, it does not query the machine.
HOSTS = {"v5e": "v5litepod-4", "v6e": "v6e-4"}
# Peak of the matrix units in bfloat16: 197 TFLOP/s at 1.5 GHz, 918 TFLOP/s at 1.75 GHz.
OPERATIONS_A_CYCLE = {"v5e": 4 * 2 * 128**2, "v6e": 4 * 2 * 256**2}
MEMORY_GIB = {"v5e": 16, "v6e": 32}
GIB = 2**30
CYCLES = re.compile(r'"estimated_cycles":"(\d+)"')


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--chip", choices=sorted(HOSTS), default="v5e")
    parser.add_argument("--mode", choices=("predict", "train"), default="predict")
    parser.add_argument("--network", choices=("coarse", "fine", "joint"), default="fine")
    parser.add_argument("--layers", type=int, choices=(18, 34, 50), default=34)
    parser.add_argument("--width", type=int, default=64, help="channels at full resolution")
    parser.add_argument("--size", type=int, nargs=2, default=(352, 1216), help="rows, columns")
    parser.add_argument("--batch", type=int, nargs="+", default=[8], help="frames a chip")
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument(
        "--packed",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="pack pairs of pixels at full resolution",
    )
    parser.add_argument(
        "--remat",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="in training, recompute activations in the backward pass",
    )
    parser.add_argument(
        "--longest", type=int, default=0, help="list this many of the longest operations"
    )
    parser.add_argument("--json", type=Path, help="file for the rows")
    return parser.parse_args()


def lowered(options: argparse.Namespace, batch: int, devices: Any) -> "jax.stages.Lowered":
    """Lowers prediction on one chip, or a training step on all of them."""
    import jax
    import jax.numpy as jnp
    from jax.sharding import NamedSharding, PartitionSpec

    from benchmarks.model import describe, random_batch
    from fcfrnet_jax.networks import models, select
    from fcfrnet_jax.networks.parts import Parts
    from fcfrnet_jax.networks.tpu.parts import PackedParts
    from fcfrnet_jax.parallel import AXIS
    from fcfrnet_jax.training.objective import Objective
    from fcfrnet_jax.training.optimizers import make_optimizer, make_schedule
    from fcfrnet_jax.training.state import initial_state
    from fcfrnet_jax.training.update import make_update

    spec = describe(options.network, options.layers, options.width)
    folded = options.mode == "predict"
    parts = PackedParts if options.packed and select.can_pack(spec) else Parts
    remat = not folded and options.remat
    network = models.build(
        spec, dtype=jnp.dtype(options.dtype), folded=folded, remat=remat, parts=parts
    )
    mesh = jax.sharding.Mesh(devices[:1] if folded else devices, AXIS)
    everywhere, split = PartitionSpec(), PartitionSpec(AXIS)

    def placed(tree: Any, part: PartitionSpec = everywhere) -> Any:
        place = NamedSharding(mesh, part)
        return jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place), tree
        )

    frames = random_batch(batch * mesh.size, *options.size)
    depth = frames["coarse_depth" if options.network == "fine" else "sparse_depth"]
    variables = models.shapes_of(network)
    if folded:
        return jax.jit(network.apply).lower(*placed((variables, frames["image"], depth)))
    schedule = make_schedule("constant", 1e-5)
    optimizer = make_optimizer("adam", schedule)
    state = jax.eval_shape(lambda v: initial_state(v, optimizer), variables)
    update = make_update(network, optimizer, schedule, Objective())
    shared = jax.shard_map(
        lambda state, batch: update(state, {}, batch),
        mesh=mesh,
        in_specs=(everywhere, split),
        out_specs=everywhere,
        check_vma=False,
    )
    return jax.jit(shared, donate_argnums=0).lower(placed(state), placed(frames, split))


def kinds(text: str) -> tuple[dict[str, int], list[tuple[int, str]]]:
    """Estimated cycles by kind of operation and for each operation, the longest first."""
    cycles: dict[str, int] = collections.Counter()
    each = []
    for line in text.splitlines():
        found = CYCLES.search(line)
        if not found:
            continue
        name = line.strip().removeprefix("ROOT ").split(" = ")[0].lstrip("%")
        count = int(found.group(1))
        # Names tell the kind of operation: convolution_add_fusion.3, copy.17. Fusions that contain
        # a convolution may have other names; they are the only output fusions.
        kind = next((k for k in ("convolution", "copy", "pad", "transpose") if k in name), "other")
        if "kind=kOutput" in line:
            kind = "convolution"
        cycles[kind] += count
        each.append((count, line.strip()[:200]))
    return dict(cycles), sorted(each, reverse=True)


def measure(options: argparse.Namespace, batch: int, devices: Any) -> dict[str, Any]:
    import jax

    # Operations are known only for local devices. With packing, products with zeros would count.
    plain = argparse.Namespace(**vars(options) | {"packed": False, "remat": False})
    analysis = lowered(plain, batch, jax.devices()[:1]).cost_analysis()
    start = time.perf_counter()
    compiled = lowered(options, batch, devices).compile()
    memory, text = compiled.memory_analysis(), compiled.as_text()
    assert analysis is not None
    assert memory is not None
    assert text is not None
    operations = analysis["flops"]
    cycles, each = kinds(text)
    total = sum(cycles.values())
    for count, line in each[: options.longest]:
        print(f"{count:>12} {line}")
    return {
        "chip": options.chip,
        "mode": options.mode,
        "network": options.network,
        "batch": batch,
        "compile_s": time.perf_counter() - start,
        "temporary_gib": memory.temp_size_in_bytes / GIB,
        "arguments_gib": memory.argument_size_in_bytes / GIB,
        "million_cycles_a_frame": total / batch / 1e6,
        "tflop_a_frame": operations / batch / 1e12,
        "share_of_peak": operations / (total * OPERATIONS_A_CYCLE[options.chip]),
        "shares": {kind: count / total for kind, count in sorted(cycles.items())},
    }


def main() -> None:
    options = parse()
    os.environ |= {
        "JAX_PLATFORMS": "cpu",
        "TPU_SKIP_MDS_QUERY": "1",
        "TPU_ACCELERATOR_TYPE": HOSTS[options.chip],
        "TPU_WORKER_HOSTNAMES": "localhost",
    }
    from jax.experimental import topologies

    topology = topologies.get_topology_desc(platform="tpu", topology_name=f"{options.chip}:2x2")
    rows = []
    for batch in options.batch:
        row = measure(options, batch, topology.devices)
        rows.append(row)
        shares = ", ".join(f"{kind} {share:.0%}" for kind, share in row["shares"].items())
        print(
            f"{options.chip}, {options.mode}, batch {batch}: "
            f"{row['million_cycles_a_frame']:.1f} M cycles a frame "
            f"({row['share_of_peak']:.0%} of the peak; {shares}); "
            f"{row['temporary_gib']:.2f} GiB of temporaries and {row['arguments_gib']:.2f} of "
            f"arguments of {MEMORY_GIB[options.chip]}; compiled in {row['compile_s']:.0f} s",
            flush=True,
        )
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    if not __package__:
        # Run as a command, possibly without installing the package.
        sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    main()
