"""The C core as a library: compiled once for a machine, by its own compiler.

It is kept in ``~/.cache/lowres_d2`` (``XDG_CACHE_HOME`` is respected) under a name made from the
source, the command and the processor's architecture, so an older or foreign one is never loaded.
Instruction sets are chosen when it runs: one library serves every processor of an architecture.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import logging
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path

from lowres_d2.atomic import atomic_path

SOURCE = Path(__file__).parent / "core"
COMPILERS = ("cc", "gcc", "clang")
# Products and sums are rounded one after the other, as torch does: no fused multiply-add.
FLAGS = ("-O3", "-std=gnu11", "-fPIC", "-shared", "-ffp-contract=off", "-pthread")
_lock = threading.Lock()


class NotCompiledError(Exception):
    """There is no compiler, or it fails; says so in one line."""


def library() -> ctypes.CDLL | None:
    """The loaded core; None where it cannot be compiled, which is said once."""
    with _lock:
        return _loaded()


@functools.cache
def _loaded() -> ctypes.CDLL | None:
    try:
        return load(compiler())
    except NotCompiledError as error:
        logging.getLogger(__name__).warning(
            f"1-bit layers run without their C core, many times slower: {error}"
        )
        return None


def compiler() -> list[str]:
    """The compiler and its flags; ``CC`` comes before what is found on ``PATH``.

    Raises:
        NotCompiledError: there is none.
    """
    named = shlex.split(os.environ.get("CC", ""))
    found = named or [name for name in COMPILERS if shutil.which(name)][:1]
    if not found:
        names = ", ".join(COMPILERS)
        raise NotCompiledError(f"no C compiler on PATH ({names}); install one or name it in CC")
    return [*found, *FLAGS]


def cached_path(command: list[str]) -> Path:
    """Where the library that this command makes from this source is kept."""
    key = hashlib.sha256("\0".join([*command, platform.machine()]).encode())
    for path in sorted(SOURCE.iterdir()):
        key.update(path.name.encode() + b"\0" + path.read_bytes())
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home, "lowres_d2", f"one_bit-{key.hexdigest()[:20]}.so")


def load(command: list[str]) -> ctypes.CDLL:
    """The library from the cache, else compiled into it.

    Raises:
        NotCompiledError: the compiler fails.
    """
    try:
        path = cached_path(command)
        if not path.is_file():
            with atomic_path(path) as part:
                _compile(command, part)
        return ctypes.CDLL(str(path))
    # No home, a cache that is read-only, full or not for programs, a library of another system in
    # a shared home: one for this process alone. Once loaded it needs no file.
    except (OSError, RuntimeError):
        with tempfile.TemporaryDirectory(prefix="lowres_d2_") as folder:
            path = Path(folder, "one_bit.so")
            _compile(command, path)
            return ctypes.CDLL(str(path))


def _compile(command: list[str], target: Path) -> None:
    sources = sorted(str(path) for path in SOURCE.glob("*.c"))
    try:
        done = subprocess.run(
            [*command, *sources, "-o", str(target)], capture_output=True, text=True
        )
    except OSError as error:
        raise NotCompiledError(f"{command[0]}: {error.strerror}") from error
    if done.returncode:
        lines = [line.strip() for line in done.stderr.splitlines() if "error" in line]
        raise NotCompiledError(f"{command[0]} failed: {(lines or ['no reason given'])[0]}")
