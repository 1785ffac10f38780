"""Windows of image files have the pixels that reading the whole file gives."""

import pickle
import sys

from lowres_d2.data import BrokenImageError, DetectionMapper
from lowres_d2.data.crops.tiff import Kind, write_tiff
from lowres_d2.data.image import FileImage, ImageReader

import numpy as np
import pytest
import torch
from PIL import Image

tifffile = pytest.importorskip("tifffile")
WINDOWS = [(0, 70, 0, 110), (0, 1, 0, 1), (30, 65, 47, 101), (64, 70, 96, 110), (5, 69, 0, 110)]
DEEP = dict(dtype=np.uint16)


def values(*shape, dtype=np.uint8):
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape, dtype=dtype)


CASES = {
    "tiled": (values(70, 110, 3), dict(tile=(32, 48), photometric="rgb"), "RGB"),
    "tiled, BGR": (values(70, 110, 3), dict(tile=(32, 48), photometric="rgb"), "BGR"),
    "strips": (values(70, 110, 3), dict(rowsperstrip=9, photometric="rgb"), "RGB"),
    "deflate": (values(70, 110), dict(tile=(32, 48), compression="zlib"), "RGB"),
    "colours as grey": (values(70, 110, 3), dict(tile=(32, 48), photometric="rgb"), "L"),
    "grey": (values(70, 110), dict(tile=(32, 48)), "RGB"),
    "grey strips": (values(70, 110), dict(rowsperstrip=16), "L"),
    "16 bits": (values(70, 110, **DEEP), dict(tile=(32, 48)), "L"),
    "1 bit": (values(70, 110) > 127, dict(tile=(32, 48), photometric="minisblack"), "RGB"),
    "1 bit, white is 0": (values(70, 110) > 127, dict(photometric="miniswhite"), "L"),
    "1 bit as stored": (values(70, 110) > 127, dict(photometric="minisblack"), None),
    "white is 0": (values(70, 110), dict(tile=(32, 48), photometric="miniswhite"), "L"),
    "five bands": (
        values(70, 110, 5, **DEEP),
        dict(tile=(32, 48), photometric="minisblack", planarconfig="contig"),
        None,
    ),
    "bands apart": (
        values(5, 70, 110, **DEEP),
        dict(tile=(32, 48), photometric="minisblack", planarconfig="separate"),
        None,
    ),
}  # fmt: skip


def same(path, reader):
    whole, image = reader.read(str(path)), FileImage(str(path), reader)
    assert image.shape == (whole.shape[2], *whole.shape[:2])
    for y0, y1, x0, x1 in WINDOWS:
        part = torch.from_numpy(whole[y0:y1, x0:x1].transpose(2, 0, 1).copy())
        found = image[:, y0:y1, x0:x1]
        assert found.dtype == part.dtype and torch.equal(found, part), (y0, y1, x0, x1)
    return image


@pytest.mark.parametrize("name", CASES)
def test_tiff_files(tmp_path, name):
    content, options, form = CASES[name]
    tifffile.imwrite(tmp_path / "a.tif", content, **options)
    same(tmp_path / "a.tif", ImageReader(form))
    same(tmp_path / "a.tif", ImageReader(form, value_range=(50, 200)))


@pytest.mark.parametrize("form", ["RGB", "L", None])
def test_few_bits_are_those_of_whole_images(tmp_path, form):
    pytest.importorskip("imagecodecs")
    content = values(70, 110, 1) // 16
    write_tiff(tmp_path / "a.tif", content, 4, Kind())
    image = same(tmp_path / "a.tif", ImageReader(form))
    assert np.array_equal(image[0:1, 0:70, 0:110][0], content[..., 0] * 17)
    same(tmp_path / "a.tif", ImageReader(form, value_range=(50, 200)))


RANGES = {
    "narrow": (7000, 7400, None, "its values, 7000 to 7400, span little of what its depth can"),
    "wide": (7000, 40000, None, None),
    "inside of the range": (7000, 7400, (6900, 7500), None),
    "few values of the range": (7000, 7001, (6900, 7500), None),
    "outside of the range": (7000, 7400, (100, 200), "are outside of value_range, 100 to 200"),
}


@pytest.mark.parametrize("name", RANGES)
@pytest.mark.parametrize("suffix", [".tif", ".npy"])
def test_a_range_that_whole_images_are_warned_of(tmp_path, monkeypatch, caplog, name, suffix):
    low, high, value_range, fault = RANGES[name]
    monkeypatch.setattr("lowres_d2.data.image.windows._LOOKED_AT", 1000)  # rows by rows
    content = np.full((70, 110), low, np.uint16)
    content[69, 109] = high  # seen last
    file = tmp_path / f"a{suffix}"
    write = np.save if suffix == ".npy" else tifffile.imwrite
    write(file, content)
    for windows in (False, True):
        caplog.clear()
        mapper = DetectionMapper(False, (), "L", value_range=value_range, windows=windows)
        for _ in range(2):
            mapper({"file_name": str(file)})
        said = [m for m in caplog.messages if "said of the first" in m]
        assert len(said) == (fault is not None)
        assert fault is None or (fault in said[0] and "mapper.value_range=[low,high]" in said[0])


def test_a_range_is_read_no_further_than_it_has_to_be(tmp_path, monkeypatch):
    monkeypatch.setattr("lowres_d2.data.image.windows._LOOKED_AT", 110 * 32)
    tifffile.imwrite(tmp_path / "a.tif", values(70, 110, **DEEP), tile=(32, 48))
    image = FileImage(str(tmp_path / "a.tif"), ImageReader("L"))
    assert image.range_fault() is None
    assert len(image._file._kept) == 3  # a row of tiles
    tifffile.imwrite(tmp_path / "b.tif", values(70, 110), tile=(32, 48))
    image = FileImage(str(tmp_path / "b.tif"), ImageReader("L"))
    assert image.range_fault() is None and len(image._file._kept) == 1  # 8 bits: for the shape


def test_values_without_a_range_are_named_with_their_file(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((7, 9), np.float32))
    says = r"a\.npy: mode float32: its values, 0 to 0 in this file, have no known range: set .*"
    with pytest.raises(BrokenImageError, match=says):
        DetectionMapper(False, (), "L", windows=True)({"file_name": str(tmp_path / "a.npy")})


@pytest.mark.parametrize("compression", ["lzw", "zstd", "packbits"])
def test_compressions_of_the_extra(tmp_path, compression):
    pytest.importorskip("imagecodecs")
    options = dict(tile=(32, 48), photometric="rgb", compression=compression)
    content = values(70, 110, 3)
    tifffile.imwrite(tmp_path / "a.tif", content, **options)
    found = FileImage(str(tmp_path / "a.tif"), ImageReader("RGB"))[:, 9:61, 5:99]
    assert np.array_equal(found, content[9:61, 5:99].transpose(2, 0, 1))


def test_a_missing_tifffile_is_named(tmp_path, monkeypatch):
    tifffile.imwrite(tmp_path / "a.tif", values(7, 9))
    monkeypatch.setitem(sys.modules, "tifffile", None)
    with pytest.raises(ValueError, match=r"pip install tifffile imagecodecs \(the extra 'large'"):
        FileImage(str(tmp_path / "a.tif"), ImageReader())


@pytest.mark.parametrize("shape", [(70, 110), (70, 110, 3), (70, 110, 7)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_arrays(tmp_path, shape, dtype):
    np.save(tmp_path / "a.npy", values(*shape, dtype=dtype))
    same(tmp_path / "a.npy", ImageReader(None))
    same(tmp_path / "a.npy", ImageReader(None, value_range=[10, 200]))


def test_another_process_opens_it_anew(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", values(70, 110, 3), tile=(32, 48), photometric="rgb")
    image = same(tmp_path / "a.tif", ImageReader())
    again = pickle.loads(pickle.dumps(image))
    assert torch.equal(again[:, 3:50, 7:60], image[:, 3:50, 7:60])


def test_few_segments_are_kept(tmp_path, monkeypatch):
    monkeypatch.setattr("lowres_d2.data.image.windows._CACHED", 3 * 32 * 48 * 3)
    tifffile.imwrite(tmp_path / "a.tif", values(320, 480, 3), tile=(32, 48), photometric="rgb")
    image = FileImage(str(tmp_path / "a.tif"), ImageReader())
    assert torch.equal(
        image[:, 0:320, 0:480], torch.from_numpy(values(320, 480, 3).transpose(2, 0, 1))
    )
    assert len(image._file._kept) <= 3


def test_other_files_are_refused(tmp_path):
    Image.fromarray(values(7, 9, 3)).save(tmp_path / "a.png")
    with pytest.raises(
        ValueError, match=r"only TIFF files and arrays \(.npy\) are read in windows"
    ):
        FileImage(str(tmp_path / "a.png"), ImageReader())
    palette = Image.fromarray(values(7, 9, 3)).convert("P")
    palette.save(tmp_path / "a.tif")
    with pytest.raises(ValueError, match="a TIFF of PALETTE values is not read in windows"):
        FileImage(str(tmp_path / "a.tif"), ImageReader())
    # Not JPEG's, of which the decoder makes RGB.
    Image.fromarray(values(7, 9, 3)).convert("YCbCr").save(tmp_path / "y.tif")
    with pytest.raises(ValueError, match="a TIFF of YCBCR values is not read in windows"):
        FileImage(str(tmp_path / "y.tif"), ImageReader())
    tifffile.imwrite(tmp_path / "b.tif", values(70, 110), extratags=[(274, "H", 1, 6, True)])
    tifffile.imwrite(tmp_path / "c.tif", values(5, 70, 110), photometric="minisblack")
    with pytest.raises(ValueError, match="a TIFF of 5 images is not read in windows"):
        FileImage(str(tmp_path / "c.tif"), ImageReader())
    with pytest.raises(ValueError, match="a TIFF with an orientation is not read in windows"):
        FileImage(str(tmp_path / "b.tif"), ImageReader())


@pytest.mark.parametrize("compression", [None, "zlib", "lzw", "jpeg"])
def test_a_damaged_segment_is_named_with_its_file(tmp_path, compression):
    file = tmp_path / "a.tif"
    options = dict(tile=(32, 48), photometric="rgb", compression=compression)
    tifffile.imwrite(file, values(70, 110, 3), **options)
    with tifffile.TiffFile(file) as tiff:
        last = tiff.pages[0].dataoffsets[-1]
    file.write_bytes(file.read_bytes()[: last + 10])
    image = FileImage(str(file), ImageReader("RGB"))
    assert image[:, 0:32, 0:48].shape == (3, 32, 48)
    place = r"a\.tif: rows 40 to 70 and columns 90 to 110 cannot be read \(.+\); replace the file$"
    with pytest.raises(ValueError, match=place):
        image[:, 40:70, 90:110]


def test_a_window_with_nan_is_named_with_its_file(tmp_path):
    content = np.zeros((40, 50), np.float32)
    content[30, 20] = np.nan
    np.save(tmp_path / "a.npy", content)
    image = FileImage(str(tmp_path / "a.npy"), ImageReader("L", value_range=(0, 1)))
    assert image[:, 0:30, 0:50].sum() == 0
    with pytest.raises(ValueError, match=r"a\.npy: rows 30 to 31 .*NaN or infinite\); replace"):
        image[:, 30:31, 0:50]
