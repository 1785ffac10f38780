"""A reader gets of a crop what it gets of the whole image: any depth, mode and kind of channels."""

from lowres_d2.data.crops import CropWriter, Source
from lowres_d2.data.crops.tiff import CMYK, GREY, LAB, RGB, YCBCR, Kind, write_tiff
from lowres_d2.data.image import ImageReader, UnfitImageError
from lowres_d2.structures import TileGrid

import cv2
import numpy as np
import pytest
from PIL import Image

from toys.data import READS_YCBCR

pytest.importorskip("tifffile")
GRID = TileGrid(16, 4)
RNG = np.random.default_rng(5)
BYTES = RNG.integers(0, 256, (20, 30, 4), dtype=np.uint8)
DEEP = RNG.integers(0, 65536, (20, 30, 4), dtype=np.uint16)
FLOAT = RNG.random((20, 30, 1), np.float32)
BYTE, COLOUR, SHORT, TWELVE = BYTES[..., :1], BYTES[..., :3], DEEP[..., :1], DEEP[..., :1] >> 4
THREE = DEEP[..., :3]
SIGNED, LONG, NEGATIVE = BYTE.astype("i2") - 100, SHORT.astype("u4") << 16, BYTE.astype("i4") * -9


def tiff(values, bits, *kind):
    return "a.tif", lambda path: write_tiff(path, values, bits, Kind(*kind))


def pillow(name, mode, **more):
    return name, lambda path: Image.fromarray(COLOUR).convert(mode).save(path, **more)


def deep_alpha():
    return "a.png", lambda path: cv2.imwrite(str(path), DEEP)


# What writes it, the ending of its crops, its values with image_format=null as shares of its range
# (None: as read), and the value_range.
CASES = {
    "12 bits": (tiff(TWELVE, 12), "tif", TWELVE / 4095),
    "white is zero": (tiff(65535 - SHORT, 16, 0), "png", SHORT / 65535),
    "32 bits": (tiff(LONG, 32), "tif", SHORT / 65536),
    "float": (tiff(FLOAT, 32), "npy", FLOAT, [0, 1]),
    "signed": (tiff(SIGNED, 16), "npy", BYTE / 255, [-100, 155]),
    "signed 32": (tiff(NEGATIVE, 32), "npy", 1 - BYTE / 255, [-2295, 0]),
    "infrared": (tiff(BYTES, 8, RGB, [0]), "tif", BYTES / 255),
    "deep infrared": (tiff(DEEP, 16, RGB, [0]), "tif", DEEP / 65535),
    "multiplied alpha": (tiff(BYTES, 8, RGB, [1]), "tif", BYTES / 255),
    "pages": (tiff(COLOUR, 8, GREY, (), True), "tif", COLOUR / 255),
    "deep pages": (tiff(DEEP, 16, GREY, (), True), "tif", DEEP / 65535),
    "bands": (tiff(DEEP, 16, GREY, [0, 0, 0]), "npy", DEEP / 65535),
    "bands of 32 bits": (tiff(DEEP * np.uint32(65537), 32, GREY, [0] * 3), "tif", DEEP / 65535),
    "cmyk": (tiff(BYTES, 8, CMYK), "tif", BYTES / 255),
    "cmyk jpeg": (pillow("a.jpg", "CMYK"), "tif", None),
    "ycbcr": (tiff(COLOUR, 8, YCBCR), "tif", None),
    "lab": (tiff(COLOUR ^ np.uint8([0, 128, 128]), 8, LAB), "tif", COLOUR / 255),
    "deep lab": (tiff(THREE ^ np.uint16([0, 2**15, 2**15]), 16, LAB), "tif", THREE / 65535),
    "deep alpha": (deep_alpha(), "tif", DEEP[..., [2, 1, 0, 3]] / 65535),
    "palette": (pillow("a.tif", "P"), "png", None),
    "colours": (pillow("a.tif", "RGB"), "png", COLOUR / 255),
    "turned colours": (pillow("a.tif", "RGB", tiffinfo={274: 3}), "png", COLOUR[::-1, ::-1] / 255),
    "turned alpha": (pillow("a.tif", "RGBA", tiffinfo={274: 3}), "tif", None),
}  # fmt: skip


def read(path, form, value_range):
    try:
        return ImageReader(form, value_range, exif="apply").read(str(path)).astype(np.float64)
    except UnfitImageError as error:
        return error.fault


def cut(path, size=None):
    # Without objects, a turned image is cut as it is shown.
    source = Source("crop", path, [], size)
    return CropWriter([source], GRID, 0.5, path.parent)[0]


@pytest.mark.parametrize("name", CASES)
def test_crops_are_read_as_their_image_is(tmp_path, name):
    if name == "ycbcr" and not READS_YCBCR:
        pytest.skip("this Pillow does not read uncompressed YCbCr")
    ((file, write), ending, values, *value_range) = CASES[name]
    write(tmp_path / file)
    crops = cut(tmp_path / file, (20, 30))
    assert {crop.file_name.rpartition(".")[2] for crop in crops} == {ending}
    for form in (None, "RGB"):
        whole = read(tmp_path / file, form, *(value_range or [None]))
        if form is None and values is not None:
            assert np.abs(whole - values * 255).max() < 1e-3
        for crop, w in zip(crops, GRID.windows((20, 30)), strict=True):
            found = read(tmp_path / crop.file_name, form, *(value_range or [None]))
            if isinstance(whole, str):  # such as a palette, or bands as RGB
                assert isinstance(found, str)
            else:
                assert np.abs(found - whole[w.y0 : w.y1, w.x0 : w.x1]).max() < 1e-3
