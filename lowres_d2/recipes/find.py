"""Find a recipe by name, among files and among the recipes of this project.

The name is a path, or a path below ``configs/`` or ``projects/`` of this project, so that an
installed package finds the recipes it ships.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]
# An installed package has its recipes inside; in a clone they are beside the package.
_CLONE = PACKAGE.parent
ROOTS = (PACKAGE, _CLONE) if (_CLONE / "train_net.py").is_file() else (PACKAGE,)


def find_recipe(name: str | Path) -> Path:
    """Path of a recipe given as a path, or relative to this project or its ``configs``.

    Raises:
        FileNotFoundError: no such recipe; names the nearest.
    """
    for root in (Path(), *ROOTS, *(root / "configs" for root in ROOTS)):
        path = root / name
        if path.is_file():
            # Relative imports go up by the path's text: of `a/../b` they would reach `a`.
            return path.resolve() if ".." in path.parts else path
    raise FileNotFoundError(f"no recipe {name}{nearest_recipe(name)}")


def nearest_recipe(name: str | Path) -> str:
    """The end of a message about a recipe that is not there; empty: none is near."""
    paths = sorted({*shipped_recipes()}, reverse=True)
    # Without its folder, too; of one name in several that in configs.
    known = {path.stem: path for path in paths} | {str(path): path for path in paths}
    near = difflib.get_close_matches(str(name), known, n=1, cutoff=0.3)
    return f"; nearest recipe: {known[near[0]]}" if near else ""


def shipped_recipes() -> Iterator[Path]:
    """Recipes of this project, as paths relative to its root; without the pieces in ``common``."""
    for root in ROOTS:
        for folder in ("configs", "projects"):
            for path in sorted((root / folder).rglob("*.py")):
                if "common" not in path.parts:
                    yield path.relative_to(root)
