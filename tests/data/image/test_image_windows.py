"""Windows of image files have the pixels that reading the whole file gives."""

import pickle
import sys

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
