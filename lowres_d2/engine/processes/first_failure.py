"""Of several processes of a run, the first that fails says why; the others end without a word.

A process that fails claims that in a store they share. A thread of each other one looks there twice
a second and ends its process, whatever that waits for: gloo notices a lost process itself, NCCL may
wait for minutes.
"""

from __future__ import annotations

import os
import re
import sys
import threading
import time

import torch.distributed as dist

KEY = "lowres_d2/failed"
INTERVAL = 0.5  # seconds between two looks
PATIENCE = 3.0  # in which a launcher ends what is left of a run, and the culprit speaks


class FirstFailure:
    """Which process of a run was the first to fail.

    Args:
        store: shared by all of them; None for a process that stands alone.
        hosts_store: whether it ends with this process.
    """

    def __init__(self, store: dist.Store | None = None, hosts_store: bool = False) -> None:
        self._store, self._hosts_store = store, hosts_store
        self._watched = threading.Event()
        self._thread: threading.Thread | None = None

    def claim(self) -> bool:
        """Tell the others that this process has failed.

        Returns:
            Whether it is the first one, which is to say why.
        """
        if self._store is None:
            return True
        self._end_watch()
        try:
            return self._store.add(KEY, 1) == 1
        except RuntimeError:  # whoever kept the store is gone, without a claim that was seen
            return True

    def linger(self) -> None:
        """Before a process ends that keeps the store: let the others see the claim."""
        if self._hosts_store:
            time.sleep(3 * INTERVAL)

    def watch(self) -> None:
        """From now on end this process soon after another one has failed."""
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def leave(self) -> None:
        """The run has ended well; the store may vanish."""
        self._end_watch()
        self._store = None

    def _end_watch(self) -> None:
        self._watched.set()
        if self._thread is not None:
            self._thread.join()

    def _look(self) -> None:
        while not self._watched.wait(INTERVAL):
            try:
                failed = self._store.check([KEY])
            except RuntimeError:
                if not self._watched.wait(PATIENCE):
                    _say(f"error: {lost('the process that all met at is gone')}")
                    os._exit(1)
                return
            if failed and not self._watched.is_set():
                os._exit(1)


def is_lost_contact(error: BaseException) -> bool:
    """Whether an operation with other processes failed because one of them is gone."""
    return isinstance(error, dist.DistError) or (
        isinstance(error, RuntimeError) and "gloo/transport" in str(error)
    )


def lost(reason: str) -> str:
    """What is said where no process has said why it ended.

    Args:
        reason: what was noticed; of gloo's messages the place in its code and its advice are left
            out.
    """
    reason = re.sub(r"^\[\S*gloo\S*\] ", "", reason).split(". ")[0]
    return (
        f"lost contact with another process of this run ({reason}): it was ended from outside, or "
        "its machine or network is down; --resume goes on from the last checkpoint"
    )


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
