"""A user's mistake ends a program in one line; a defect keeps its traceback."""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Callable

from lowres_d2.engine.processes.allocator import keep_freed_memory
from lowres_d2.engine.processes.first_failure import PATIENCE, FirstFailure, is_lost_contact, lost
from lowres_d2.programs.screen import print_any_text

from omegaconf.errors import OmegaConfBaseException

MISTAKES = (
    ValueError,
    KeyError,
    OSError,
    ImportError,
    NotImplementedError,
    FloatingPointError,
    MemoryError,
    OmegaConfBaseException,
)


def run_reporting_mistakes(
    program: Callable[[], None],
    failure: FirstFailure | None = None,
    interrupted: str = "interrupted",
) -> None:
    """Run a program; a user's mistake becomes one line on stderr and exit code 1.

    The traceback goes to the log file of the run, if one is open, and to stderr where
    ``LOWRES_D2_TRACEBACK`` is set. Errors of other kinds are defects and keep their traceback.

    Args:
        program: takes and returns nothing.
        failure: of several processes of a run the first that fails says why, the others end.
        interrupted: printed where the user stops the program with Ctrl-C, unless the exception says
            more.
    """
    print_any_text()
    keep_freed_memory()
    failure = failure or FirstFailure()
    try:
        program()
    except KeyboardInterrupt as stop:
        if failure.claim():
            print(str(stop) or interrupted, file=sys.stderr)
        raise SystemExit(130) from None
    except Exception as error:
        lost_contact = is_lost_contact(error)
        if lost_contact:  # the process that is gone may still say why
            time.sleep(PATIENCE)
        if not failure.claim():
            raise SystemExit(1) from None
        mistake = lost_contact or isinstance(error, MISTAKES)
        if os.environ.get("LOWRES_D2_TRACEBACK") or not mistake:
            raise
        text = lost(one_line(error)) if lost_contact else one_line(error)
        print(f"error: {text}", file=sys.stderr, flush=True)
        failure.linger()
        raise SystemExit(1) from None


def one_line(error: BaseException) -> str:
    """An error's message in one line; one raised in a loader's worker loses its traceback."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        advice = "; free disk space, or choose another folder" if full else ""
        return f"{error.filename}: {error.strerror}{advice}"
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    lines = [line.strip() for line in text.splitlines() if line.strip()] or [repr(error)]
    if "DataLoader worker process" in lines[0]:
        return lines[-1].split(": ", 1)[-1]
    return lines[0]
