"""Whether the process of a number is alive."""

from __future__ import annotations

import os


def is_alive(process: int) -> bool:
    """Whether there is a process of this number on this machine; True where that cannot be told."""
    if os.name != "posix":  # on Windows signal 0 is Ctrl+C
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    # Another user's process, or a number that no process can have.
    except (PermissionError, OverflowError):
        return True
    return True
