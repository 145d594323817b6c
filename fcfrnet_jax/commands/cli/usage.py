"""The text of `--help`."""

import textwrap

from fcfrnet_jax.commands.cli import config_files
from fcfrnet_jax.commands.cli.config_files import ConfigFile
from fcfrnet_jax.commands.cli.flags import complete
from fcfrnet_jax.commands.cli.tasks import CONVERT, TASKS

USAGE = """\
fcfrnet runs one task. The config selects it:

{tasks}

Flags:

  --config=FILE         The config: a Python file, or the name of a packaged one:
                        {packaged}.
  --config.NAME=VALUE   Change a setting; see fcfrnet --config=FILE --help.
  --workdir=FOLDER      Output folder; the default is output.
  --verbosity=1         Show tracebacks of errors, and the libraries' log messages.
  --help, --version     Print this help, or the version.

Sample frames and compiled programs are kept in $XDG_CACHE_HOME/fcfrnet_jax; the default is
~/.cache/fcfrnet_jax. The folder may be deleted at any time.
"""
# About the settings that a config leaves open.
OPEN = " None stands for the value of the checkpoint."


def text(file: ConfigFile | None) -> str:
    """The tasks and the flags, and every setting of a config file, if one is given."""
    tasks = [
        *((name, task.summary, task.example) for name, task in TASKS.items()),
        ("convert", *CONVERT),
    ]
    listed = "\n".join(f"  {name:12} {line}\n{'':15}{example}" for name, line, example in tasks)
    names = textwrap.wrap(", ".join(config_files.packaged()), 70)
    usage = USAGE.format(tasks=listed, packaged=f"\n{'':24}".join(names))
    return usage if file is None else usage + "\n" + _settings(file)


def _settings(file: ConfigFile) -> str:
    indent = " " * 6
    lines = [f"Settings of {file.name}, with their defaults:\n"]
    config = complete(file)
    base = config_files.load(TASKS[config.task].config)
    comments = config_files.comments(file.module) | config_files.comments(base.module)
    values = config_files.flat(config)
    # In the order of the config, which ConfigDict does not keep.
    names = [name for name in comments if name in values]
    for name in dict.fromkeys([*names, *values]):
        lines.append(f"  --config.{name}={values[name]}")
        text = comments.get(name, "") + (OPEN if values[name] is None else "")
        lines += textwrap.wrap(text, 94, initial_indent=indent, subsequent_indent=indent)
    return "\n".join(lines) + "\n"
