"""Of several processes of a run, only the first that fails reports why; the others exit silently.

A process that fails says so in a store that all share. In every other process a thread checks the
store twice a second and ends its process, whatever that waits for: gloo notices a lost process
itself, NCCL may wait for minutes.
"""

from __future__ import annotations

import os
import re
import sys
import threading
import time

import torch.distributed as dist

KEY = "lowres_d2/failed"
INTERVAL = 0.5  # seconds between two checks
# Seconds in which a launcher ends the rest of a run, and the process that failed reports why.
PATIENCE = 3.0


class FirstFailure:
    """Finds out whether this process of a run was the first to fail.

    Args:
        store: store shared by all processes; None for a single process.
        hosts_store: whether the store ends with this process.
    """

    def __init__(self, store: dist.Store | None = None, hosts_store: bool = False) -> None:
        self._store, self._hosts_store = store, hosts_store
        self._watched = threading.Event()
        self._thread: threading.Thread | None = None

    def claim(self) -> bool:
        """Tell the others that this process has failed.

        Returns:
            Whether it is the first one, which then reports why.
        """
        if self._store is None:
            return True
        # Else the watch would see this process's own claim, and end it before it reports.
        self._end_watch()
        try:
            # Atomic: of several that fail at once, only one gets 1.
            return self._store.add(KEY, 1) == 1
        except RuntimeError:  # the process that hosts the store is gone, and no claim was seen
            return True

    def linger(self) -> None:
        """If the store ends with this process, wait until the others have seen the claim."""
        if self._hosts_store:
            time.sleep(3 * INTERVAL)

    def watch(self) -> None:
        """From now on, end this process soon after another one has failed."""
        # A daemon: a run that succeeds does not wait for it.
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def leave(self) -> None:
        """The run has succeeded; from now on the store may disappear."""
        self._end_watch()
        self._store = None

    def _end_watch(self) -> None:
        self._watched.set()
        if self._thread is not None:
            self._thread.join()

    def _look(self) -> None:
        # Ends by os._exit: sys.exit would end this thread only, and the main one may wait forever.
        while not self._watched.wait(INTERVAL):
            try:
                failed = self._store.check([KEY])
            except RuntimeError:
                if not self._watched.wait(PATIENCE):
                    _print_error(f"error: {lost('the process that hosts their store is gone')}")
                    os._exit(1)
                return
            if failed and not self._watched.is_set():
                os._exit(1)


def is_lost_contact(error: BaseException) -> bool:
    """Whether an operation with other processes failed because one of them is gone."""
    # gloo raises a plain RuntimeError, known only by the source file that it names.
    return isinstance(error, dist.DistError) or (
        isinstance(error, RuntimeError) and "gloo/transport" in str(error)
    )


def lost(reason: str) -> str:
    """The message for a run that ends because of a process that did not report why it ended.

    Args:
        reason: the error; from gloo's messages, the place in its code and its advice are removed.
    """
    reason = re.sub(r"^\[\S*gloo\S*\] ", "", reason).split(". ")[0]
    return (
        f"lost contact with another process of this run ({reason}): it was killed, or its machine "
        "or network is down; --resume continues from the last checkpoint, if there is one"
    )


def _print_error(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
