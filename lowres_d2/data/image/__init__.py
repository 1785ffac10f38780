"""Image files: opened, decoded at their full depth, and scaled to what a network reads."""

from lowres_d2.data.image.exif import exif_fault
from lowres_d2.data.image.files import (
    ENDINGS,
    MAX_PIXELS,
    UnfitImageError,
    is_image,
    readable_endings,
)
from lowres_d2.data.image.reader import FORMATS, NARROW, ImageReader, load_image, reader_of
from lowres_d2.data.image.windows import FileImage

__all__ = [
    "ENDINGS",
    "FORMATS",
    "MAX_PIXELS",
    "NARROW",
    "FileImage",
    "ImageReader",
    "UnfitImageError",
    "exif_fault",
    "is_image",
    "load_image",
    "readable_endings",
    "reader_of",
]
