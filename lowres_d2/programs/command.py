"""The one command: ``lowres-d2 PROGRAM ...``, and the same as ``python -m lowres_d2 PROGRAM ...``.

A program is imported when it runs, and after its command line was read: the list of programs, their
--help and what is mistyped take no torch, and so no seconds.
"""

from __future__ import annotations

import ast
import difflib
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from lowres_d2.programs.screen import print_any_text

COMMAND = "lowres-d2"
# In the order in which they are listed: a module of this folder each, whose name is the program's
# with underscores, and one of command_lines, which has its `make_parser` and `parse`.
PROGRAMS = (
    "train",
    "demo",
    "predict",
    "page",
    "quickstart",
    "compare",
    "reproduce",
    "recipes",
    "models",
    "make-models",
    "validate",
    "make-plates",
    "pseudo-label",
    "prepare-tt100k",
    "prepare-dota",
    "prepare-tinyperson",
    "prepare-visdrone",
    "prepare-widerface",
    "prepare-seadronessee",
    "convert-data",
    "crop",
    "analyze",
    "receptive-field",
    "sweep",
    "tiles",
    "visualize",
    "replay",
    "extract",
    "export",
    "pack",
    "convert-deformable-detr",
    "env",
    "completion",
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the program that the first argument names, or list all programs.

    Args:
        arguments: of the command line; None: this process's.

    Raises:
        SystemExit: with 2 where there is no such program; else as the program ends.
    """
    print_any_text()
    name, *rest = [*(sys.argv[1:] if arguments is None else arguments)] or ["--help"]
    try:
        if name in ("-h", "--help"):
            print(overview())
        elif name == "--version":
            print(version())
        elif name in PROGRAMS:
            sys.argv = [f"{COMMAND} {name}", *rest]  # what its usage lines call the program
            command_line(name).parse(rest)  # ends the program on --help and on what is mistyped
            importlib.import_module(f"{__package__}.{_stem(name)}").main(rest)
        else:
            near = difflib.get_close_matches(name, PROGRAMS, n=1, cutoff=0.5)
            hint = f", nearest: {near[0]}" if near else ""
            print(f"error: no program {name!r}{hint}; {COMMAND} lists all", file=sys.stderr)
            raise SystemExit(2)
    except KeyboardInterrupt:  # while it is imported, or in a program that only prints
        print("interrupted", file=sys.stderr)
        raise SystemExit(130) from None


def command_line(name: str) -> ModuleType:
    """The module that reads a program's command line, by ``make_parser`` and ``parse``."""
    return importlib.import_module(f"{__package__}.command_lines.{_stem(name)}")


def file_of(name: str) -> Path:
    """A program's file, whose docstring says what it is for."""
    return Path(__file__).with_name(f"{_stem(name)}.py")


def _stem(name: str) -> str:
    return name.replace("-", "_")


def overview() -> str:
    """All programs with a line each, the first one of their modules' docstrings."""
    width = max(map(len, PROGRAMS)) + 2
    rows = [f"  {name:{width}}{summary_of(file_of(name))}" for name in PROGRAMS]
    return "\n".join(
        [
            f"usage: {COMMAND} PROGRAM ...",
            "",
            "Detection on low-resolution images, with Detectron2's recipes and flags.",
            "",
            *rows,
            "",
            f"{COMMAND} PROGRAM --help explains one. {COMMAND} --version, and env, say what runs.",
        ]
    )


def summary_of(path: str | Path) -> str:
    """First line of a Python file's docstring; empty: there is none."""
    return docstring_of(path).partition("\n")[0]


def docstring_of(path: str | Path) -> str:
    """A Python file's docstring without its marks of code, to print; empty: there is none.

    The file is not imported, and ``python -OO`` drops ``__doc__``.
    """
    try:
        text = ast.get_docstring(ast.parse(Path(path).read_text(encoding="utf-8"))) or ""
        return text.replace("``", "")
    except (SyntaxError, ValueError):  # a broken recipe is still listed; a run says what is wrong
        return ""


def version() -> str:
    """This package's version, and whose Detectron2 runs."""
    from lowres_d2 import __version__, detectron2_provider

    return f"lowres_d2 {__version__} on {detectron2_provider()} Detectron2"
