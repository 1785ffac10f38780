from __future__ import annotations

from fractions import Fraction

from lowres_d2.analysis.figures.sheets import panel_side, wrap
from lowres_d2.analysis.figures.thumbnails import write_thumbnails
from lowres_d2.analysis.figures.views import (
    Seen,
    input_view,
    model_view,
    stored_view,
    stored_view_of,
)
from lowres_d2.data import DetectionMapper
from lowres_d2.fonts import font_for
from lowres_d2.modeling import LowResDetector
from lowres_d2.modeling.objectives.moment_matching import MomentMatching
from lowres_d2.modeling.resample import Bicubic, DownUp
from lowres_d2.structures import ObjectiveContext

import numpy as np
import pytest
import torch
from detectron2.data import transforms as T
from detectron2.structures import BoxMode
from PIL import Image
from torch import nn


def entry(folder):
    file = folder / "a.png"
    pixels = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file)
    box = {"bbox": [10, 10, 20, 20], "bbox_mode": BoxMode.XYXY_ABS, "category_id": 0}
    size = {"height": 64, "width": 96}
    return {"file_name": str(file), "image_id": 0, "annotations": [box], **size}


def test_a_degraded_image_says_which_size_it_had():
    entry = {"image": torch.zeros(3, 32, 30, dtype=torch.uint8), "height": 32, "width": 30}
    model = nn.Module()
    model.resampler = DownUp(4)
    assert model_view(model)(entry).size == "8 x 8 pixels, enlarged to 30 x 32"
    assert model_view(nn.Identity())(entry).size == "30 x 32 pixels"


def test_names_wider_than_their_column_are_wrapped():
    name = "dfd4_resnet18_small_8_plates_run"
    lines = wrap(f"a {name}", 100, 16)
    assert len(lines) > 2 and lines[0] == "a" and "".join(lines[1:]) == name
    assert max(font_for(name, 16).getlength(line) for line in lines) <= 100


def test_each_variant_is_beside_the_original_in_square_pixels(tmp_path):
    record = entry(tmp_path)
    bicubic = model_view(LowResDetector(nn.Identity(), Bicubic(4)))
    dead = lambda _: Seen(np.float32([[[0, 2, 0]]]), 96.0)  # noqa: E731
    path = write_thumbnails(
        tmp_path / "new" / "t.png", [record], {"bicubic": bicubic, "dead": dead}
    )
    sheet, side = np.asarray(Image.open(path).convert("RGB")), panel_side(3)
    assert sheet.shape[1] == 3 * side + 4 * 16
    height = side * 64 // 96
    top = int((sheet[:, -16 - side // 2] == (0, 255, 0)).all(-1).argmax())
    middle = sheet[top : top + height, 32 + side : 32 + 2 * side]
    expected = bicubic(record).pixels  # (16, 24, 3)
    rows = ((np.arange(16) + 0.5) * height / 16).astype(int)
    columns = ((np.arange(24) + 0.5) * side / 24).astype(int)
    assert np.abs(middle[rows[:, None], columns].astype(int) - expected).max() <= 6


def test_moments_are_those_that_moment_matching_compares(tmp_path):
    record = entry(tmp_path)
    mapper = DetectionMapper(False, [T.Resize((32, 48))])
    model = LowResDetector(nn.Identity(), Bicubic(4))
    full, low = input_view(mapper)(record), model_view(model, mapper)(record)
    assert full.values.shape == (32, 48, 3) and low.values.shape == (8, 12, 3)
    assert full.factor == 2 and low.factor == 8  # of the stored image, for windows

    image = mapper(dict(record))["image"].float() / 255
    context = ObjectiveContext(
        images=[image],
        low_res_images=model.resampler([image]),
        ground_truth=[None],
        factor=Fraction(4),
        student_taps={},
        teacher_taps={},
    )
    losses = MomentMatching(spread_weight=1.0)(context)
    for name, moment in (("mean", np.mean), ("spread", np.std)):
        difference = moment(full.values, (0, 1)) - moment(low.values, (0, 1))
        assert losses[name].item() == pytest.approx(float((difference**2).mean()), rel=1e-4)


def test_the_original_is_what_the_resampler_gets(tmp_path):
    record = entry(tmp_path)
    mapper = DetectionMapper(False, [T.Resize((32, 48))])
    flat = lambda _: Seen(np.float32(np.zeros((8, 12, 3))), 8.0)  # noqa: E731
    paths = [
        write_thumbnails(tmp_path / f"{name}.png", [record], {"flat": flat}, view)
        for name, view in (("stored", stored_view), ("input", input_view(mapper)))
    ]
    stored, seen = (np.asarray(Image.open(path).convert("RGB")).astype(int) for path in paths)
    side = panel_side(2)
    height = side * 64 // 96
    top = int((stored[:, -16 - side // 2] == 0).all(-1).argmax())
    pixels = input_view(mapper)(record).pixels
    rows = ((np.arange(32) + 0.5) * height / 32).astype(int)
    columns = ((np.arange(48) + 0.5) * side / 48).astype(int)
    shown = seen[top : top + height, 16 : 16 + side]
    assert np.abs(shown[rows[:, None], columns] - pixels).max() <= 6
    assert np.abs(stored[top : top + height, 16 : 16 + side] - shown).max() > 30


@pytest.mark.parametrize("config", [False, True])
@pytest.mark.parametrize(("exif", "shape"), [("ignore", (40, 60, 3)), ("apply", (60, 40, 3))])
def test_the_stored_image_lies_as_the_mapper_has_it(tmp_path, exif, shape, config):
    image = Image.new("RGB", (60, 40))
    tags = image.getexif()
    tags[0x0112] = 6
    image.save(tmp_path / "a.jpg", exif=tags)
    record = {"file_name": str(tmp_path / "a.jpg")}
    mapper = {"exif": exif, "max_pixels": 7} if config else DetectionMapper(False, exif=exif)
    assert stored_view_of(mapper)(record).values.shape == shape
    assert stored_view(record).values.shape == (60, 40, 3)


def test_images_that_are_read_in_windows_are_drawn_as_a_whole(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (12, 16, 3), np.uint8)
    np.save(tmp_path / "a.npy", pixels)
    stored = {"file_name": str(tmp_path / "a.npy"), "height": 12, "width": 16}
    view = input_view(DetectionMapper(False, image_format="RGB", windows=True))
    assert np.allclose(view(stored).values, pixels / np.float32(255), atol=1e-6)
