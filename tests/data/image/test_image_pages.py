"""A TIFF of several images is read as its first one, and that is said once."""

from lowres_d2.data import DetectionMapper
from lowres_d2.data.image import pages

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin


@pytest.fixture
def said(monkeypatch):
    monkeypatch.setattr(pages, "_said", bytearray(1))


def save(path, *sizes, kinds=(), tag=254):
    """Pages of these sizes, of one grey each; of kinds by TIFF's tag."""
    images = []
    for k, size in enumerate(sizes):
        image = Image.new("RGB", size, (50 * k, 9, 9))
        if k < len(kinds):
            info = TiffImagePlugin.ImageFileDirectory_v2()
            info[tag] = kinds[k]
            image.encoderinfo = {"tiffinfo": info}
        images.append(image)
    images[0].save(path, save_all=True, append_images=images[1:])
    return str(path)


def test_further_pages_are_said_once_and_by_name(tmp_path, caplog, said):
    one = save(tmp_path / "one.tif", (20, 30))
    path = save(tmp_path / "a.tif", (20, 30), (20, 30), (64, 50))
    other = save(tmp_path / "b.tif", (20, 30), (20, 30))
    read = DetectionMapper(False, image_format="RGB")
    read({"file_name": one})
    assert not caplog.messages
    for name in (path, path, other):
        assert np.unique(read({"file_name": name})["image"]).tolist() == [0, 9]
    (message,) = caplog.messages
    assert message.startswith(f"{path}: is a TIFF of 3 pages, of which the first one is read")


def test_windows_are_of_the_first_page_as_well(tmp_path, caplog, said):
    pytest.importorskip("tifffile")
    path = save(tmp_path / "a.tif", (20, 30), (64, 50))
    image = DetectionMapper(False, image_format="RGB", windows=True)({"file_name": path})["image"]
    assert image.shape == (3, 30, 20)
    assert len(caplog.messages) == 1 and "a.tif: is a TIFF of 2 pages" in caplog.messages[0]


@pytest.mark.parametrize(
    ("sizes", "kinds", "tag", "number"),
    [
        ([(40, 30)], [], 254, 1),
        ([(40, 30), (40, 30)], [], 254, 2),
        ([(41, 31), (20, 15), (10, 7)], [], 254, 1),  # a pyramid that does not say so
        ([(40, 30), (20, 15), (20, 20)], [], 254, 2),  # the last one has another shape
        ([(40, 30), (20, 20)], [0, 1], 254, 1),  # a reduced copy
        ([(40, 30), (40, 30), (20, 15)], [0, 4, 5], 254, 1),  # masks
        ([(40, 30), (40, 30)], [2, 2], 254, 2),  # pages of a document
        ([(40, 30), (20, 20)], [1, 2], 255, 1),
    ],
)
def test_reduced_copies_and_masks_are_no_pages(tmp_path, sizes, kinds, tag, number):
    with open(save(tmp_path / "a.tif", *sizes, kinds=kinds, tag=tag), "rb") as file:
        assert pages.count_pages(file) == number


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's of the page that is cut
def test_other_files_and_broken_pages_are_one(tmp_path):
    Image.new("RGB", (20, 30)).save(tmp_path / "a.png")
    whole = (tmp_path / save(tmp_path / "one.tif", (20, 30))).stat().st_size
    with open(save(tmp_path / "a.tif", (20, 30), (20, 30)), "r+b") as file:
        file.truncate(whole + 4)
    for name in ("a.png", "a.tif"):
        with open(tmp_path / name, "rb") as file:
            assert pages.count_pages(file) == 1
