"""Measures the compact model, and fills the tables and draws the pictures of its model card.

    python -m benchmarks.quality.card output/card --kitti KITTI --official OFFICIAL \\
        --indoor INDOOR --rendered 8 --before OLD_MODEL --without_image BLANK_MODEL

Only the groups of frames that are given are measured. Their figures are kept in the folder, as
`kitti.json` and so on, and those of other groups are read from there. A table of the card is
between the comments `<!-- errors of kitti: real, val -->` and `<!-- end -->`: the kind of the
table, the file and the group in it.
"""

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

from benchmarks import scanners
from benchmarks.quality.compare import Model
from benchmarks.quality.pictures import draw_reliability, draw_scenes
from benchmarks.quality.tables import confidence_table, error_table, exact_table

DOCS = Path(__file__).resolve().parents[2] / "docs"
KINDS = {"errors": error_table, "exact": exact_table, "confidence": confidence_table}
PLACE = re.compile(r"(<!-- (\w+) of (\w+): (.+?) -->\n).*?(<!-- end -->)", re.DOTALL)

Groups = dict[str, list[dict[str, Any]]]


def measurements(options: argparse.Namespace) -> dict[str, list[str]]:
    """The arguments of `benchmarks/scanners.py` for each file of figures."""
    none = ["--rendered", "0"]
    others = ["--against", f"before={options.before}"] if options.before else []
    if options.without_image:
        others += ["--against_gray", f"without image={options.without_image}"]
    found = {}
    if options.kitti:
        found["kitti"] = ["--data_dir", options.kitti, "--split", *options.split, *none, *others]
    if options.official:
        found["official"] = ["--data_dir", options.official, "--split", "train", *none, *others]
    if options.indoor:
        found["indoor"] = ["--indoor", options.indoor, *none, *others]
    if options.rendered:
        found["rendered"] = ["--rendered", str(options.rendered), *others]
    return found


def fill_tables(text: str, figures: dict[str, Groups]) -> tuple[str, list[str]]:
    """Replaces the tables of a document.

    Args:
      text: the document.
      figures: the rows of each group, by the file and the name of the group.

    Returns:
      The document, and the places whose figures are missing, which are unchanged.

    Raises:
      ValueError: an unknown kind of table.
    """
    missing = []

    def fill(place: re.Match[str]) -> str:
        head, kind, file, group, end = place.groups()
        if kind not in KINDS:
            raise ValueError(f"expected one of {', '.join(KINDS)} in {head.strip()}")
        rows = figures.get(file, {}).get(group)
        if rows is None:
            missing.append(head.strip())
            return place[0]
        return "\n".join(["", *KINDS[kind](rows), "", ""]).join([head, end])

    return PLACE.sub(fill, text), missing


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="of the figures")
    parser.add_argument("--model", default="compact")
    parser.add_argument("--before", help="the model that it is compared with")
    parser.add_argument("--without_image", help="a model trained on gray images")
    parser.add_argument("--kitti", help="real frames in KITTI's layout")
    parser.add_argument("--split", nargs="+", default=["val_selection", "val"])
    parser.add_argument("--official", help="real frames with official ground truth, split train")
    parser.add_argument("--indoor", help="the folder of an indoor frame")
    parser.add_argument("--rendered", type=int, default=0, help="rendered frames of each kind")
    parser.add_argument("--pictures", action="store_true", help="draw the pictures, too")
    parser.add_argument("--docs", type=Path, default=DOCS)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    for name, arguments in measurements(options).items():
        print(f"\n## {name}", flush=True)
        file = options.folder / f"{name}.json"
        scanners.main(["--model", options.model, *arguments, "--json", str(file)])
    files = sorted(options.folder.glob("*.json"))
    figures = {file.stem: json.loads(file.read_text())["groups"] for file in files}
    card = options.docs / "model_card.md"
    text, missing = fill_tables(card.read_text(encoding="utf-8"), figures)
    card.write_text(text, encoding="utf-8")
    for place in missing:
        print(f"No figures for {place}", file=sys.stderr)
    if options.pictures:
        draw_scenes(options.docs / "compact_scenes.jpg", Model(options.model), scanners.SEED)
        if "rendered" in figures:
            draw_reliability(options.docs / "compact_reliability.png", figures["rendered"])


if __name__ == "__main__":
    try:
        main()
    except (OSError, ValueError) as error:
        sys.exit(f"Error: {error}")
