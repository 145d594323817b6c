"""Converts a released checkpoint of FCFR-Net or the STD network for fcfrnet_jax.

python convert_paddle_weights.py INPUT.pdparams OUTPUT_DIR
"""

import argparse
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Convert a PaddlePaddle checkpoint (.pdparams) of FCFR-Net or of the STD "
        "network, or a PyTorch checkpoint (.pth.tar) of the original STD code. Nothing that the "
        "file names is executed."
    )
    parser.add_argument("input", type=Path, help="the checkpoint file")
    parser.add_argument("output_dir", type=Path, help="folder to make for the converted model")
    parser.add_argument(
        "--coarse",
        type=Path,
        metavar="FILE",
        help="checkpoint of an STD network that makes the coarse depth for INPUT: "
        "the result is one two-stage model",
    )
    parser.add_argument(
        "--strict", action="store_true", help="end at entries that the network does not have"
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace a converted model in OUTPUT_DIR"
    )
    arguments = parser.parse_args()
    # --help should not wait for jax.
    from fcfrnet_jax.files import describe
    from fcfrnet_jax.weights.convert import convert_paddle, summary

    try:
        conversion = convert_paddle(
            arguments.input,
            arguments.output_dir,
            coarse_path=arguments.coarse,
            strict=arguments.strict,
            overwrite=arguments.overwrite,
        )
    except (ValueError, OSError) as error:
        sys.exit(f"Error: {describe(error)}")
    table = Table(title=str(arguments.input), show_header=False)
    for row in summary(conversion):
        table.add_row(*row)
    console = Console()
    console.print(table)
    console.print(f"Wrote the converted model to {arguments.output_dir}", soft_wrap=True)


if __name__ == "__main__":
    main()
