"""What is no image file, too large an image, and images that EXIF rotates."""

import os
from pathlib import Path

from lowres_d2.data import BrokenImageError, DetectionMapper
from lowres_d2.data.crops.files import CropWriter, Source
from lowres_d2.data.image import MAX_PIXELS, ImageReader, readable_endings
from lowres_d2.data.image.files import open_image
from lowres_d2.structures import TileGrid

import numpy as np
import pytest
from detectron2.data import MapDataset
from detectron2.data.detection_utils import read_image
from PIL import Image
from torch.utils.data import DataLoader

ORIENTATION = 0x0112


def cut(path):
    """The only crop of an image."""
    folder = Path(path).parent
    ((crop,),) = CropWriter([Source("a", Path(path), [])], TileGrid((40, 50), 0), 0.7, folder)
    with open(folder / crop.file_name, "rb") as file, open_image(file, max_pixels=None) as image:
        return np.asarray(image)


def make_folder_pipe_and_device(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "folder.png").mkdir()
    return [str(tmp_path / "pipe.png"), str(tmp_path / "folder.png"), "/dev/zero"]


def test_what_is_no_file_is_named_and_not_waited_for(tmp_path):
    for path in make_folder_pipe_and_device(tmp_path):
        with pytest.raises(BrokenImageError, match=f"{path}: .*no regular file"):
            DetectionMapper(True)({"file_name": path})


def test_detectron2s_own_reader_does_not_wait_for_a_pipe(tmp_path):
    if "bundled" not in read_image.__code__.co_filename:
        pytest.skip("upstream's reader does")
    for path in make_folder_pipe_and_device(tmp_path):
        with pytest.raises(OSError, match=path):
            read_image(path)


@pytest.mark.parametrize("read", [ImageReader().read, ImageReader().show, cut])
def test_pillow_does_not_limit_what_is_read_already(tmp_path, monkeypatch, recwarn, read):
    """Newer ones look at a compressed TIFF twice."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)
    monkeypatch.setattr("lowres_d2.data.image.files._WARNED", 500)
    Image.new("L", (50, 40), 7).save(tmp_path / "a.tif", compression="tiff_deflate")
    assert (np.asarray(read(str(tmp_path / "a.tif"))) == 7).all()
    assert not recwarn and Image.MAX_IMAGE_PIXELS == 500


def test_an_image_over_the_limit_names_the_setting_that_reads_it(tmp_path):
    path = str(tmp_path / "a.png")
    Image.new("L", (50, 40)).save(path)
    with pytest.raises(BrokenImageError, match=r"a\.png: 50x40 are 2,000 pixels.*max_pixels=2000"):
        DetectionMapper(True, max_pixels=1999)({"file_name": path})
    for limit in (2000, None):
        assert DetectionMapper(True, max_pixels=limit)({"file_name": path})["image"].shape[1] == 40


@pytest.mark.filterwarnings("error")
def test_pillows_own_limit_does_not_apply_and_stays_as_it_was(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    path = str(tmp_path / "a.png")
    Image.new("L", (50, 40)).save(path)
    assert ImageReader().read(path).shape == (40, 50, 3)
    assert Image.MAX_IMAGE_PIXELS == 100
    with pytest.raises(Image.DecompressionBombError):
        Image.open(path)


def test_the_default_limit_is_the_one_from_which_pillow_refuses():
    assert MAX_PIXELS == 2 * Image.MAX_IMAGE_PIXELS


def test_an_array_is_measured_before_it_is_read(tmp_path):
    path = str(tmp_path / "a.npy")
    np.save(path, np.zeros((40, 50), np.uint8))
    with pytest.raises(BrokenImageError, match="max_pixels=2000"):
        DetectionMapper(True, max_pixels=1999)({"file_name": path})


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((3, 4, 5, 6)), r"an array of shape \(3, 4, 5, 6\)"),
        (np.zeros((0, 5), np.uint8), r"shape \(0, 5\)"),
        (np.zeros((4, 5), complex), "type complex128"),
        (np.array([[{}]]), "type object"),
    ],
)
def test_arrays_that_are_no_images_are_refused(tmp_path, array, message):
    path = str(tmp_path / "a.npy")
    np.save(path, array, allow_pickle=True)
    with pytest.raises(BrokenImageError, match=message):
        DetectionMapper(True)({"file_name": path})


def turned(tmp_path, orientation, height, width, name="a.jpg"):
    """An image that is red where it is stored at the top left, and its record."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[: height // 2, : width // 2] = (255, 0, 0)
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    Image.fromarray(pixels).save(tmp_path / name, exif=exif)
    box = {"bbox": [0, 0, 8, 8], "bbox_mode": 0, "category_id": 0}
    return {"file_name": str(tmp_path / name), "annotations": [box]}


def red_corner(mapper, record):
    """Row and column, as 0 or 1, of the red quarter that a mapper returns."""
    red = mapper(record)["image"][0].numpy()
    y, x = (np.argwhere(red > 128).mean(0) / red.shape * 2).astype(int)
    return y, x


SETTINGS = {"image_format": "RGB"}


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif", "a.webp"])
@pytest.mark.parametrize(
    ("orientation", "corner"),
    [(2, (0, 1)), (3, (1, 1)), (4, (1, 0)), (5, (0, 0)), (6, (0, 1)), (7, (1, 1)), (8, (1, 0))],
)
def test_every_orientation_is_applied_or_ignored(tmp_path, name, orientation, corner):
    record = turned(tmp_path, orientation, 32, 32, name) | {"height": 32, "width": 32}
    with pytest.raises(BrokenImageError, match="its size does not tell whether its boxes follow"):
        DetectionMapper(True)(record)
    assert red_corner(DetectionMapper(True, exif="apply", **SETTINGS), record) == corner
    assert red_corner(DetectionMapper(True, exif="ignore", **SETTINGS), record) == (0, 0)
    shown = ImageReader(exif="ignore").show(record["file_name"])
    assert shown[4, 4, 0] > 128


def test_an_image_without_boxes_can_be_rotated(tmp_path):
    record = turned(tmp_path, 6, 32, 32) | {"height": 32, "width": 32, "annotations": []}
    assert red_corner(DetectionMapper(True, **SETTINGS), record) == (0, 1)
    alone = {"file_name": record["file_name"]}  # as in the demo
    assert red_corner(DetectionMapper(False, **SETTINGS), alone) == (0, 1)


def test_what_a_process_of_a_loader_has_said_is_not_said_again(tmp_path, caplog):
    rotated = turned(tmp_path, 6, 24, 32) | {"height": 32, "width": 24}
    mapper = DetectionMapper(True, **SETTINGS)
    batches = DataLoader(MapDataset([rotated], mapper), batch_size=None, num_workers=1)
    assert len(list(batches)) == 1  # in another process
    mapper(rotated)
    assert not caplog.text
    DetectionMapper(True, **SETTINGS)(rotated)
    assert caplog.text.count("rotated by EXIF") == 1


def test_sizes_tell_which_reading_the_boxes_fit(tmp_path, caplog):
    stored = turned(tmp_path, 6, 24, 32) | {"height": 24, "width": 32}
    rotated = stored | {"height": 32, "width": 24}
    assert red_corner(DetectionMapper(True, **SETTINGS), rotated) == (0, 1)
    assert "a.jpg: rotated by EXIF, as its boxes are" in caplog.text
    fits_stored = (
        "a.jpg: EXIF rotates it .* it was read as rotated, 24x32, and its annotations fit it as "
        'stored, 32x24: set the mapper\'s exif="ignore"'
    )
    for exif in ("check", "apply"):
        with pytest.raises(BrokenImageError, match=fits_stored):
            DetectionMapper(True, exif=exif)(stored)
    ignoring = DetectionMapper(True, exif="ignore", **SETTINGS)
    assert red_corner(ignoring, stored) == (0, 0)
    with pytest.raises(BrokenImageError, match=r'fit it as rotated, 24x32: set .* exif="apply"'):
        ignoring(rotated)
    with pytest.raises(BrokenImageError, match="is 24x32, but its annotations are for 9x9"):
        DetectionMapper(True)(stored | {"height": 9, "width": 9})


def test_endings_are_those_of_formats_that_are_read():
    endings = readable_endings()
    assert {".png": "PNG", ".jpg": "JPEG", ".tif": "TIFF"}.items() <= endings.items()
    assert ".pdf" in Image.registered_extensions() and ".pdf" not in endings


def test_other_content_is_said_in_words(tmp_path):
    path = tmp_path / "a.png"
    path.write_text("<!doctype html>")
    with pytest.raises(BrokenImageError) as caught:
        DetectionMapper(True)({"file_name": str(path)})
    assert str(caught.value) == (
        f"{path}: cannot be read as an image (is of no format that Pillow reads); replace it, or "
        "set dataloader.train.mapper.on_broken=skip"
    )


def test_a_compressed_tiff_that_ends_early_is_named(tmp_path):
    path = tmp_path / "a.tif"
    pixels = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, compression="tiff_deflate")
    with Image.open(path) as image:
        (start,) = image.tag_v2[273]
    content = bytearray(path.read_bytes())
    content[start + 100 : start + 200] = bytes(100)
    path.write_bytes(content)
    with pytest.raises(BrokenImageError, match=r"a\.tif: .*its data are damaged or end too early"):
        DetectionMapper(True)({"file_name": str(path)})
