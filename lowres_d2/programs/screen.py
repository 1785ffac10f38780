"""Text on the screen never ends a program: not its characters, nor a reader that has left."""

from __future__ import annotations

import contextlib
import io
import os
import sys


def print_any_text() -> None:
    """Let this process print any text: what its screen's encoding lacks becomes an escape.

    Class names, paths and messages may hold any character, and names of files also bytes that are
    no text at all. Where nobody reads any more, as after ``| head``, the text is dropped and the
    work goes on.
    """
    if sys.stdout is sys.__stdout__ and isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout = _Unread.over(sys.stdout)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # what a caller has put there is the caller's
            stream.reconfigure(errors="backslashreplace")


class _Unread(io.TextIOWrapper):
    """Standard output that may lose its reader."""

    @classmethod
    def over(cls, stream: io.TextIOWrapper) -> _Unread:
        """In place of another stream, which must not be used any more."""
        stream.flush()
        return cls(
            stream.buffer,
            encoding=stream.encoding,
            errors=stream.errors,
            line_buffering=stream.line_buffering,
            write_through=stream.write_through,
        )

    def write(self, text: str) -> int:
        try:
            return super().write(text)
        except BrokenPipeError:
            self._drop()
            return len(text)

    def flush(self) -> None:
        try:
            super().flush()
        except BrokenPipeError:
            self._drop()

    def _drop(self) -> None:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.fileno())
        os.close(nowhere)
        with contextlib.suppress(OSError):
            super().flush()  # what was left
