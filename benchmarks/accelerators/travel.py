"""Gathers what `accelerator.py` needs on a machine without a network, in one folder.

    python -m benchmarks.accelerators.travel --wheels ml-collections --results results

The folder `travel/` then holds pure-Python wheels, earlier results, and `run.sh`, which installs
the wheels and continues the measurements:

    bash travel/run.sh OUTPUT_FOLDER MINUTES [more arguments of accelerator.py]

The folder is not tracked, and must be sent along with the checkout. Results that come back are
sent again with `--results`, so that they are not measured twice.
"""

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TARGET = ROOT / "travel"
LIMIT_MIB = 50
SCRIPT = """#!/usr/bin/env bash
# Continues the measurements of benchmarks/accelerator.py: run.sh OUTPUT_FOLDER MINUTES [...]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
output=$1 minutes=$2
shift 2
mkdir -p "$output"
if ls "$here"/wheels/*.whl >/dev/null 2>&1; then
    site=$(mktemp -d)
    python3 -m pip install -q --no-index --no-deps --target "$site" "$here"/wheels/*.whl
    export PYTHONPATH="$site${PYTHONPATH:+:$PYTHONPATH}"
fi
if [ -d "$here/results" ]; then
    cp -rn "$here/results/." "$output"
fi
cd "$here/.."
exec python3 benchmarks/accelerator.py --output "$output" --minutes "$minutes" "$@"
"""


def gather(target: Path, wheels: list[str], results: Path | None) -> None:
    """Writes the folder anew.

    Args:
      target: the folder.
      wheels: names of pure-Python packages to download, without their requirements.
      results: the output folder of an earlier call of `accelerator.py`.

    Raises:
      ValueError: a package has no pure-Python wheel, or the folder is larger than 50 MiB.
    """
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
        shutil.copytree(results, target / "results")
    (target / "run.sh").write_text(SCRIPT, encoding="utf-8")
    size = sum(path.stat().st_size for path in target.rglob("*") if path.is_file()) / 2**20
    if size > LIMIT_MIB:
        raise ValueError(f"{target} has {size:.0f} MiB, at most {LIMIT_MIB} can travel")
    print(f"{target}: {size:.1f} MiB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--wheels", nargs="*", default=[], help="pure-Python packages to download")
    parser.add_argument("--results", type=Path, help="folder of earlier results")
    options = parser.parse_args()
    try:
        gather(TARGET, options.wheels, options.results)
    except ValueError as error:
        sys.exit(f"Error: {error}")


if __name__ == "__main__":
    main()
