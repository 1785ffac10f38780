"""Videos that the demo reads and writes.

Written videos play in browsers: H.264 where the installed OpenCV can write it (its own packages
cannot, for H.264's licence), else VP9, both in .mp4; a .webm is VP9.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from lowres_d2.data import BrokenImageError

import cv2
import numpy as np

# What can be written: OpenCV's names of encoders by the ending of the file, best first. Any player
# but a browser plays the last one.
ENCODERS = {".mp4": ("avc1", "vp09", "mp4v"), ".webm": ("VP90", "VP80")}
NAMES = {"avc1": "H.264", "vp09": "VP9", "VP90": "VP9", "VP80": "VP8", "mp4v": "MPEG-4"}

# FFmpeg prints what an encoder lacks that is only tried here. It reads this once.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")


class VideoSource:
    """The frames of a video.

    Args:
        file: the video.

    Attributes:
        rate: frames per second.
        total: number of frames, as the file says.

    Raises:
        BrokenImageError: it cannot be read.
    """

    def __init__(self, file: Path) -> None:
        self._capture = cv2.VideoCapture(str(file))
        if not self._capture.isOpened():
            raise BrokenImageError(f"{file}: cannot be read as a video")
        self.rate = self._capture.get(cv2.CAP_PROP_FPS) or 25.0
        self.total = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))

    def __iter__(self) -> Iterator[np.ndarray]:
        """BGR uint8 (H, W, 3)."""
        while True:
            there, frame = self._capture.read()
            if not there:
                self._capture.release()
                return
            yield frame


class VideoSink:
    """A video to be written; the size of its first frame is that of all.

    Args:
        file: the video.
        rate: frames per second.

    Attributes:
        encoder: OpenCV's name; empty before the first frame.
    """

    def __init__(self, file: Path, rate: float) -> None:
        self._file, self._rate, self.encoder = file, rate, ""
        self._writer: cv2.VideoWriter | None = None

    def write(self, frame: np.ndarray) -> None:
        """Add a frame, RGB uint8 (H, W, 3).

        Raises:
            OSError: this OpenCV writes no such videos.
        """
        # OpenCV crops odd sides; repeating a line or column loses nothing.
        odd = [(0, side % 2) for side in frame.shape[:2]]
        frame = np.pad(frame, [*odd, (0, 0)], mode="edge")
        if self._writer is None:
            self._writer, self.encoder = _open(self._file, self._rate, frame.shape)
        self._writer.write(np.ascontiguousarray(frame[..., ::-1]))

    def close(self) -> None:
        """Finish the file."""
        if self._writer is not None:
            self._writer.release()


def _open(file: Path, rate: float, shape: tuple[int, ...]) -> tuple[cv2.VideoWriter, str]:
    size = (shape[1], shape[0])
    for encoder in ENCODERS[file.suffix.lower()]:
        with _without_messages():
            writer = cv2.VideoWriter(str(file), cv2.VideoWriter.fourcc(*encoder), rate, size)
        if writer.isOpened():
            return writer, encoder
    raise OSError(f"{file}: this OpenCV cannot write {file.suffix} videos")


@contextlib.contextmanager
def _without_messages() -> Iterator[None]:
    before = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(before)
