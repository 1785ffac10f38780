"""List the recipes, or find those that have some words.

A word is looked for in a recipe's path and one-line description, at the start of words and in any
case.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Sequence

from lowres_d2.programs.command import summary_of
from lowres_d2.recipes.find import find_recipe, shipped_recipes


def make_parser() -> argparse.ArgumentParser:
    """Arguments of the program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("words", nargs="*", metavar="WORD", help="all of them must be there")
    parser.add_argument("--names", action="store_true", help="paths alone, one a line")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Print each recipe's path with its description; exits with 1 where none has the words."""
    args = make_parser().parse_args(arguments)
    found = [*matching_recipes(args.words)]
    for name, summary in found:
        print(name if args.names else f"{name}\n    {summary}")
    if not found:
        raise SystemExit(
            f"error: no recipe has {' and '.join(args.words)}; without words all are listed"
        )


def matching_recipes(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Path and description of the recipes that have all the words."""
    for path in shipped_recipes():
        name, summary = path.as_posix(), summary_of(find_recipe(path))
        # At the start of a word: "own" is in own_data, not in "downsampled".
        starts = [rf"(?<![a-z]){re.escape(word)}" for word in words]
        if all(re.search(start, f"{name} {summary}", re.IGNORECASE) for start in starts):
            yield name, summary
