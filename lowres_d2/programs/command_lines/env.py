"""Command line of ``env``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from lowres_d2.programs.command import docstring_of, file_of
from lowres_d2.programs.parser import Parser


def make_parser() -> argparse.ArgumentParser:
    """The program has no arguments."""
    return Parser(description=docstring_of(file_of("env")))


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    return make_parser().parse_args(arguments)
