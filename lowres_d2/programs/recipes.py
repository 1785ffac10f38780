"""List the recipes, or find those that have some words.

A word is looked for in a recipe's path and one-line description, at the start of words and in any
case.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from lowres_d2.near_names import near
from lowres_d2.programs.command import summary_of
from lowres_d2.programs.command_lines.recipes import parse
from lowres_d2.recipes.find import find_recipe, shipped_recipes


def main(arguments: Sequence[str] | None = None) -> None:
    """Print each recipe's path with its description; exits with 1 where none has the words."""
    args = parse(arguments)
    if args.keys:
        _print_keys(args.keys)
        return
    found = [*matching_recipes(args.words)]
    for name, summary in found:
        print(name if args.names else f"{name}\n    {summary}")
    if not found:
        raise SystemExit(
            f"error: no recipe has {' and '.join(args.words)}{_nearest(args.words)}; without words "
            "all are listed"
        )


def _nearest(words: Sequence[str]) -> str:
    """The nearest word for the first that no recipe has; empty: none is near, or each has some."""
    lacking = next((word for word in words if not any(matching_recipes([word]))), "")
    texts = (f"{name} {_apart(name)} {summary}" for name, summary in matching_recipes([]))
    return near(lacking.lower(), {word for text in texts for word in _words(text)})


def _apart(name: str) -> str:
    """A path whose joined words are apart: BottomHeavy, Bottom Heavy."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z]+[0-9]*", text.lower())


def _print_keys(recipe: str) -> None:
    # Not at the top: listing recipes takes no torch, and so no seconds.
    from lowres_d2.programs.mistakes import run_reporting_mistakes
    from lowres_d2.recipes.load import load_recipe
    from lowres_d2.recipes.overrides import value_keys

    run_reporting_mistakes(lambda: print(*value_keys(load_recipe(recipe)), sep="=\n", end="=\n"))


def matching_recipes(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Path and description of the recipes that have all the words."""
    for path in shipped_recipes():
        name, summary = path.as_posix(), summary_of(find_recipe(path))
        text = f"{name} {_apart(name)} {summary}"
        # At the start of a word: "own" is in own_data, not in "downsampled".
        starts = [rf"(?<![a-z]){re.escape(word)}" for word in words]
        if all(re.search(start, text, re.IGNORECASE) for start in starts):
            yield name, summary
