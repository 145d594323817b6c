"""Converts a released checkpoint: `fcfrnet-convert INPUT.pdparams OUTPUT_DIR`."""

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from absl import logging
from rich.console import Console
from rich.table import Table

import fcfrnet_jax
from fcfrnet_jax.commands.cli.failures import explain
from fcfrnet_jax.process import quiet_orbax


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line and ends the process with one message where it cannot.

    Args:
      arguments: without the program's name; None for those of the process.
    """
    options = _parser().parse_args(arguments)
    logging.use_absl_handler()
    logging.set_verbosity(options.verbosity)
    quiet_orbax()
    # Imports jax, for which --help should not wait.
    from fcfrnet_jax.weights.convert import convert_paddle, summary

    source, target = options.input.expanduser(), options.output_dir.expanduser()
    try:
        conversion = convert_paddle(
            source,
            target,
            coarse_path=options.coarse and options.coarse.expanduser(),
            strict=options.strict,
            overwrite=options.overwrite,
        )
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        sys.exit(128 + signal.SIGINT)
    except Exception as error:  # of any library
        logging.debug("The error's origin:", exc_info=error)
        message = explain(error, less_memory="use a machine with more memory")
        sys.exit(f"Error: {message.replace('overwrite=True', '--overwrite')}")
    table = Table(title=str(source), show_header=False)
    for row in summary(conversion):
        table.add_row(*row)
    console = Console(markup=False, highlight=False)
    console.print(table)
    console.print(f"Wrote the converted model to {target}", soft_wrap=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Convert a PaddlePaddle checkpoint (.pdparams) of FCFR-Net or of the STD "
        "network, or a PyTorch checkpoint (.pth.tar) of the original STD code. Nothing in the file "
        "is executed."
    )
    parser.add_argument("input", type=Path, help="the checkpoint file")
    parser.add_argument("output_dir", type=Path, help="folder to create for the converted model")
    parser.add_argument(
        "--coarse",
        type=Path,
        metavar="FILE",
        help="checkpoint of the STD network that predicts the coarse depth for INPUT; the result "
        "is one two-stage model",
    )
    parser.add_argument(
        "--strict", action="store_true", help="fail on entries that the network does not have"
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace a converted model in OUTPUT_DIR"
    )
    parser.add_argument(
        "--verbosity",
        type=int,
        default=logging.WARNING,
        metavar="N",
        help="log level; 1 also prints the tracebacks of errors",
    )
    version = f"fcfrnet_jax {fcfrnet_jax.__version__}"
    parser.add_argument("--version", action="version", version=version)
    return parser
