"""The programs' command lines: a mistyped flag or choice names the nearest."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from lowres_d2.near_names import near


class Parser(argparse.ArgumentParser):
    """argparse's parser, whose errors name the nearest flag or choice."""

    _given: Sequence[str] = ()

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse's; remembers what was given."""
        self._given = [*(sys.argv[1:] if args is None else args)]
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """End the program with usage and message."""
        unknown = next((word for word in self._given if self._is_unknown_flag(word)), None)
        wrong = re.search(r"invalid choice: '(.*?)' \(choose from (.*)\)", message)
        if unknown is not None:
            # Said first: what else is missing may be what stands behind it.
            nearest = near(unknown.partition("=")[0], self._option_string_actions)
            message = f"unknown flag {unknown}{nearest}"
        elif wrong:
            names = [name.strip(" '") for name in wrong[2].split(",")]
            message += near(wrong[1], names)
        super().error(message)

    def _is_unknown_flag(self, word: str) -> bool:
        """Whether a word is like a flag, and is none of the parser's, nor the start of one."""
        flag = word.partition("=")[0]
        known = self._option_string_actions
        return re.fullmatch(r"--[a-zA-Z][\w-]*", flag) is not None and not any(
            name.startswith(flag) for name in known
        )
