"""What the page says of a file from its header alone."""

from lowres_d2.data.image import UnfitImageError
from lowres_d2.programs.page_upload import notes_on

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
