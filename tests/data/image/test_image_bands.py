"""Images of any number of channels: arrays, TIFF files with bands, and what is not one kind."""

import importlib.util
import struct
import sys

from lowres_d2.data import BrokenImageError, DetectionMapper
from lowres_d2.data.image import ImageReader, UnfitImageError

import numpy as np
import pytest
from PIL import Image

from toys.data import READS_YCBCR

RNG = np.random.default_rng(7)
FIVE = RNG.integers(0, 65536, (10, 14, 5), dtype=np.uint16)


def save_tiff(path, values, extra=()):
    """Write an uncompressed TIFF whose bands lie side by side in each pixel."""
    height, width, bands = values.shape
    data = values.tobytes()
    start = 8 + len(data)
    counts = [
        (256, [width]),
        (257, [height]),
        (258, [values.itemsize * 8] * bands),
        (259, [1]),
        (262, [1]),  # 0 is black
        (273, [8]),
        *extra,
        (277, [bands]),
        (278, [height]),
        (279, [len(data)]),
        *([(338, [0] * (bands - 1))] if bands > 1 else []),  # of no known meaning
        (339, [1] * bands),
    ]
    place = start + 2 + 12 * len(counts) + 4
    entries, behind = b"", b""
    for tag, numbers in counts:
        packed = struct.pack(f"<{len(numbers)}I", *numbers)
        value = packed if len(numbers) == 1 else struct.pack("<I", place + len(behind))
        behind += packed if len(numbers) > 1 else b""
        entries += struct.pack("<HHI", tag, 4, len(numbers)) + value
    head = b"II*\0" + struct.pack("<I", start)
    path.write_bytes(head + data + struct.pack("<H", len(counts)) + entries + bytes(4) + behind)
    return str(path)


def mapped(path, **settings):
    return DetectionMapper(True, image_format=None, **settings)({"file_name": str(path)})["image"]


def test_arrays_of_any_number_of_channels_are_read(tmp_path):
    np.save(tmp_path / "a.npy", FIVE)
    image = mapped(tmp_path / "a.npy")
    assert image.shape == (5, 10, 14)
    assert np.abs(image.permute(1, 2, 0).numpy() - FIVE / 257).max() < 1e-3
    np.save(tmp_path / "b.npy", (FIVE >> 8).astype(np.uint8))
    assert mapped(tmp_path / "b.npy").numpy().dtype == np.uint8
    # For display: the first three.
    shown = ImageReader(None).show(str(tmp_path / "a.npy"))
    assert np.array_equal(shown, (FIVE[..., :3] / 257).round())


def test_another_number_of_channels_than_the_models_is_named(tmp_path):
    np.save(tmp_path / "a.npy", FIVE)
    assert mapped(tmp_path / "a.npy", channels=5).shape[0] == 5
    with pytest.raises(BrokenImageError, match=r"a\.npy: .* has 5 channels, .*the model takes 4"):
        mapped(tmp_path / "a.npy", channels=4)
    with pytest.raises(BrokenImageError, match=r"has 5 channels, .*'RGB' has 3: .*format=null"):
        DetectionMapper(True, image_format="RGB")({"file_name": str(tmp_path / "a.npy")})


@pytest.mark.parametrize("bands", [2, 4, 5])
def test_a_tiff_with_bands_needs_tifffile_and_says_so(tmp_path, monkeypatch, bands):
    monkeypatch.setitem(sys.modules, "tifffile", None)  # as if it were not installed
    values = (FIVE[..., :bands] >> 8).astype(np.uint8) if bands == 2 else FIVE[..., :bands]
    path = save_tiff(tmp_path / "a.tif", values)
    with pytest.raises(BrokenImageError, match=r"a\.tif: is a TIFF of .*install tifffile"):
        mapped(path)
    if bands > 2:
        with pytest.raises(
            UnfitImageError,
            match=r"image_format=null and pip install tifffile, or store the image as \.npy",
        ):
            ImageReader("RGB").read(path)


def test_a_tiff_of_one_band_needs_nothing_more(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tifffile", None)
    path = save_tiff(tmp_path / "a.tif", FIVE[..., :1])
    assert np.abs(mapped(path)[0].numpy() - FIVE[..., 0] / 257).max() < 1e-3
    Image.fromarray(FIVE[..., 0]).save(
        tmp_path / "pages.tif", save_all=True, append_images=[Image.fromarray(FIVE[..., 1])]
    )
    with pytest.raises(BrokenImageError, match="is a TIFF of 2 bands, of which 1 are read"):
        mapped(tmp_path / "pages.tif")


@pytest.mark.skipif(importlib.util.find_spec("tifffile") is None, reason="no tifffile")
def test_a_compression_that_needs_another_package_says_which(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    for name in [name for name in sys.modules if name.partition(".")[0] == "tifffile"]:
        monkeypatch.delitem(sys.modules, name)  # which looks for it once
    Image.fromarray(np.zeros((20, 20, 3), np.uint8)).save(
        tmp_path / "a.tif", compression="tiff_lzw"
    )
    says = r"a\.tif: .*pip install imagecodecs \(the extra 'large'\), or store"
    for windows in ({}, {"windows": True}):
        with pytest.raises(BrokenImageError, match=says):
            mapper = DetectionMapper(False, image_format=None, **windows)
            mapper({"file_name": str(tmp_path / "a.tif")})["image"]


@pytest.mark.skipif(importlib.util.find_spec("tifffile") is None, reason="no tifffile")
def test_tifffile_reads_bands_side_by_side_and_one_after_the_other(tmp_path):
    side_by_side = save_tiff(tmp_path / "a.tif", FIVE, extra=[(274, [6])])
    image = mapped(side_by_side, exif="ignore").permute(1, 2, 0).numpy()
    assert np.abs(image - FIVE / 257).max() < 1e-3
    assert mapped(side_by_side).shape == (5, 14, 10)
    pages = [Image.fromarray(FIVE[..., k]) for k in range(5)]
    pages[0].save(tmp_path / "b.tif", save_all=True, append_images=pages[1:])
    image = mapped(tmp_path / "b.tif").permute(1, 2, 0).numpy()
    assert np.abs(image - FIVE / 257).max() < 1e-3
    with pytest.raises(BrokenImageError, match="max_pixels=140"):
        mapped(side_by_side, max_pixels=139)


@pytest.mark.skipif(importlib.util.find_spec("tifffile") is None, reason="no tifffile")
def test_what_is_no_channel_is_no_channel_in_a_tiff_either(tmp_path, monkeypatch):
    image = Image.fromarray((FIVE[..., :3] >> 8).astype(np.uint8))
    image.convert("P").save(tmp_path / "p.tif")
    image.convert("YCbCr").save(tmp_path / "y.tif")
    image.convert("YCbCr").save(tmp_path / "lzw.tif", compression="tiff_lzw")
    image.convert("LAB").save(tmp_path / "lab.tif")
    lightness, *colours = image.convert("LAB").split()
    lab = np.dstack([lightness, *(np.asarray(c) for c in colours)])
    lzw = np.asarray(Image.open(tmp_path / "lzw.tif"))  # which Pillow converts to RGB
    for missing in (False, True):
        if missing:
            monkeypatch.setitem(sys.modules, "tifffile", None)
        with pytest.raises(BrokenImageError, match=r"p\.tif: mode P: has a palette, .*format=RGB"):
            mapped(tmp_path / "p.tif")
        ycbcr = np.asarray(image.convert("YCbCr"))
        if READS_YCBCR:
            assert np.array_equal(mapped(tmp_path / "y.tif").permute(1, 2, 0), ycbcr)
        assert np.array_equal(mapped(tmp_path / "lzw.tif").permute(1, 2, 0), lzw)
        assert np.array_equal(mapped(tmp_path / "lab.tif").permute(1, 2, 0), lab)
    Image.new("RGB", (14, 10), (99, 99, 99)).convert("LAB").save(tmp_path / "grey.tif")
    grey = mapped(tmp_path / "grey.tif")[1:].numpy().astype(int)
    assert np.abs(grey - 128).max() <= 1
