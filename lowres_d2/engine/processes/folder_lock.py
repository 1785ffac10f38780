"""One process at a time writes into a folder, also if the folder is on a network file system.

The lock is a file that names its holder. ``O_EXCL`` creates it, which is atomic on local and on
network file systems, where ``flock`` may be missing or work within one machine only. The holder
touches its file every few seconds. A holder that was killed is found out by its process number on
its own machine, and by a file that nobody touches from other machines; the lock is then taken over.
"""

from __future__ import annotations

import contextlib
import glob
import json
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lowres_d2.alive import is_alive

BEAT = 5.0  # seconds between two touches
PATIENCE = 60.0  # seconds without one after which a holder on another machine counts as dead
BOOT = Path("/proc/sys/kernel/random/boot_id")  # of Linux: new at each start of a machine
# What a user can do where a folder cannot be written into.
ELSEWHERE = (
    "another output folder (train.output_dir=FOLDER, or --output FOLDER of programs that have it)"
)

logger = logging.getLogger(__name__)


class FolderInUse(OSError):
    """Another process writes into the folder; the message names it."""


@contextlib.contextmanager
def folder_lock(path: str | Path) -> Iterator[None]:
    """Hold the lock file at ``path`` in this context.

    Raises:
        FolderInUse: a living process holds it.
        OSError: the file cannot be written.
    """
    path = Path(path)
    me = _this_process()
    _acquire(path, me)
    _remove_leftovers(path)
    ended = threading.Event()
    # A daemon: a process that ends in any way ends its touches, too.
    threading.Thread(target=_keep_touching, args=(path, ended), daemon=True).start()
    try:
        yield
    finally:
        ended.set()
        if _read(path) == me:
            path.unlink(missing_ok=True)


def _acquire(path: Path, me: dict[str, Any]) -> None:
    while not _create(path, me):
        seen, holder = _touched(path), _read(path)
        if _lives(path, holder):
            raise FolderInUse(
                f"{path.parent} is in use by {_described(holder)}: wait for its end, or "
                f"choose {ELSEWHERE}"
            )
        _remove(path, holder, seen, me)


def _create(path: Path, me: dict[str, Any]) -> bool:
    """Write a lock file, unless there is one."""
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
    except FileExistsError:
        return False
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(me, file)
    except OSError:  # the disk is full
        path.unlink()
        raise
    return True


def _remove(path: Path, dead: dict[str, Any], seen: float | None, me: dict[str, Any]) -> None:
    """Remove a dead holder's file; it may be there still, if another process is about to do so.

    One at a time: between a second one's look and its removal, a third may have got the lock.
    """
    guard = path.with_name(f"{path.name}.removal")
    if not _create(guard, me):
        time.sleep(0.01)
        remover = (_read(guard), _touched(guard))
        killed = remover[1] is not None and not _lives(guard, remover[0])
        if killed and (_read(guard), _touched(guard)) == remover:
            guard.unlink(missing_ok=True)
        return
    try:
        if (_read(path), _touched(path)) == (dead, seen):
            path.unlink(missing_ok=True)
    finally:
        guard.unlink(missing_ok=True)


def _remove_leftovers(path: Path) -> None:
    """Remove what processes of this machine had beside it when they were killed."""
    for aside in path.parent.glob(f"{glob.escape(path.name)}.*"):
        holder = _read(aside)
        if holder.get("machine") == _machine() and not _is_running(
            holder.get("process"), holder.get("born")
        ):
            aside.unlink(missing_ok=True)


def _lives(path: Path, holder: dict[str, Any]) -> bool:
    if holder.get("machine") == _machine() and os.name == "posix":
        return _is_running(holder.get("process"), holder.get("born"))
    # Times are compared with times of the same file system: clocks of machines differ.
    first, waited, told = _touched(path), time.monotonic(), False
    while (latest := _touched(path)) is not None and latest == first:
        if _now(path) - latest > PATIENCE or time.monotonic() - waited > PATIENCE:
            return False
        if not told:
            logger.warning(
                "%s: waiting up to %.0f s for a sign of life of %s",
                path,
                PATIENCE,
                _described(holder),
            )
            told = True
        time.sleep(BEAT / 5)
    return latest is not None


def _touched(path: Path) -> float | None:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return None


def _now(path: Path) -> float:
    """The time by the clock of the file system."""
    probe = path.with_name(f"{path.name}.{uuid.uuid4().hex}")
    probe.touch()
    try:
        return probe.stat().st_mtime
    finally:
        probe.unlink()


def _keep_touching(path: Path, ended: threading.Event) -> None:
    while not ended.wait(BEAT):
        with contextlib.suppress(OSError):  # the file system may be away for a moment
            os.utime(path)


def _read(path: Path) -> dict[str, Any]:
    """What a lock file says; nothing if it is gone, or not written to its end yet."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _this_process() -> dict[str, Any]:
    return {
        "host": socket.gethostname(),
        "process": os.getpid(),
        "since": time.strftime("%Y-%m-%d %H:%M:%S"),
        "machine": _machine(),
        "born": _born(os.getpid()),
        "token": uuid.uuid4().hex,
    }


def _machine() -> str:
    """Where a process number means the same: the host since its start, and in it the container.

    Hosts may have the same name (copied virtual machines), and the outermost container has the
    same number on every host.
    """
    known = [socket.gethostname()]
    with contextlib.suppress(OSError):
        known.append(BOOT.read_text(encoding="utf-8").strip())
    with contextlib.suppress(OSError):
        known.append(str(os.stat("/proc/self/ns/pid").st_ino))
    return " ".join(known)


def _is_running(process: Any, born: Any) -> bool:
    if not isinstance(process, int) or not is_alive(process):
        return False
    # Numbers are used again: it is the same process only if it was born at the same time.
    return born is None or _born(process) in (born, None)


def _born(process: int) -> str | None:
    """When a process was started; None: this system does not say; empty: it has ended."""
    try:
        text = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()  # the name before it may hold anything
    return "" if fields[0] in "ZX" else fields[19]  # a zombie waits to be collected


def _described(holder: dict[str, Any]) -> str:
    if "process" not in holder:
        return "another process"
    return f"process {holder['process']} on {holder.get('host')} since {holder.get('since')}"
