"""Images in files that are read window by window, and so never are in memory as a whole.

Arrays of numpy (.npy) are mapped into memory; of a TIFF, tiled or in strips, only the segments that
a window touches are decoded, with ``tifffile`` where that is installed. Pixels are those of
:meth:`lowres_d2.data.image.ImageReader.read`.
"""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any, Protocol

from lowres_d2.data.image.bands import is_rgb_by_jpeg, is_tiff, lacks_codec
from lowres_d2.data.image.decode import Decoded, array_header, decode_pillow
from lowres_d2.data.image.files import UnfitImageError, open_regular
from lowres_d2.data.image.pages import warn_of_further_pages
from lowres_d2.data.image.reader import NARROW, ImageReader

import numpy as np
import torch
from jaxtyping import Shaped
from PIL import Image
from torch import Tensor

_CACHED = 128 * 2**20  # bytes of decoded segments that are kept
_LOOKED_AT = 2**22  # pixels at a time, for the range of a file's values


class FileImage:
    """A large image in a file, as a :class:`lowres_d2.structures.WindowedImage`.

    Args:
        path: of the file.
        reader: how its values are read.

    Raises:
        ValueError: files of this kind cannot be read in windows; says why.
    """

    def __init__(self, path: str, reader: ImageReader) -> None:
        self._path, self._reader = path, reader
        self._file = _opened(path, reader)
        height, width = self._file.size
        self.shape = (len(self[:, 0:1, 0:1]), height, width)

    def __getitem__(self, window: tuple[slice, slice, slice]) -> Shaped[Tensor, "C _h _w"]:
        """Pixels of ``image[:, y0:y1, x0:x1]``, 0 to 255, in the reader's channels.

        Raises:
            ValueError: they cannot be read, or are no values of an image; names file and place.
        """
        channels, *sides = window
        (y0, y1, _), (x0, x1, _) = (
            side.indices(length) for side, length in zip(sides, self._file.size, strict=True)
        )
        with self._named_faults(y0, y1, x0, x1):
            pixels = self._reader.as_network_gets(self._decoded(y0, y1, x0, x1))
        return torch.from_numpy(pixels.transpose(2, 0, 1)[channels].copy())

    def range_fault(self) -> str | None:
        """As :meth:`ImageReader.range_fault`; reads on until a value is found that makes it None.

        Raises:
            ValueError: as of a window.
        """
        if self._reader.value_range is None and self._file.top in range(256):
            return None
        (height, width), ends, fault = self._file.size, [], None
        rows = max(_LOOKED_AT // width, 1)
        for y0 in range(0, height, rows):
            y1 = min(y0 + rows, height)
            with self._named_faults(y0, y1, 0, width):
                decoded = self._decoded(y0, y1, 0, width)
                ends += [decoded.values.min(), decoded.values.max()]
                seen = np.array([min(ends), max(ends)], decoded.values.dtype)
                scaled = self._reader.scaled(seen, decoded)
            fault = self._reader.narrow_fault(seen)
            if fault is None or scaled.dtype == np.uint8 or np.ptp(scaled) >= NARROW:
                return None
        return fault

    @contextlib.contextmanager
    def _named_faults(self, y0: int, y1: int, x0: int, x1: int) -> Iterator[None]:
        try:
            yield
        except (UnfitImageError, MemoryError):
            raise
        except Exception as error:  # each codec has its own
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise ValueError(
                f"{self._path}: rows {y0} to {y1} and columns {x0} to {x1} cannot be read "
                f"({reason}); replace the file"
            ) from error

    def _decoded(self, y0: int, y1: int, x0: int, x1: int) -> Decoded:
        file = self._file
        values, top = file.read(y0, y1, x0, x1), file.top
        if isinstance(file, _TiffFile) and top is not None and top < 255 and self._reader.mode:
            # As of whole images: Pillow makes 8 bits of fewer, before any value_range.
            values, top = np.rint(values * (255 / top)).astype(np.uint8), 255
        colours = values.dtype == np.uint8 and values.shape[2] == 3
        if isinstance(file, _TiffFile) and colours and self._reader.mode == "L":
            # As of whole images: Pillow's rounded grey values, before any value_range.
            return decode_pillow(Image.fromarray(values), "L", max_pixels=None)
        return Decoded(values, top, file.mode)

    def __reduce__(self) -> tuple[Any, ...]:
        return FileImage, (self._path, self._reader)  # opened anew in another process


class _WindowedFile(Protocol):
    size: tuple[int, int]
    top: int | None
    mode: str

    def read(self, y0: int, y1: int, x0: int, x1: int) -> np.ndarray: ...


def _opened(path: str, reader: ImageReader) -> _WindowedFile:
    with open_regular(path) as file:
        header = array_header(file)
        tiff = is_tiff(file)
        if tiff and reader.image_format is not None:
            warn_of_further_pages(file, path)
    if header is not None:
        return _ArrayFile(path, header[1])
    if not tiff:
        raise ValueError("only TIFF files and arrays (.npy) are read in windows")
    return _TiffFile(path)


class _ArrayFile:
    def __init__(self, path: str, kind: str) -> None:
        self._values = np.load(path, mmap_mode="r", allow_pickle=False)
        self.size = self._values.shape[:2]
        self.mode = kind
        self.top = {"bool": 1, "uint8": 255, "uint16": 65535}.get(kind)

    def read(self, y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
        values = np.array(self._values[y0:y1, x0:x1])
        return values if values.ndim == 3 else values[..., None]


class _TiffFile:
    """The first image of a TIFF, whose tiles or strips are decoded as they are needed."""

    def __init__(self, path: str) -> None:
        try:
            import tifffile
        except ModuleNotFoundError:
            raise ValueError(
                "TIFF files are read in windows by tifffile: pip install tifffile imagecodecs "
                "(the extra 'large')"
            ) from None
        self._tiff = tifffile.TiffFile(path)
        page = self._page = self._tiff.pages[0]
        images = len(self._tiff.series[0].pages)
        if images > 1:
            raise ValueError(f"a TIFF of {images} images is not read in windows")
        plain = ["MINISBLACK", "MINISWHITE", "RGB"] + ["YCBCR"] * is_rgb_by_jpeg(page)
        if page.photometric.name not in plain or page.imagedepth != 1:
            raise ValueError(f"a TIFF of {page.photometric.name} values is not read in windows")
        if page.tags.valueof("Orientation", 1) != 1:
            raise ValueError("a TIFF with an orientation is not read in windows")
        self.size = page.imagelength, page.imagewidth
        self.mode = page.dtype.name
        self.top = 2**page.bitspersample - 1 if page.dtype.kind in "bu" else None
        self._white_is_zero = page.photometric.name == "MINISWHITE"
        self._segment = page.chunks[-3:-1] if page.planarconfig == 1 else page.chunks[-2:]
        self._bands = page.samplesperpixel
        self._separate = page.planarconfig != 1 and self._bands > 1
        if page.samplesperpixel == 1:
            self._segment = page.chunks[:2]
        self._kept: OrderedDict[int, np.ndarray] = OrderedDict()
        self._bytes = 0  # of what is kept
        self._lock = threading.Lock()

    def read(self, y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
        values = np.zeros((y1 - y0, x1 - x0, self._bands), self._page.dtype)
        for index, band, top, left in self._touched(y0, y1, x0, x1):
            segment = self._decoded(index)
            rows = slice(max(y0, top), min(y1, top + len(segment)))
            columns = slice(max(x0, left), min(x1, left + segment.shape[1]))
            into = values[rows.start - y0 : rows.stop - y0, columns.start - x0 : columns.stop - x0]
            part = segment[rows.start - top : rows.stop - top, columns.start - left :]
            part = part[:, : columns.stop - columns.start]
            if band is None:
                into[:] = part
            else:
                into[..., band] = part[..., 0]
        if self._white_is_zero and self.top is not None:
            values = self.top - values
        return values

    def _touched(
        self, y0: int, y1: int, x0: int, x1: int
    ) -> Iterator[tuple[int, int | None, int, int]]:
        """Index, band (None: all), first row and first column of each segment in a window."""
        rows, columns = self._segment
        across, down = -(-self.size[1] // columns), -(-self.size[0] // rows)
        for band in range(self._bands) if self._separate else (None,):
            for row in range(y0 // rows, -(-y1 // rows)):
                for column in range(x0 // columns, -(-x1 // columns)):
                    index = ((band or 0) * down + row) * across + column
                    yield index, band, row * rows, column * columns

    def _decoded(self, index: int) -> np.ndarray:
        """A segment (rows, columns, bands); the ones used last are kept."""
        if index in self._kept:
            self._kept.move_to_end(index)
            return self._kept[index]
        page = self._page
        with self._lock:
            handle = self._tiff.filehandle
            handle.seek(page.dataoffsets[index])
            content = handle.read(page.databytecounts[index])
        try:
            segment = page.decode(content, index, jpegtables=page.jpegtables)[0]
        except ValueError as error:
            raise lacks_codec(error) or error from None
        rows, columns = self._segment
        bands = 1 if self._separate else self._bands
        if segment is None:  # a segment that the file leaves out
            segment = np.full((rows, columns, bands), page.nodata, page.dtype)
        segment = segment.reshape(segment.shape[-3:])
        self._kept[index] = segment
        self._bytes += segment.nbytes
        while len(self._kept) > 1 and self._bytes > _CACHED:
            self._bytes -= self._kept.popitem(last=False)[1].nbytes
        return segment
