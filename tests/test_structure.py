"""The rules of the layout: imports, requirements, and the size of files and functions."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

PACKAGE = ROOT / "fcfrnet_jax"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
# What each part may import, besides itself and the modules that all may import.
OPEN = {
    "files",
    "geometry",
    "locks",
    "metric_sets",
    "numpy_files",
    "process",
    "progress",
    "system_errors",
    "text",
}
MAY_IMPORT = {
    "networks": set(),
    "sensors": set(),
    "pictures": set(),
    "parallel": set(),
    "weights": {"networks"},
    "data": {"sensors"},
    "streets": {"data", "sensors"},
    "prediction": {"data", "networks", "pictures", "sensors", "weights"},
    "evaluation": {"networks", "data", "weights", "pictures", "parallel"},
    "training": {
        "networks",
        "data",
        "sensors",
        "streets",
        "weights",
        "pictures",
        "parallel",
        "evaluation",
    },
    "configs": set(),
}
# The command line may import everything, and nothing else imports it.
TOP = {"commands", "main", "__main__", "__init__"}
# Not installed where models are trained on rendered streets and measured.
OPTIONAL = ("tensorflow", "ml_collections", "tensorboardX", "cv2", "rerun")
MODULES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__"): path
    for path in PACKAGE.rglob("*.py")
}


# Distributions that are not named like the package to import.
DISTRIBUTIONS = {
    "PIL": "pillow",
    "absl": "absl-py",
    "array_record": "array-record",
    "cv2": "opencv-python-headless",
    "ml_collections": "ml-collections",
    "ml_dtypes": "ml-dtypes",
    "orbax": "orbax-checkpoint",
    "rerun": "rerun-sdk",
    "tensorflow_datasets": "tensorflow-datasets",
    "yaml": "PyYAML",
}
# tensorboardX needs it to write images, but does not require it.
USED_BY_OTHERS = {"pillow"}
# Test modules that test more than one module, or something outside the package.
WITHOUT_A_MODULE = {
    "test_benchmarks.py": "runs the benchmarks",
    "test_corruption.py": "damages files of every kind that the commands read",
    "test_hostile.py": "converts hostile checkpoints",
    "test_package.py": "installs the wheel",
    "test_readme.py": "runs the commands of the documents",
    "test_scanners.py": "measures models with `benchmarks/scanners.py`",
    "test_structure.py": "reads all modules",
    "test_travel.py": "takes measurements and a training to another place",
    "commands/rendered/test_train.py": "runs the command `train` on a pool of rendered frames",
    "commands/test_advice.py": "follows the advice of messages",
    "commands/test_bad_frames.py": "runs commands on datasets with bad frames",
    "commands/test_evaluate_whole.py": "compares the command `evaluate` with the predictor",
    "commands/test_configs.py": "reads the configs and the commands that use them",
    "commands/test_evaluate_converted.py": "runs two commands one after the other",
    "commands/test_finetune.py": "runs the command `train` with the config `finetune`",
    "commands/test_full_disks.py": "runs every command that writes on a full disk",
    "commands/test_kills.py": "kills every command that writes",
    "commands/test_nyu.py": "runs commands on NYU Depth v2",
    "commands/test_own_data.py": "runs commands on a data set of another layout than KITTI's",
    "commands/test_several_processes.py": "runs the command `train` in two processes",
    "commands/test_train_synthetic.py": "runs the command `train` on rendered streets",
    "networks/test_golden.py": "compares whole networks with the reference's data",
    "weights/test_pretrained.py": "loads the model in the package",
}


def part_of(module: str) -> str:
    """The folder or the single file at the top of the package."""
    return module.partition(".")[0]


def imported(tree: ast.AST) -> Iterator[str]:
    """The dotted names that a piece of code imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def own_imports(module: str) -> set[str]:
    """The modules of the package that a module imports, at the top or inside a function."""
    names = imported(ast.parse(MODULES[module].read_text()))
    found = set()
    for name in names:
        own = name.removeprefix("fcfrnet_jax.")
        if name != own:
            found.add(own if own in MODULES else own.rpartition(".")[0])
    return found - {""}


def top_level_imports(module: str) -> set[str]:
    """The packages that importing a module imports."""
    body = ast.parse(MODULES[module].read_text()).body
    guards = [node for node in body if not isinstance(node, ast.FunctionDef | ast.ClassDef)]
    typing = [node for node in guards if isinstance(node, ast.If)]
    names = (name for node in guards if node not in typing for name in imported(node))
    return {name.partition(".")[0] for name in names}


def test_the_parts_are_those_of_the_layout():
    assert {part_of(module) for module in MODULES} == MAY_IMPORT.keys() | OPEN | TOP
    folders = {part_of(module) for module in MODULES if "." in module}
    assert len(folders - {"commands", "configs"}) <= 10


def test_the_rules_have_no_cycle():
    left = dict(MAY_IMPORT)
    while left:
        free = {part for part, others in left.items() if not others & left.keys()}
        assert free, f"a cycle among {sorted(left)}"
        left = {part: others for part, others in left.items() if part not in free}


@pytest.mark.parametrize("module", sorted(MODULES))
def test_imports_keep_to_the_rules(module):
    part = part_of(module)
    others = {part_of(name) for name in own_imports(module)} - {part}
    if part in OPEN:
        assert others <= OPEN
    elif part not in TOP:
        assert others <= MAY_IMPORT[part] | OPEN
    elif part == "commands":
        assert not others & {"main", "__main__"}


def test_only_select_imports_the_fast_forms():
    fast = ("networks.cpu", "networks.tpu")
    users = {
        module
        for module in MODULES
        if not module.startswith(fast)
        and any(name.startswith(fast) for name in own_imports(module))
    }
    assert users == {"networks.select"}
    allowed = {"networks.layers", "networks.parts"}
    for module in (module for module in MODULES if module.startswith(fast)):
        folder = ".".join(module.split(".")[:2])
        others = {name for name in own_imports(module) if not name.startswith(folder)}
        assert others <= allowed, module


def test_only_data_imports_tensorflow_and_only_when_needed():
    users = {
        module
        for module, path in MODULES.items()
        if any(name.startswith("tensorflow") for name in imported(ast.parse(path.read_text())))
    }
    assert users
    assert {part_of(module) for module in users} == {"data"}


@pytest.mark.parametrize("module", sorted(MODULES))
def test_optional_packages_are_imported_at_first_use(module):
    allowed = {"ml_collections"} if part_of(module) in TOP | {"configs"} else set()
    assert top_level_imports(module) & {*OPTIONAL} <= allowed


def test_parts_import_where_optional_packages_are_missing():
    parts = ("prediction", "networks", "weights", "streets", "evaluation", "training")
    names = [f"fcfrnet_jax.{name}" for name in sorted(MODULES) if part_of(name) in parts]
    code = "import importlib, sys\n"
    code += f"sys.modules.update(dict.fromkeys({OPTIONAL}))\n"
    code += f"for name in {names}: importlib.import_module(name)\n"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def distributions(lines: list[str]) -> set[str]:
    """The names in a list of requirements; both builds of TensorFlow are the same package."""
    names = {re.match(r"[\w-]+", line)[0] for line in lines}
    return {name.removesuffix("-cpu") for name in names}


def third_party(folder: Path) -> set[str]:
    """The distributions that the files of a folder import."""
    trees = (ast.parse(path.read_text()) for path in folder.rglob("*.py"))
    names = {name.partition(".")[0] for tree in trees for name in imported(tree)}
    ours = {"fcfrnet_jax", "tests", "benchmarks", "configs"}
    return {DISTRIBUTIONS.get(name, name) for name in names - ours - sys.stdlib_module_names}


def test_the_requirements_are_what_the_package_imports():
    required = distributions((ROOT / "requirements.txt").read_text().splitlines())
    viewer = distributions(PROJECT["optional-dependencies"]["viewer"])
    assert third_party(PACKAGE) == required - USED_BY_OTHERS | viewer
    assert required >= USED_BY_OTHERS


def test_the_extras_contain_what_tests_and_benchmarks_import():
    required = distributions((ROOT / "requirements.txt").read_text().splitlines())
    extras = PROJECT["optional-dependencies"]
    dev, peers = distributions(extras["dev"]), distributions(extras["peers"])
    # PyTorch writes the stored fixtures; the tests only read them.
    assert third_party(ROOT / "tests") <= required | dev | {"torch"}
    assert third_party(ROOT / "benchmarks") <= required | dev | peers


def test_only_one_module_uses_pmap():
    users = {name for name, path in MODULES.items() if re.search(r"\bpmap\(", path.read_text())}
    assert users == {"parallel"}


@pytest.mark.parametrize("module", sorted(MODULES))
def test_only_the_commands_know_flags_and_the_config(module):
    if part_of(module) not in TOP | {"configs"}:
        text = MODULES[module].read_text()
        assert "--config" not in text
        assert "ConfigDict" not in text


def lines_without_docstring(function: ast.FunctionDef) -> int:
    first = function.body[0]
    documented = ast.get_docstring(function) is not None
    return function.end_lineno - (first.end_lineno if documented else function.lineno)


@pytest.mark.parametrize("module", sorted(MODULES))
def test_files_and_functions_are_short(module):
    text = MODULES[module].read_text()
    assert len(text.splitlines()) <= 300
    if part_of(module) == "configs":
        return
    functions = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef)]
    assert [node.name for node in functions if lines_without_docstring(node) > 60] == []


@pytest.mark.parametrize("folder", sorted({path.parent for path in MODULES.values()}))
def test_folders_hold_few_files(folder):
    files = [path for path in folder.glob("*.py") if path.name != "__init__.py"]
    # The name of a config is what --config takes, so these files stay in one folder.
    assert len(files) <= (20 if folder.name == "configs" else 15)


def test_the_tests_mirror_the_package():
    tests = {path.relative_to(ROOT / "tests") for path in (ROOT / "tests").rglob("test_*.py")}
    modules = {path: path.with_name(path.name.removeprefix("test_")) for path in tests}
    without = {str(path) for path, module in modules.items() if not (PACKAGE / module).is_file()}
    assert without == WITHOUT_A_MODULE.keys()
    assert all((PACKAGE / path.parent).is_dir() for path in tests)


def test_no_path_of_a_machine():
    documents = [
        *ROOT.glob("*.*"),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "benchmarks").glob("*"),
    ]
    for path in [*PACKAGE.rglob("*.py"), *(ROOT / "tests").rglob("*.py"), *documents]:
        if path.is_file() and path != Path(__file__):
            assert not re.search(r"/(root|home|work|tmp)/", path.read_text(errors="ignore")), path


# Constant text, and in `main` messages that were made printable before.
PRINTED_DIRECTLY = {
    "main": {
        'print("Interrupted.", file=sys.stderr)',
        "sys.exit(status)",
        'print(f"fcfrnet_jax {fcfrnet_jax.__version__}")',
        "sys.exit(message)",
    },
    "commands.convert": {
        'print("Interrupted.", file=sys.stderr)',
        "sys.exit(128 + signal.SIGINT)",
    },
}


def test_text_is_printed_by_the_console_of_progress_or_made_printable():
    """Text from files and paths could hold sequences that control the terminal."""
    prints = re.compile(r"\bConsole\(|(?<![\w.)])print\(|sys\.exit\(|std(?:err|out)\.write\(")
    for name, path in MODULES.items():
        lines = [line.strip() for line in path.read_text().splitlines() if prints.search(line)]
        direct = {line for line in lines if "printable(" not in line}
        assert direct == PRINTED_DIRECTLY.get(name, set()), name
