"""Files that programs write for a user: they never replace a file that is the user's own.

A hidden list beside these files holds the SHA-256 and the name of each. An existing file is
replaced only if it is listed with the content that it has. Copied and moved folders keep their
list; a file that was changed since it was written is the user's own.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from lowres_d2.atomic import atomic_path

LIST = ".lowres_d2_files"


@contextlib.contextmanager
def own_path(target: str | Path) -> Iterator[Path]:
    """As :func:`lowres_d2.atomic.atomic_path`, but only for a new file or one of our own.

    Args:
        target: the file to create or replace.

    Raises:
        FileExistsError: see :func:`check_own`.
    """
    target = Path(target)
    _check(target)
    with atomic_path(target) as part:
        yield part
        # Before the file gets its name: a program that is killed between the two still owns it.
        _list(target, part)


def check_own(targets: Iterable[str | Path]) -> None:
    """Raise if one of these files is there, and is not ours to replace, or cannot be written.

    Programs call it for all that they are about to write, before work that would be lost.

    Raises:
        FileExistsError: names the file.
        OSError: names the folder that cannot be written to.
    """
    folders = set()
    for target in map(Path, targets):
        if target.parent not in folders:
            folders.add(target.parent)
            reason = why_unwritable(target.parent)
            if reason:
                raise OSError(
                    f"{target.parent} cannot be written to ({reason}): choose another folder for "
                    f"{target.name}"
                )
        _check(target)


def why_unwritable(folder: str | Path) -> str:
    """Why no file can be made in a folder, which need not exist; empty: nothing speaks against it.

    Nothing is written.
    """
    place = Path(folder)
    while not os.path.lexists(place) and place != place.parent:
        place = place.parent
    if not os.path.isdir(place):
        return f"{place} is no folder"
    return "" if os.access(place, os.W_OK | os.X_OK) else f"no permission to write into {place}"


def remove_own(target: str | Path) -> bool:
    """Remove a file if it is ours to replace; says whether it was."""
    target = Path(target)
    own = _is_own(target)
    if own:
        target.unlink()
    return own


def _check(target: Path) -> None:
    if target.is_dir():
        raise FileExistsError(f"{target}: is a folder, where a file is to be written")
    # A link that leads nowhere is somebody's, too.
    if (target.exists() or target.is_symlink()) and not _is_own(target):
        raise FileExistsError(
            f"{target}: exists, and no earlier run wrote it as it is now; move it away, or "
            "choose another name or folder for the output"
        )


def adopt(files: Iterable[str | Path]) -> None:
    """List files as ours that are known to be, such as those of versions that kept no list."""
    for file in map(Path, files):
        _list(file, file)


def _is_own(target: Path) -> bool:
    if not target.is_file() or target.is_symlink():
        return False
    return _line(target.name, target) in _listed(target)


def _list(target: Path, written: Path) -> None:
    line = _line(target.name, written)
    if line not in _listed(target):
        # Appended in one piece, also by two programs at once.
        with target.with_name(LIST).open("ab") as lines:
            lines.write(line)


def _listed(target: Path) -> bytes:
    file = target.with_name(LIST)
    return file.read_bytes() if file.is_file() else b""


def content_digest(file: Path) -> str:
    """SHA-256 of a file's content."""
    digest = hashlib.sha256()
    with file.open("rb") as content:
        while block := content.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _line(name: str, file: Path) -> bytes:
    # As json: a name may hold line breaks, and bytes that are no text.
    return f"{content_digest(file)} {json.dumps(name)}\n".encode("ascii")
