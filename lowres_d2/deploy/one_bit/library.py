"""The C core as a library: compiled once for a machine, by its own compiler.

It is kept in ``~/.cache/lowres_d2`` (``XDG_CACHE_HOME`` is respected) under a name made from the
source, the command, the processor's architecture and its own content, so an older, foreign or
broken one is never loaded: a program that maps a file that was cut off dies without a word.
Instruction sets are chosen when it runs: one library serves every processor of an architecture.
"""

from __future__ import annotations

import contextlib
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
CALLED = (
    "one_bit_supported",
    "one_bit_supported_by",
    "one_bit_convolve",
    "one_bit_pack",
    "one_bit_stem",
)
_lock = threading.Lock()


class NotCompiledError(Exception):
    """There is no compiler, or it makes no library that loads; says so in one line."""


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
        NotCompiledError: there is none, or ``CC`` is no command.
    """
    asked = os.environ.get("CC", "")
    try:
        named = shlex.split(asked)
    except ValueError as error:
        raise NotCompiledError(f"CC={asked} is no command ({error})") from error
    found = named or [name for name in COMPILERS if shutil.which(name)][:1]
    if not found:
        names = ", ".join(COMPILERS)
        raise NotCompiledError(f"no C compiler on PATH ({names}); install one or name it in CC")
    return [*found, *FLAGS]


def cached_path(command: list[str], content: bytes) -> Path:
    """Where a library with this content is kept, which this command made from this source."""
    digest = hashlib.sha256(content).hexdigest()[:20]
    return _folder() / f"{_start(command)}-{digest}.so"


def kept_path(command: list[str]) -> Path | None:
    """The library that is kept, if it is whole."""
    with contextlib.suppress(OSError, RuntimeError):  # no home, or one that cannot be read
        for path in sorted(_folder().glob(f"{_start(command)}-*.so")):
            if path.is_file() and path == cached_path(command, path.read_bytes()):
                return path
    return None


def load(command: list[str]) -> ctypes.CDLL:
    """The library from the cache, else compiled into it.

    Raises:
        NotCompiledError: the compiler fails, or what it makes cannot be loaded.
    """
    kept = kept_path(command)
    if kept is not None:
        # It may be of another system in a shared home, or its folder not for programs.
        with contextlib.suppress(OSError):
            return _opened(kept)
    try:
        with tempfile.TemporaryDirectory(prefix="lowres_d2_") as folder:
            made = Path(folder, "one_bit.so")
            _compile(command, made)
            with contextlib.suppress(OSError, RuntimeError):
                return _opened(_keep(command, made))
            # A cache that is read-only, full or not for programs is done without: once loaded, a
            # library needs no file.
            return _opened(made)
    except OSError as error:
        raise NotCompiledError(f"the library of {command[0]} cannot be used: {error}") from error


def _folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "lowres_d2")


def _start(command: list[str]) -> str:
    key = hashlib.sha256("\0".join([*command, platform.machine()]).encode())
    for path in sorted(SOURCE.iterdir()):
        key.update(path.name.encode() + b"\0" + path.read_bytes())
    return f"one_bit-{key.hexdigest()[:20]}"


def _keep(command: list[str], made: Path) -> Path:
    content = made.read_bytes()
    path = cached_path(command, content)
    with atomic_path(path) as part:
        part.write_bytes(content)
    return path


def _opened(path: Path) -> ctypes.CDLL:
    core = ctypes.CDLL(str(path))
    missing = [name for name in CALLED if not hasattr(core, name)]
    if missing:
        raise OSError(f"{path.name} lacks {missing[0]}")
    return core


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
    if not target.is_file():
        raise NotCompiledError(f"{command[0]} made no library, without an error")
