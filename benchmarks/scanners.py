"""Measures a model against the classical fill with different scanners.

    python benchmarks/scanners.py --data_dir KITTI --split val_selection val --json figures.json

Real frames in KITTI's layout are measured with all beams of their scanner and with every second,
fourth and eighth one, and with a uniform gray image in place of the camera's. Rendered streets,
ordinary ones and others with dense traffic, also have 1000 random points, and their depth above the
scan is known. `--indoor` is a folder with an image, dense ground truth and random points. If the
model predicts the error of its depth, that is compared with the error.

RMSE and MAE are means over frames, in mm. `--against before=FOLDER` measures another model, too.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

if not __package__:
    # Makes the package importable when run as a command in a checkout that is not installed.
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.quality.compare import Model, Record, measure, summarise
from benchmarks.quality.scenes import Scene, indoor_scene, real_scenes, rendered_scenes
from benchmarks.quality.tables import confidence_table, error_table, exact_table
from fcfrnet_jax.data.kitti.frames import SPLITS

# Another seed than those of training and of the sample frames.
SEED = 9001


def groups(options: argparse.Namespace) -> Iterator[tuple[str, Iterable[Scene]]]:
    """Yields the names of the groups of scenes and the scenes, which are read or rendered then."""
    for split in options.split if options.data_dir else ():
        scenes = real_scenes(options.data_dir, split, options.frames, options.even_beams)
        yield f"real, {split}", scenes
    if options.rendered:
        yield "rendered", rendered_scenes(options.rendered, options.seed, dense=0.0)
        yield "rendered, dense traffic", rendered_scenes(options.rendered, options.seed, dense=1.0)
    if options.indoor:
        yield "indoor", [indoor_scene(options.indoor)]


def with_union(found: dict[str, list[Record]]) -> dict[str, list[Record]]:
    """Adds the union of the real splits if there are several."""
    real = {name: records for name, records in found.items() if name.startswith("real, ")}
    if len(real) < 2:
        return found
    splits = " and ".join(name.removeprefix("real, ") for name in real)
    return {f"real, {splits}": [record for part in real.values() for record in part]} | found


def print_group(name: str, rows: list[Record]) -> None:
    print(f"\n### {name}, {max(row['frames'] for row in rows)} frames\n")
    for table in (error_table(rows), exact_table(rows), confidence_table(rows)):
        if table:
            print("\n".join(table), end="\n\n", flush=True)


def other_models(pairs: Sequence[str], blank: bool = False) -> dict[str, Model]:
    """Loads the models of `NAME=FOLDER`; with `blank`, they always get a gray image."""
    split = [pair.partition("=") for pair in pairs]
    for pair, (_, sign, _) in zip(pairs, split, strict=True):
        if not sign:
            raise SystemExit(f"error: expected NAME=FOLDER for another model, got {pair}")
    return {name: Model(folder, blank) for name, _, folder in split}


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="compact", help="a model's folder, or compact")
    parser.add_argument(
        "--against", nargs="+", default=[], metavar="NAME=FOLDER", help="other models"
    )
    parser.add_argument(
        "--against_gray",
        nargs="+",
        default=[],
        metavar="NAME=FOLDER",
        help="other models that always get a gray image",
    )
    parser.add_argument("--data_dir", type=Path, help="real frames in KITTI's layout")
    parser.add_argument("--split", nargs="+", choices=SPLITS[:3], default=["val_selection"])
    parser.add_argument("--frames", type=int, default=0, help="real frames per split; 0 = all")
    parser.add_argument(
        "--even_beams",
        action="store_true",
        help="beams of real frames are bands of equal angles, without a model of the scanner",
    )
    parser.add_argument(
        "--crop",
        type=int,
        nargs=2,
        default=(0, 0),
        metavar=("ROWS", "COLUMNS"),
        help="of real frames, at the bottom centre; 0 = all, the default",
    )
    parser.add_argument("--rendered", type=int, default=8, help="rendered frames of each kind")
    parser.add_argument("--seed", type=int, default=SEED, help="of the rendered streets")
    parser.add_argument("--indoor", type=Path, help="a folder with an indoor frame")
    parser.add_argument("--json", type=Path, help="the file to write all figures to")
    options = parser.parse_args(arguments)
    if not (options.data_dir or options.rendered or options.indoor):
        parser.error("nothing to measure: give --data_dir, --rendered or --indoor")
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments)
    begin = time.monotonic()
    model = Model(options.model)
    others = other_models(options.against) | other_models(options.against_gray, blank=True)
    found: dict[str, list[Record]] = {}
    for name, scenes in groups(options):
        crop = options.crop if name.startswith("real, ") else (0, 0)
        records = list(measure((scene.cropped(crop) for scene in scenes), model, others))
        found[name] = records
        print_group(name, summarise(records))
    complete = with_union(found)
    for name in complete.keys() - found.keys():
        print_group(name, summarise(complete[name]))
    print(f"Measured in {time.monotonic() - begin:.0f} s")
    if options.json:
        settings = {name: str(value) for name, value in vars(options).items()}
        rows = {name: summarise(records) for name, records in complete.items()}
        text = json.dumps({"settings": settings, "groups": rows, "frames": found}, indent=1)
        options.json.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    try:
        main()
    except (OSError, ValueError) as error:
        sys.exit(f"Error: {error}")
