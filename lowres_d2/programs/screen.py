"""Text on the screen never ends a program."""

from __future__ import annotations

import io
import sys


def print_any_text() -> None:
    """Let this process print any text: what its screen's encoding lacks becomes an escape.

    Class names, paths and messages may hold any character, and names of files also bytes that are
    no text at all.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # what a caller has put there is the caller's
            stream.reconfigure(errors="backslashreplace")
