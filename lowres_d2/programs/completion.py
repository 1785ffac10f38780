"""Print a script with which bash or zsh completes all arguments.

bash:  lowres-d2 completion bash > ~/.local/share/bash-completion/completions/lowres-d2
zsh:   lowres-d2 completion zsh > DIRECTORY_OF_FPATH/_lowres-d2
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Sequence
from pathlib import Path

from lowres_d2.programs.command import COMMAND, PROGRAMS, module_of, summary_of

import shtab

FILES = ("FILE", "WEIGHTS", "OUTPUT")  # metavars of arguments
# A recipe is a file, or one of those that an installed package ships. `_files` in the name makes
# shtab's script complete folders with a slash and quote names with spaces.
PREAMBLE = {
    "bash": f"""
_lowres_d2_recipe_files() {{
  compgen -f -- "$1"
  compgen -W "$({COMMAND} recipes --names 2>/dev/null)" -- "$1"
}}
""",
    "zsh": f"""
_lowres_d2_recipe_files() {{
  _files
  compadd -- ${{(f)"$({COMMAND} recipes --names 2>/dev/null)"}}
}}
""",
}


def make_parser() -> argparse.ArgumentParser:
    """Arguments of the program."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("shell", choices=sorted(PREAMBLE), help="for which shell")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the script."""
    args = make_parser().parse_args(arguments)
    print(shtab.complete(whole_parser(), shell=args.shell, preamble=PREAMBLE))


def whole_parser() -> argparse.ArgumentParser:
    """One parser of all programs, whose arguments know what completes them."""
    parser = argparse.ArgumentParser(prog=COMMAND)
    programs = parser.add_subparsers()
    for name in PROGRAMS:
        module = importlib.import_module(module_of(name))
        own = module.make_parser()
        for action in own._actions:
            _say_what_completes(action)
        summary = summary_of(Path(module.__file__))
        programs.add_parser(name, parents=[own], add_help=False, help=summary)
    return parser


def _say_what_completes(action: argparse.Action) -> None:
    # Detectron2's own parser, which train extends, calls a recipe FILE.
    if action.metavar == "RECIPE" or action.dest == "config_file":
        action.complete = dict.fromkeys(PREAMBLE, "_lowres_d2_recipe_files")
    elif action.metavar == "DIR":
        action.complete = shtab.DIRECTORY
    elif action.metavar in FILES:
        action.complete = shtab.FILE
