"""Files that are never half-written: written under a temporary name, then renamed."""

from __future__ import annotations

import contextlib
import errno
import glob
import os
from collections.abc import Iterator
from pathlib import Path

from lowres_d2.alive import is_alive


@contextlib.contextmanager
def atomic_path(target: str | Path, durable: bool = False) -> Iterator[Path]:
    """Give a temporary path to write to, which becomes the target if the block succeeds.

    Folders are created as needed. The temporary name keeps the target's suffix, since writers of
    images and videos choose their format by it. After an error the target is unchanged. Temporary
    files of killed processes are removed when the same target is written again.

    Args:
        target: the file to create or replace.
        durable: flush the file to disk before it replaces the target, so that even a power failure
            leaves the old or the new file intact.

    Raises:
        OSError: the target cannot be written; names it, whatever the writer's own error says.
    """
    target = Path(target)
    # The process id keeps two writers of one target apart, and tells which files are orphans.
    part = _part_of(target, os.getpid())
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove_parts_of_the_dead(target)
        yield part
        if durable:
            _flush(part)
        # Atomic within one file system, on which a file beside the target is sure to be.
        os.replace(part, target)
        # The new name is an entry of the folder: without this it may be lost in a power failure.
        if durable and os.name == "posix":  # elsewhere folders cannot be opened
            _flush(target.parent)
    except (OSError, RuntimeError) as error:
        named = _with_name(error, part, target)
        if named is None:
            raise
        raise named from error
    finally:
        with contextlib.suppress(OSError):  # a folder that is none, say: the error above names it
            part.unlink()


# What libraries say whose errors do not carry the system's reason: torch's and Pillow's writers.
_FAILED_WRITES = ("PytorchStreamWriter", "unexpected pos", "file write failed", "encoder error")


def _with_name(error: OSError | RuntimeError, part: Path, target: Path) -> OSError | None:
    """The error of a write with the target's name; None: it is about something else."""
    if isinstance(error, OSError) and error.errno is not None:
        # Writing to an open file names no file; opening one names the temporary path.
        if error.filename is None or str(error.filename) == str(part):
            return OSError(error.errno, error.strerror, str(target))
        return None
    if not any(words in str(error) for words in _FAILED_WRITES):
        return None
    cause = error.__cause__ or error.__context__  # torch's writer ends what the system began
    if isinstance(cause, OSError) and cause.errno is not None:
        return OSError(cause.errno, cause.strerror, str(target))
    reason = " ".join(str(error).split())[:200]
    what = f"could not be written, is the disk full? ({reason})"
    return OSError(errno.EIO, what, str(target))


def _flush(path: Path) -> None:
    # Windows flushes only files that are open for writing.
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
        if process.isdecimal() and not is_alive(int(process)):
            # Another process may be removing it at the same moment.
            found.unlink(missing_ok=True)
