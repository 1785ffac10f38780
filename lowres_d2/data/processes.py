"""What has to be so before worker processes start."""

from __future__ import annotations

import cv2


def stop_opencv_threads(worker: int | None = None) -> None:
    """Let OpenCV compute with one thread in this process from now on.

    A forked process inherits the locks of OpenCV's thread pool in whatever state they are, but not
    its threads, and may wait for them forever in its first call. So this comes before workers
    start; called again in a forked worker it touches no lock, in a spawned one it is needed.

    Args:
        worker: number of the worker that calls it, as DataLoader's ``worker_init_fn`` gives it.
    """
    if cv2.getNumThreads() > 1:
        cv2.setNumThreads(0)
