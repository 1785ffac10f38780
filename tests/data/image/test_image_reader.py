"""Images are read as Detectron2 reads them, except for those that cannot be decoded."""

import io

from lowres_d2.data.image import load_image

import numpy as np
import pytest
from detectron2.data.detection_utils import read_image
from PIL import Image

RGB = np.random.default_rng(0).integers(0, 255, (24, 40, 3), dtype=np.uint8)
ORIENTATION = 0x0112
# Neither is valid EXIF: no TIFF header; a header that ends before its entries.
BROKEN_EXIF = {"garbage": b"Exif\0\0garbage!", "cut off": b"Exif\0\0II*\0\x08\0\0\0\x05\0"}


def encoded(form, **options):
    file = io.BytesIO()
    Image.fromarray(RGB).save(file, form, **options)
    return file.getvalue()


def saved(folder, content):
    path = folder / "image"
    path.write_bytes(content)
    return str(path)


@pytest.mark.parametrize("form", ["PNG", "JPEG"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_are_as_detectron2_reads_them(tmp_path, form, orientation):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    path = saved(tmp_path, encoded(form, exif=exif))
    for channels in ("RGB", "BGR", "L"):
        np.testing.assert_array_equal(load_image(path, channels), read_image(path, channels))
    assert load_image(path, "RGB").shape == ((40, 24, 3) if orientation > 4 else (24, 40, 3))


@pytest.mark.parametrize("form", ["PNG", "JPEG"])
@pytest.mark.parametrize("exif", BROKEN_EXIF.values(), ids=BROKEN_EXIF)
@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_broken_exif_does_not_affect_the_pixels(tmp_path, form, exif):
    with_exif = saved(tmp_path, encoded(form, exif=exif))
    pixels = load_image(with_exif, "RGB")
    np.testing.assert_array_equal(pixels, read_image(with_exif, "RGB"))
    np.testing.assert_array_equal(pixels, np.asarray(Image.open(io.BytesIO(encoded(form)))))


def test_a_png_whose_pixels_cannot_be_decoded_is_an_error_and_not_black(tmp_path):
    content = encoded("PNG")
    half = len(content) // 2
    path = saved(tmp_path, content[:half] + bytes(30) + content[half + 30 :])
    with pytest.raises((OSError, SyntaxError)):
        load_image(path, "RGB")


def test_a_missing_image_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="gone"):
        load_image(str(tmp_path / "gone"), "RGB")
