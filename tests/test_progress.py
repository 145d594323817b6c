"""What commands print: text of files and paths as it is, and nothing that controls the terminal."""

import io

import pytest
from rich.table import Table

from fcfrnet_jax.progress import Progress, console, frames_progress
from fcfrnet_jax.text import printable
from tests.hostile.constructions import HOSTILE_NAMES


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_a_console_prints_names_in_lines_and_tables(name):
    file = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    output = console(file=file, width=100)
    table = Table(name, title=name)
    table.add_row(name)
    output.print(f"Wrote {name}", soft_wrap=True)
    output.print(table)
    file.seek(0)
    text = file.read()
    assert all(line.isprintable() for line in text.split("\n"))
    assert text.count(printable(name, keep="\n").split("\n")[-1]) == 4


def test_a_console_escapes_what_its_output_cannot_encode():
    file = io.TextIOWrapper(io.BytesIO(), encoding="latin-1")
    console(file=file).print("é 測")
    file.seek(0)
    assert file.read() == "é \\u6e2c\n"


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_progress_bars_print_names(name, capsys):
    with frames_progress(1, label=name) as advance:
        advance(1)
    with Progress(0, 1) as bar:
        bar.say(name)
    printed = capsys.readouterr().err
    assert all(line.isprintable() for line in printed.split("\n"))
    assert printable(name, keep="\n") in printed


def test_frames_that_existed_do_not_count_for_the_rate(capsys):
    with frames_progress(9, 2) as advance:
        advance.keep(7)
        advance(0)
    assert "9/9 0.00 frames/s" in capsys.readouterr().err
