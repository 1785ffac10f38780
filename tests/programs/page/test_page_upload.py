"""What the page says of a file from its header alone, and the copy of a large one."""

from pathlib import Path

from lowres_d2.data.image import UnfitImageError
from lowres_d2.programs.page_upload import notes_on, quick_copy

import numpy as np
import pytest
from PIL import Image


def test_frames_and_rotation_are_said(tmp_path):
    frames = [Image.new("RGB", (8, 6), color) for color in ("red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    exif = Image.Exif()
    exif[0x0112] = 6
    frames[0].save(tmp_path / "b.jpg", exif=exif)
    frames[0].save(tmp_path / "c.png")
    first = ["It has several frames or pages: the first one is used."]
    assert notes_on(str(tmp_path / "a.gif")) == first
    assert notes_on(str(tmp_path / "b.jpg")) == ["EXIF rotates it."]
    assert notes_on(str(tmp_path / "c.png")) == []


def test_too_many_pixels_are_refused_by_the_header(tmp_path):
    """The pixels are not even there: what would decode them would say so."""
    Image.new("1", (20_000, 5_000)).save(tmp_path / "whole.png")
    header = (tmp_path / "whole.png").read_bytes()[:200]
    (tmp_path / "bomb.png").write_bytes(header)
    np.save(tmp_path / "whole.npy", np.zeros((5_001, 5_000), np.uint8))
    (tmp_path / "bomb.npy").write_bytes((tmp_path / "whole.npy").read_bytes()[:200])
    for name, size in (("bomb.png", "20000x5000"), ("bomb.npy", "5000x5001")):
        with pytest.raises(UnfitImageError, match=f"{size} are .* over the limit of 25,000,000"):
            notes_on(str(tmp_path / name))


def test_what_pillow_cannot_read_is_left_to_the_reader(tmp_path):
    (tmp_path / "text.png").write_text("no image")
    assert notes_on(str(tmp_path / "text.png")) == []


@pytest.mark.parametrize(
    ("name", "mode", "copied"),
    [("a.jpg", "RGB", "RGB"), ("b.jpg", "CMYK", "RGB"), ("c.png", "P", "RGB"), ("d.png", "L", "L")],
)
def test_a_large_image_has_a_copy_that_is_turned_alike(tmp_path, name, mode, copied):
    """Blocks of 2x2 pixels, which become one."""
    blocks = np.zeros((1080, 1920), np.uint8)
    blocks[:540] = 200
    exif = Image.Exif()
    exif[0x0112] = 6
    whole = Image.fromarray(blocks.repeat(2, 0).repeat(2, 1)).convert(mode)
    whole.save(tmp_path / name, exif=exif)
    with quick_copy(str(tmp_path / name)) as (file, said):
        with Image.open(file) as image:
            assert image.size == (1920, 1080) and image.mode == copied
            assert image.getexif()[0x0112] == 6
            small = np.asarray(image.convert("L"))
        assert Path(file).name == name and Path(file).parent != tmp_path
    assert abs(small - blocks.astype(int)).max() <= 1 and not Path(file).exists()
    assert said == (
        "This is a copy that detectors are quick on: the image has 2160 x 3840, all of which "
        "lowres-d2 demo looks at."
    )


def test_small_deep_and_broken_images_have_no_copy(tmp_path):
    Image.new("RGB", (1920, 1080)).save(tmp_path / "small.png")
    Image.new("I;16", (1921, 1080)).save(tmp_path / "deep.png")
    Image.effect_noise((2000, 1080), 9).save(tmp_path / "cut.png")
    cut = (tmp_path / "cut.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(cut[:9000])
    (tmp_path / "text.png").write_text("no image")
    for name in ("small.png", "deep.png", "cut.png", "text.png", "nowhere.png"):
        with quick_copy(str(tmp_path / name)) as given:
            assert given == (str(tmp_path / name), "")
