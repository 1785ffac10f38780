"""Files that are never half-written: made beside the target, then renamed over it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def atomic_path(target: str | Path) -> Iterator[Path]:
    """Give a path to write to, which becomes the target when the block ends without an error.

    Folders are made as needed. The temporary name keeps the target's ending, since writers of
    pictures and videos choose their format by it. After an error the target is as it was before.

    Args:
        target: the file to make or replace.
    """
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.stem}.{os.getpid()}.part{target.suffix}")
    try:
        yield part
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)
