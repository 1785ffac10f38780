"""Sizes of image files from their headers, kept in a file of ours between runs."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path

from lowres_d2.atomic import atomic_path
from lowres_d2.data.image.decode import orientation_of
from lowres_d2.data.image.files import open_image

_logger = logging.getLogger(__name__)
_VERSION = 1
_TURNED = 5  # from this EXIF orientation on, rows are shown as columns


class ImageSizes:
    """Heights and widths of the images of a folder, as they are shown: turned as EXIF says.

    Args:
        root: the folder.
        cache: folder of files with sizes that are known; None or empty: nothing is kept.

    Attributes:
        num_rotated: number of images that EXIF turns or mirrors, of those that were asked for.
    """

    def __init__(self, root: Path, cache: str | Path | None) -> None:
        self.num_rotated = 0
        self._file = Path(cache) / _file_name(root) if cache else None
        self._known: dict[str, list[int]] = _read(self._file) if self._file else {}
        self._changed = False

    def of(self, path: str, stamp: tuple[int, int]) -> tuple[int, int]:
        """Height and width of an image.

        Args:
            path: the file.
            stamp: its length and time of change; a size that is known for another one is not used.

        Raises:
            ValueError: it is not an image.
        """
        known = self._known.get(path)
        if known is None or known[:2] != [*stamp]:
            known = self._known[path] = [*stamp, *_header(path)]
            self._changed = True
        height, width, orientation = known[2:]
        self.num_rotated += orientation > 1
        return height, width

    def keep(self) -> None:
        """Write what was read; where that is not possible, it is read again the next time."""
        if not self._changed or self._file is None:
            return
        try:
            with atomic_path(self._file) as part:
                content = {"version": _VERSION, "images": self._known}
                part.write_text(json.dumps(content), encoding="utf-8")
        except (OSError, ValueError) as error:  # the latter: names that are no text
            _logger.info("%s: sizes of images are not kept (%s)", self._file, error)


def _header(path: str) -> tuple[int, int, int]:
    """Height, width and EXIF orientation."""
    try:
        with open(path, "rb") as file, open_image(file, max_pixels=None) as image:
            width, height = image.size
            orientation = orientation_of(image) if "exif" in image.info else 1
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such image") from None
    except Exception as error:  # Pillow raises anything for a broken file
        reason = " ".join(str(error).split())
        raise ValueError(f"{path}: is not an image that can be read ({reason})") from None
    return (width, height, orientation) if orientation >= _TURNED else (height, width, orientation)


def _file_name(root: Path) -> str:
    place = str(root.resolve())
    digest = hashlib.blake2b(place.encode("utf-8", "surrogateescape"), digest_size=6)
    return f"{root.resolve().name}-{digest.hexdigest()}.json"


def _read(file: Path) -> dict[str, list[int]]:
    """What is known; nothing where the file is not there, or not whole."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        known = content["images"] if content["version"] == _VERSION else {}
        sound: Callable[[object], bool] = lambda x: isinstance(x, list) and len(x) == 5  # noqa: E731
        return dict(known) if isinstance(known, Mapping) and all(map(sound, known.values())) else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
