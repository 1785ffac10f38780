"""Print a script with which bash or zsh completes all arguments.

bash:  lowres-d2 completion bash > ~/.local/share/bash-completion/completions/lowres-d2
zsh:   lowres-d2 completion zsh > DIRECTORY_OF_FPATH/_lowres-d2
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from lowres_d2.programs.command import COMMAND, PROGRAMS, command_line, file_of, summary_of
from lowres_d2.programs.command_lines.completion import parse

import shtab

FILES = ("FILE", "WEIGHTS", "OUTPUT", "[NAME=]RUN")  # metavars of arguments
# Of programs that have no --config-file: what their recipes have in common is there.
COMMON = "configs/quick/full_fcos_small_256_plates.py"
# A recipe is a file, or one of those that an installed package ships. `_files` in the name makes
# shtab's script complete folders with a slash and quote names with spaces. Keys of overrides are
# those of the recipe; to list them takes seconds, and is done once for each recipe and shell.
PREAMBLE = {
    "bash": f"""
_lowres_d2_recipe_files() {{
  compgen -f -- "$1"
  compgen -W "$({COMMAND} recipes --names 2>/dev/null)" -- "$1"
}}
_lowres_d2_override_keys() {{
  compgen -W "$_lowres_d2_keys" -- "$1"
}}
_lowres_d2_read_keys() {{
  local k recipe=
  [[ ${{COMP_WORDS[1]}} == @(quickstart|reproduce) ]] && recipe={COMMON}
  for ((k = 2; k < COMP_CWORD; k++)); do
    [[ ${{COMP_WORDS[k]}} == --config-file ]] && recipe="${{COMP_WORDS[k + 1]}}"
  done
  recipe="${{recipe/#\\~/$HOME}}"
  if [[ -n $recipe && $recipe != "$_lowres_d2_recipe" ]]; then
    _lowres_d2_recipe="$recipe"
    _lowres_d2_keys="$({COMMAND} recipes --keys "$recipe" 2>/dev/null)"
  fi
}}
""",
    "zsh": f"""
_lowres_d2_recipe_files() {{
  _files
  compadd -- ${{(f)"$({COMMAND} recipes --names 2>/dev/null)"}}
}}
_lowres_d2_override_keys() {{
  if compset -P '*='; then
    _files
    return
  fi
  local recipe={COMMON} place=${{words[(i)--config-file]}}
  (( place < CURRENT )) && recipe=${{(Q)words[place + 1]}}
  if [[ $recipe != "$_lowres_d2_recipe" ]]; then
    typeset -g _lowres_d2_recipe=$recipe
    typeset -g _lowres_d2_keys="$({COMMAND} recipes --keys ${{~recipe}} 2>/dev/null)"
  fi
  compadd -S '' -- ${{(f)_lowres_d2_keys}}
}}
""",
}
# Bash has split `key=value` and `NAME=RUN` at the `=`. shtab completes in a subshell, which cannot
# keep the keys, nor leave out the space behind a key.
BASH_WRAPPER = f"""
_lowres_d2() {{
  local word="${{COMP_WORDS[COMP_CWORD]}}" before="${{COMP_WORDS[COMP_CWORD - 1]}}" line
  if [[ $word == "=" || $before == "=" ]]; then
    COMPREPLY=()
    while IFS= read -r line; do COMPREPLY+=("$line"); done < <(compgen -f -- "${{word#=}}")
    compopt -o filenames 2>/dev/null
    return
  fi
  case "$before" in
    --resume | --eval-only | --print-config | --allow-partial) ;;
    -*) before= ;;  # its value comes
  esac
  [[ $word != -* && -n $before ]] && _lowres_d2_read_keys
  _shtab_lowres_d2 "$@"
  [[ ${{COMPREPLY[0]}} == *= ]] && compopt -o nospace 2>/dev/null
  return 0
}}
complete -o bashdefault -F _lowres_d2 {COMMAND}
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the script."""
    args = parse(arguments)
    print(shtab.complete(whole_parser(), shell=args.shell, preamble=PREAMBLE))
    if args.shell == "bash":
        print(BASH_WRAPPER)


def whole_parser() -> argparse.ArgumentParser:
    """One parser of all programs, whose arguments know what completes them."""
    parser = argparse.ArgumentParser(prog=COMMAND)
    programs = parser.add_subparsers()
    for name in PROGRAMS:
        own = command_line(name).make_parser()
        for action in own._actions:
            _say_what_completes(action)
        programs.add_parser(name, parents=[own], add_help=False, help=summary_of(file_of(name)))
    return parser


def _say_what_completes(action: argparse.Action) -> None:
    if action.metavar == "RECIPE":
        action.complete = dict.fromkeys(PREAMBLE, "_lowres_d2_recipe_files")
    elif action.dest == "opts":
        action.complete = dict.fromkeys(PREAMBLE, "_lowres_d2_override_keys")
    elif action.metavar == "DIR":
        action.complete = shtab.DIRECTORY
    elif action.metavar in FILES:
        action.complete = shtab.FILE
