"""Gathers what `accelerator.py` and a training need on a machine without a network, in one folder.

    python -m benchmarks.accelerators.travel --wheels ml-collections --results results \\
        --training output/pretrain -- --config=pretrain_compact

The folder `travel/` then holds pure-Python wheels, earlier results, the newest snapshot of the
training, the sample frames for its validation, and `run.sh`, which installs the wheels, measures
for 6 minutes and trains for the rest of 9:

    bash travel/run.sh OUTPUT_FOLDER --minutes 9 --measure 6 [more arguments of accelerator.py]

The folder is not tracked, and must be sent along with the checkout. What comes back is at most
eight files of at most 16 MB: results, which are sent again with `--results` so that they are not
measured twice, and an archive of the training, for the next time:

    python -m benchmarks.accelerators.travel --unpack OUTPUT_FOLDER output/back
    python -m benchmarks.accelerators.travel ... --training output/back/training -- ...

The same command continues `output/back/training` here.
"""

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

if not __package__:
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.accelerators import archive
from benchmarks.accelerators.results import FILE

ROOT = Path(__file__).resolve().parents[2]
TARGET = ROOT / "travel"
LIMIT_MIB = 50
SCRIPT = """#!/usr/bin/env bash
# Measures and trains: run.sh OUTPUT_FOLDER --minutes 9 [--measure 6] [...]
set -euo pipefail
if [ $# -eq 0 ]; then
    echo "usage: run.sh OUTPUT_FOLDER --minutes 9 [--measure 6] [...]" >&2
    exit 2
fi
here=$(cd "$(dirname "$0")" && pwd)
output=$(realpath -m "$1")
shift
if ls "$here"/wheels/*.whl >/dev/null 2>&1; then
    site=$(mktemp -d)
    python3 -m pip install -q --no-index --no-deps --target "$site" "$here"/wheels/*.whl
    export PYTHONPATH="$site${PYTHONPATH:+:$PYTHONPATH}"
fi
cd "$here/.."
exec python3 -m benchmarks.accelerators.job "$here" "$output" "$@"
"""


def gather(target: Path, wheels: list[str], results: Path | None) -> None:
    """Writes the folder anew, without a training.

    Args:
      target: the folder.
      wheels: names of pure-Python packages to download, without their requirements.
      results: the output folder of an earlier call of `accelerator.py`.

    Raises:
      ValueError: a package has no pure-Python wheel, or there are no such results.
    """
    if results is not None and not (results / FILE).is_file():
        raise ValueError(f"--results={results} has no {FILE}")
    if results is not None and results.resolve().is_relative_to(target.resolve()):
        raise ValueError(f"--results={results} is in {target}, which is written anew")
    shutil.rmtree(target, ignore_errors=True)
    (target / "wheels").mkdir(parents=True)
    for name in wheels:
        line = [sys.executable, "-m", "pip", "download", "-q", "--no-deps"]
        line += ["--only-binary=:all:", "--dest", str(target / "wheels"), name]
        if subprocess.run(line, check=False).returncode:
            raise ValueError(f"{name} cannot be downloaded")
    for path in (target / "wheels").iterdir():
        if not path.name.endswith("-none-any.whl"):
            raise ValueError(f"{path.name} is not a pure-Python package; leave it out")
    if results is not None:
        left_out = shutil.ignore_patterns("archive.tar.*")
        shutil.copytree(results, target / "results", ignore=left_out)
    (target / "run.sh").write_text(SCRIPT, encoding="utf-8")


def gather_training(
    target: Path, workdir: Path, arguments: Sequence[str], sample: Path | None
) -> None:
    """Adds a training to the folder.

    Args:
      target: the folder.
      workdir: of the training; the training starts there if it does not exist.
      arguments: of the training command, without its `--workdir`.
      sample: the folder of the sample frames, if the training is validated on them.
    """
    (target / "training.json").write_text(json.dumps(list(arguments)), encoding="utf-8")
    if workdir.is_dir():
        archive.pack(archive.run_entries(workdir), target)
    if sample is not None:
        shutil.copytree(sample, target / "cache" / "fcfrnet_jax" / sample.name)


def check_size(target: Path) -> None:
    """Raises ValueError if the folder is larger than 50 MiB."""
    size = sum(path.stat().st_size for path in target.rglob("*") if path.is_file()) / 2**20
    if size > LIMIT_MIB:
        raise ValueError(f"{target} has {size:.0f} MiB, at most {LIMIT_MIB} can travel")
    print(f"{target}: {size:.1f} MiB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--wheels", nargs="*", default=[], help="pure-Python packages to download")
    parser.add_argument("--results", type=Path, help="folder of earlier results")
    parser.add_argument("--training", type=Path, help="workdir of a training to continue")
    parser.add_argument("--unpack", type=Path, nargs=2, help="what came back, and a new folder")
    parser.add_argument("arguments", nargs="*", help="after --: the training command's arguments")
    options = parser.parse_args()
    try:
        if options.unpack:
            archive.unpack(*options.unpack)
            return
        gather(TARGET, options.wheels, options.results)
        if options.training:
            sample = None
            if not any(word.startswith("--config.data_dir") for word in options.arguments):
                from fcfrnet_jax.streets.sample import sample_dir

                sample = sample_dir()
            gather_training(TARGET, options.training, options.arguments, sample)
        check_size(TARGET)
    except (OSError, ValueError) as error:
        sys.exit(f"Error: {error}")


if __name__ == "__main__":
    main()
