"""What the package imports is what it declares."""

import ast
import re
import sys
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # which hatchling brings

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
# torch imports it, for curves.
INDIRECT = {"tensorboard"}


def name_of(requirement):
    return re.sub(r"[-_.]+", "-", re.match(r"[\w.-]+", requirement)[0]).lower()


@cache
def imported_distributions():
    """Distributions that files of the wheel import, each with such a file."""
    known, found = packages_distributions(), {}
    rooms = ("lowres_d2", "configs", "projects")
    paths = [path for room in rooms for path in (ROOT / room).rglob("*.py")]
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module]
            for module in {name.partition(".")[0] for name in names} - {"lowres_d2", "detectron2"}:
                if module not in sys.stdlib_module_names:
                    # One that is not installed here is called as it is imported.
                    found[tuple(map(name_of, known.get(module, [module])))] = path
    return found


def test_what_is_imported_is_declared():
    optional = PROJECT["optional-dependencies"]
    users = [
        one for extra, some in optional.items() if extra not in ("test", "dev") for one in some
    ]
    declared = {*map(name_of, [*PROJECT["dependencies"], *users])}
    for names, path in imported_distributions().items():
        assert declared & {*names}, f"{path} imports {' or '.join(names)}"


def test_what_everybody_installs_is_imported():
    imported = {name for names in imported_distributions() for name in names}
    assert {*map(name_of, PROJECT["dependencies"])} - imported == INDIRECT
