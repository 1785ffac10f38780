"""Logging: set-up of the loggers, messages that come rarely, small tables."""

from __future__ import annotations

import atexit
import functools
import logging
import os
import sys
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

import torch
from detectron2.utils.file_io import PathManager
from tabulate import tabulate
from termcolor import colored

__all__ = [
    "create_small_table",
    "log_every_n",
    "log_every_n_seconds",
    "log_first_n",
    "setup_logger",
]

_LEVEL_MARKS = {
    logging.WARNING: ("WARNING", ["blink"]),
    logging.ERROR: ("ERROR", ["blink", "underline"]),
    logging.CRITICAL: ("ERROR", ["blink", "underline"]),
}
_counts: Counter[Any] = Counter()
_last_times: dict[Any, float] = {}


class _Formatter(logging.Formatter):
    """Puts a short name in place of the logger's, and marks warnings and errors in colour."""

    def __init__(self, fmt: str, root: str, abbreviation: str, color: bool):
        super().__init__(fmt, datefmt="%m/%d %H:%M:%S")
        self._root, self._abbreviation, self._color = root, abbreviation, color

    def format(self, record: logging.LogRecord) -> str:
        name = record.name
        if name == self._root or name.startswith(f"{self._root}."):
            record.name = (self._abbreviation + name[len(self._root) :]).lstrip(".")
        text = super().format(record)
        record.name = name  # other handlers see the same record
        if self._color and record.levelno in _LEVEL_MARKS:
            word, attributes = _LEVEL_MARKS[record.levelno]
            text = f"{colored(word, 'red', attrs=attributes)} {text}"
        return text


@functools.cache
def setup_logger(
    output: str | None = None,
    distributed_rank: int = 0,
    *,
    color: bool = True,
    name: str = "detectron2",
    abbrev_name: str | None = None,
    enable_propagation: bool = False,
    configure_stdout: bool = True,
) -> logging.Logger:
    """Set a logger up, at level DEBUG; a second call with the same arguments changes nothing.

    Args:
        output: file (if it ends in .txt or .log) or folder of log.txt; None writes no file.
        distributed_rank: rank of this process; others than 0 log to a file of their own only.
        color: colours where the output is a terminal (or FORCE_COLOR is set, NO_COLOR is not).
        name: logger.
        abbrev_name: stands for `name` in lines; None for `name`, "d2" for "detectron2".
        enable_propagation: hand records on to parent loggers too.
        configure_stdout: log to the terminal.

    Returns:
        The logger.
    """
    logger = logging.getLogger(name)
    logger.setLevel(logging.DEBUG)
    logger.propagate = enable_propagation
    if abbrev_name is None:
        abbrev_name = "d2" if name == "detectron2" else name
    if configure_stdout and distributed_rank == 0:
        head = "[%(asctime)s %(name)s]: "
        head = colored(head, "green") if color else head
        handler = logging.StreamHandler(stream=sys.stdout)
        handler.setFormatter(_Formatter(head + "%(message)s", name, abbrev_name, color))
        logger.addHandler(handler)
    if output is not None:
        output = os.fspath(output)
        file = output if output.endswith((".txt", ".log")) else os.path.join(output, "log.txt")
        file += f".rank{distributed_rank}" if distributed_rank > 0 else ""
        PathManager.mkdirs(os.path.dirname(file))
        handler = logging.StreamHandler(_log_stream(file))
        plain = "[%(asctime)s] %(name)s %(levelname)s: %(message)s"
        handler.setFormatter(_Formatter(plain, name, abbrev_name, color=False))
        logger.addHandler(handler)
    return logger


@functools.cache
def _log_stream(file: str) -> Any:
    """One stream a file, however many loggers write to it; closed at the end."""
    stream = PathManager.open(file, "a", encoding="utf-8", errors="backslashreplace")
    atexit.register(stream.close)
    return stream


def _caller() -> tuple[str, tuple[str, int, str]]:
    """Module, and (file, line, function), of whoever called into this module."""
    frame = sys._getframe(1)
    while frame.f_code.co_filename == __file__:
        frame = frame.f_back
    module = frame.f_globals["__name__"]
    position = (frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name)
    return ("detectron2" if module == "__main__" else module), position


def _log_api_usage(identifier: str) -> None:
    """Count a use of `identifier` in torch's own statistics, which are off unless set up."""
    torch._C._log_api_usage_once(f"detectron2.{identifier}")


def log_first_n(
    lvl: int,
    msg: str,
    n: int = 1,
    *,
    name: str | None = None,
    key: str | tuple[str, ...] = "caller",
) -> None:
    """Log a message the first `n` times only.

    Args:
        lvl: level.
        msg: message.
        n: number of times.
        name: logger; None for the caller's module.
        key: what makes two messages the same: "caller" (the line of code), "message" or both.
    """
    module, position = _caller()
    keys = (key,) if isinstance(key, str) else key
    identity = (*(position if "caller" in keys else ()), *((msg,) if "message" in keys else ()))
    _counts[identity] += 1
    if _counts[identity] <= n:
        logging.getLogger(name or module).log(lvl, msg)


def log_every_n(lvl: int, msg: str, n: int = 1, *, name: str | None = None) -> None:
    """Log a message the first of every `n` times this line of code runs.

    Args:
        lvl: level.
        msg: message.
        n: period.
        name: logger; None for the caller's module.
    """
    module, position = _caller()
    _counts[position] += 1
    if n == 1 or _counts[position] % n == 1:
        logging.getLogger(name or module).log(lvl, msg)


def log_every_n_seconds(lvl: int, msg: str, n: float = 1, *, name: str | None = None) -> None:
    """Log a message unless this line of code logged within the last `n` seconds.

    Args:
        lvl: level.
        msg: message.
        n: seconds.
        name: logger; None for the caller's module.
    """
    module, position = _caller()
    now = time.monotonic()
    if position not in _last_times or now - _last_times[position] >= n:
        logging.getLogger(name or module).log(lvl, msg)
        _last_times[position] = now


def create_small_table(small_dict: Mapping[str, Any]) -> str:
    """A table of one row, for a few values under their names."""
    return tabulate(
        [list(small_dict.values())],
        headers=list(small_dict),
        tablefmt="pipe",
        floatfmt=".3f",
        stralign="center",
        numalign="center",
    )
