"""Files that are never half-written: made beside the target, then renamed over it."""

from __future__ import annotations

import contextlib
import glob
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def atomic_path(target: str | Path, durable: bool = False) -> Iterator[Path]:
    """Give a path to write to, which becomes the target when the block ends without an error.

    Folders are made as needed. The temporary name keeps the target's ending, since writers of
    images and videos choose their format by it. After an error the target is as it was before;
    what a killed process has left beside it is removed when it is made anew.

    Args:
        target: the file to make or replace.
        durable: wait until it is on the disk before it takes the target's place, so that a power
            failure too leaves the one or the other whole.
    """
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    part = _part_of(target, os.getpid())
    _remove_parts_of_the_dead(target)
    try:
        yield part
        if durable:
            _flush(part)
        os.replace(part, target)
        if durable and os.name == "posix":  # elsewhere folders cannot be opened
            _flush(target.parent)
    finally:
        part.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    # Windows flushes only what is open for writing.
    handle = os.open(path, os.O_RDONLY if os.name == "posix" else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _part_of(target: Path, process: int | str) -> Path:
    return target.with_name(f".{target.stem}.{process}.part{target.suffix}")


def _remove_parts_of_the_dead(target: Path) -> None:
    before, after = f".{target.stem}.", f".part{target.suffix}"
    for found in target.parent.glob(f"{glob.escape(before)}*{glob.escape(after)}"):
        process = found.name[len(before) : -len(after)]
        if process.isdecimal() and not _is_alive(int(process)):
            found.unlink(missing_ok=True)


def _is_alive(process: int) -> bool:
    if os.name != "posix":  # elsewhere signal 0 is not a question
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True
