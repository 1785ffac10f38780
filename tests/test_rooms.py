"""Imports go one way: the table in CONTRIBUTING.md."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path("lowres_d2")
TESTS = Path("tests")
# A room may import those on the lines below its own, and not those beside it.
ORDER = (
    ["programs", "interop"],
    ["predictor"],
    ["engine"],
    ["analysis"],
    ["evaluation", "deploy"],
    ["modeling", "data", "recipes"],
    ["layers"],
    ["structures"],
)
LEVEL = {room: level for level, rooms in enumerate(ORDER) for room in rooms}
ROOM_FOR = 16  # files; a folder of more wants rooms of its own


def imported_rooms(path):
    for node in ast.walk(ast.parse(path.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and not node.level:
            names = [node.module] if node.module != "lowres_d2" else []
            names += [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            root, _, rest = name.partition(".")
            if root == "lowres_d2" and rest.split(".")[0] in LEVEL:
                yield rest.split(".")[0]


@pytest.mark.parametrize("room", LEVEL)
def test_a_room_imports_only_what_lies_below_it(room):
    for path in (PACKAGE / room).rglob("*.py"):
        for other in imported_rooms(path):
            assert other == room or LEVEL[other] > LEVEL[room], f"{path} imports {other}"


def test_recipes_know_nothing_of_the_other_rooms():
    for path in (PACKAGE / "recipes").rglob("*.py"):
        assert {*imported_rooms(path)} <= {"recipes"}, path


def test_what_several_rooms_use_knows_none_of_them():
    # The package itself offers `load`, and imports it when it is asked for.
    entries = ("__main__.py", "__init__.py")
    shared = [path for path in PACKAGE.glob("*.py") if path.name not in entries]
    for path in [*shared, *(PACKAGE / "bundled").rglob("*.py")]:
        assert not [*imported_rooms(path)], path


def test_no_function_hides_a_module():
    """A dump may shorten its name to that of the module, which cannot be called."""
    for init in PACKAGE.rglob("__init__.py"):
        modules = {path.stem for path in init.parent.iterdir()}
        for node in ast.walk(ast.parse(init.read_text())):
            if isinstance(node, ast.ImportFrom) and "bundled" not in init.parts:
                assert not modules & {alias.asname or alias.name for alias in node.names}, init


def test_every_folder_has_its_place_in_the_order():
    folders = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").is_file()}
    assert folders == {*LEVEL}


def test_no_folder_is_crowded():
    rooms = [TESTS, *(PACKAGE / room for room in LEVEL if room != "programs")]  # a file a program
    for folder in {path.parent for room in rooms for path in room.rglob("*.py")}:
        files = [path for path in folder.glob("*.py") if path.name != "__init__.py"]
        assert len(files) <= ROOM_FOR, folder


def test_every_test_module_has_a_name_of_its_own():
    """Test folders are no packages, so that pytest cannot tell two of one name apart."""
    names = [path.name for path in TESTS.rglob("test_*.py")]
    assert sorted(names) == sorted({*names})
