"""Reads image files as a network gets them: channels of 0 to 255, rotated as EXIF says.

A file of 8 bits gives uint8, as Detectron2 reads it. A deeper one gives float32, of which 255 is
the largest value that the file's depth can hold. Of a TIFF of several pages the first one is read,
which is said once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from lowres_d2.data.image.decode import Decoded, decode, turned
from lowres_d2.data.image.files import MAX_PIXELS, UnfitImageError, open_regular
from lowres_d2.data.image.pages import warn_of_further_pages

import numpy as np

# Number of channels; None: as many as the file has.
FORMATS = {"RGB": 3, "BGR": 3, "L": 1, None: None}
EXIF = ("check", "apply", "ignore")
NARROW = 25.5  # values of a deep image that span less than this of 0 to 255 need a value_range
_LUMA = np.array([[0.299], [0.587], [0.114]], np.float32)  # BT.601, as Pillow's


@dataclass(frozen=True)
class ImageReader:
    """How image files are read.

    Attributes:
        image_format: channels, "RGB", "BGR" or "L" (grey); None: those of the file, in its order.
        value_range: values of a file that become 0 and 255; None: 0 and the largest of its depth.
        max_pixels: the most pixels that an image may have; None: any number.
        exif: whether EXIF's rotation is applied: "apply"; "ignore"; or "check", which applies it,
            and where annotations are read with the image requires that its size tells whether they
            follow the rotation.
        channels: with ``image_format=None``, the number of channels that every image must have;
            None: any.

    Raises:
        ValueError: one of these is not valid.
    """

    image_format: str | None = "RGB"
    value_range: Sequence[float] | None = None
    max_pixels: int | None = MAX_PIXELS
    exif: str = "check"
    channels: int | None = None

    def __post_init__(self) -> None:
        if self.image_format not in FORMATS:
            raise ValueError(
                f"image_format={self.image_format!r}: expected RGB, BGR, L (grey), or null for the "
                "channels of the file"
            )
        if self.value_range is not None:
            ends = list(self.value_range)
            if len(ends) != 2 or not ends[0] < ends[1]:
                raise ValueError(
                    f"value_range={ends}: expected [low, high], the values of the files that "
                    "become 0 and 255"
                )
        if self.max_pixels is not None and not self.max_pixels >= 1:
            raise ValueError(f"max_pixels={self.max_pixels}: expected 1 or more, or null")
        if self.exif not in EXIF:
            raise ValueError(f"exif={self.exif!r}: expected one of {', '.join(EXIF)}")

    def read(self, path: str) -> np.ndarray:
        """Read an image.

        Args:
            path: image file, or anything that the PathManager resolves.

        Returns:
            (H, W, C) from 0 to 255, uint8 or float32.

        Raises:
            FileNotFoundError: there is no such file.
            OSError: it is not an image, or it is broken. Pillow raises other errors for some
                files: SyntaxError and ValueError, which also stands for one that is too large or
                whose values have no known range.
        """
        return self.read_turned(path)[0]

    def read_turned(self, path: str) -> tuple[np.ndarray, int]:
        """Read an image, and the EXIF orientation of its file: 1 is upright, 5 to 8 swap sides.

        Raises:
            FileNotFoundError, OSError, SyntaxError, ValueError: as :meth:`read`.
        """
        with open_regular(path) as file:
            decoded = decode(file, self.mode, self.max_pixels)
            if self.image_format is not None:  # or pages are bands, and all of them are read
                warn_of_further_pages(file, path)
        return self.upright(decoded), decoded.orientation

    @property
    def mode(self) -> str | None:
        """Pillow's mode of the channels; None: that of the file."""
        return {"BGR": "RGB"}.get(self.image_format, self.image_format)

    def upright(self, decoded: Decoded) -> np.ndarray:
        """:meth:`as_network_gets`, rotated as EXIF says, unless that is ignored.

        Raises:
            ValueError: as :meth:`read`.
        """
        values = self.as_network_gets(decoded)
        return values if self.exif == "ignore" else turned(values, decoded.orientation)

    def as_network_gets(self, decoded: Decoded) -> np.ndarray:
        """Values of a file as channels of 0 to 255, without EXIF's rotation.

        Raises:
            ValueError: as :meth:`read`.
        """
        values = self._with_channels(self.scaled(decoded.values, decoded), decoded.mode)
        return values[..., ::-1] if self.image_format == "BGR" else values

    def range_fault(self, path: str) -> str | None:
        """What is wrong with the range of a deep image whose values span little of 0 to 255.

        Returns:
            The values of the file and the setting for them; None: its values lie in the
            ``value_range`` that is set.

        Raises:
            FileNotFoundError, OSError, SyntaxError, ValueError: as :meth:`read`.
        """
        with open_regular(path) as file:
            values = decode(file, None, self.max_pixels).values
        return self.narrow_fault(values)

    def narrow_fault(self, values: np.ndarray) -> str | None:
        """As :meth:`range_fault`, of values that were decoded before."""
        low, high = values.min(), values.max()
        if self.value_range is None:
            fault = f"its values, {low:g} to {high:g}, span little of what its depth can hold"
        elif high <= self.value_range[0] or low >= self.value_range[1]:
            ends = "{:g} to {:g}".format(*self.value_range)
            fault = f"all of its values, {low:g} to {high:g}, are outside of value_range, {ends}"
        else:
            return None
        return (
            f"{fault}: set dataloader.train.mapper.value_range=[low,high] to the range of the "
            "values of all images, which becomes 0 to 255"
        )

    def show(self, path: str) -> np.ndarray:
        """An image for display: RGB uint8 (H, W, 3), whatever its channels and values are.

        Of more than three channels these are the first three. Values of unknown range are shown
        from their smallest to their largest.

        Raises:
            FileNotFoundError, OSError, SyntaxError, ValueError: as :meth:`read`.
        """
        return self.show_turned(path)[0]

    def show_turned(self, path: str) -> tuple[np.ndarray, int]:
        """An image for display, and the EXIF orientation that was applied: 1 is none.

        Raises:
            FileNotFoundError, OSError, SyntaxError, ValueError: as :meth:`read`.
        """
        own = self.image_format is None
        with open_regular(path) as file:
            decoded = decode(file, None if own else "RGB", self.max_pixels)
        values = decoded.values[..., : 3 if decoded.values.shape[2] >= 3 else 1]
        if decoded.top is None and self.value_range is None:
            low, high = values.min(), values.max()
            values = _stretch(values, float(low), float(high) if high > low else float(low) + 1)
        else:
            values = self.scaled(values, decoded)
        orientation = 1 if self.exif == "ignore" else decoded.orientation
        values = turned(values, orientation)
        if values.dtype != np.uint8:
            values = values.round().astype(np.uint8)
        shown = np.ascontiguousarray(np.broadcast_to(values, (*values.shape[:2], 3)))
        return shown, orientation

    def _with_channels(self, values: np.ndarray, mode: str) -> np.ndarray:
        """The channels asked for, in the order RGB."""
        wanted = FORMATS[self.image_format]
        if wanted is None and self.channels not in (None, values.shape[2]):
            raise UnfitImageError(
                f"mode {mode}: has {values.shape[2]} channels, and the model takes "
                f"{self.channels}: give images of one kind, or set in_channels of the model's "
                "first convolution, such as model.detector.backbone.bottom_up.in_channels="
                f"{values.shape[2]}"
            )
        if wanted is None or values.shape[2] == wanted:
            return values
        if values.shape[2] == 1:
            return np.repeat(values, 3, axis=2)
        # A fourth channel of 16-bit colours is their alpha, which Pillow's conversion drops, too.
        if values.shape[2] == 3 or (values.shape[2] == 4 and mode == "RGBA"):
            return values[..., :3] if wanted == 3 else values[..., :3].astype(np.float32) @ _LUMA
        raise UnfitImageError(
            f"has {values.shape[2]} channels, image_format={self.image_format!r} has {wanted}",
            "image_format=null",
            " to read them all",
        )

    def scaled(self, values: np.ndarray, decoded: Decoded) -> np.ndarray:
        """Values of a file from 0 to 255.

        Args:
            values: some of ``decoded``'s.
            decoded: the file, or a part of it.

        Raises:
            ValueError: as :meth:`read`.
        """
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise ValueError(f"mode {decoded.mode}: has values that are NaN or infinite")
        if self.value_range is not None:
            return _stretch(values, *self.value_range)
        if decoded.top is None:
            raise UnfitImageError(
                f"mode {decoded.mode}: its values, {values.min():g} to {values.max():g} in this "
                "file, have no known range",
                "value_range=[low,high]",
                ", which become 0 and 255",
            )
        if values.dtype == np.uint8 and decoded.top == 255:
            return values
        return _stretch(values, 0, decoded.top)


def _stretch(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Values as float32, so that ``low`` becomes 0 and ``high`` 255; beyond them, they are cut."""
    # In float64 before the difference: 32-bit numbers may be large, and their range small.
    scaled = (values.astype(np.float64) - low) * (255 / (high - low))
    return scaled.clip(0, 255).astype(np.float32)


def reader_of(mapper: Any) -> ImageReader:
    """How a mapper reads images: one of ours, or its config; the default for others."""
    if not isinstance(mapper, Mapping):
        return getattr(mapper, "reader", ImageReader())
    given = {
        field.name: mapper[field.name] for field in fields(ImageReader) if field.name in mapper
    }
    if given.get("image_format") not in FORMATS:  # another mapper's
        del given["image_format"]
    return ImageReader(**given)


def load_image(path: str, form: str | None) -> np.ndarray:
    """Read an image with the default settings of :class:`ImageReader`.

    Args:
        path: image file, or anything that the PathManager resolves.
        form: its ``image_format``.

    Raises:
        FileNotFoundError, OSError, SyntaxError, ValueError: as :meth:`ImageReader.read`.
    """
    return ImageReader(form).read(path)
