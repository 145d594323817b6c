"""Converts a released checkpoint: `fcfrnet-convert INPUT.pdparams OUTPUT_DIR`."""

import argparse
import re
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from absl import logging
from rich.table import Table

import fcfrnet_jax
from fcfrnet_jax.commands.cli.failures import explain
from fcfrnet_jax.process import log_printable, quiet_orbax
from fcfrnet_jax.progress import console
from fcfrnet_jax.text import printable


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line and ends the process with one message where it cannot.

    Args:
      arguments: without the program's name; None for those of the process.
    """
    options = _parser().parse_args(arguments)
    logging.use_absl_handler()
    logging.set_verbosity(options.verbosity)
    log_printable()
    quiet_orbax()
    # Imports jax, for which --help should not wait.
    from fcfrnet_jax.weights.convert import convert_paddle, summary

    source, target = options.input.expanduser(), options.output_dir.expanduser()
    try:
        conversion = convert_paddle(
            source,
            target,
            coarse_path=options.coarse and options.coarse.expanduser(),
            state=options.state,
            coarse_state=options.coarse_state,
            strict=options.strict,
            overwrite=options.overwrite,
        )
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        sys.exit(128 + signal.SIGINT)
    except Exception as error:  # of any library
        logging.debug("The error's origin:", exc_info=error)
        message = explain(error, less_memory="use a machine with more memory")
        sys.exit(printable(f"Error: {_name_options(message)}"))
    table = Table(title=printable(source), show_header=False)
    for name, value in summary(conversion):
        table.add_row(name, _name_options(value))
    output = console()
    output.print(table)
    output.print(f"Wrote the converted model to {target}", soft_wrap=True)


def _name_options(text: str) -> str:
    """Replaces the arguments of `convert_paddle` in a message by the options."""
    text = text.replace("overwrite=True", "--overwrite")
    return re.sub(r"\bstate='([^']*)'", r"--state '\1'", text)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Ends the process with a message, which repeats arguments."""
        super().error(printable(message))


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
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
        "--state",
        metavar="NAME",
        help="entry of INPUT that holds the state dict, such as model_ema; without it, the usual "
        "names are tried",
    )
    parser.add_argument("--coarse-state", metavar="NAME", help="the same for the file of --coarse")
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
