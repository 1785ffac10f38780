"""Preparations before worker processes start."""

from __future__ import annotations

import cv2


def stop_opencv_threads(worker: int | None = None) -> None:
    """Make OpenCV use a single thread in this process from now on.

    A forked process inherits the locks of OpenCV's thread pool in their current state, but not its
    threads, so that its first OpenCV call may wait forever. Call this before workers start. A
    forked worker may call it again, which touches no lock; a spawned one has to.

    Args:
        worker: number of the calling worker, as DataLoader passes it to ``worker_init_fn``.
    """
    if cv2.getNumThreads() > 1:
        cv2.setNumThreads(0)
