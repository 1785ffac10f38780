"""The page's detectors: what is shown of an image is what ``load`` finds on it."""

from dataclasses import replace
from fractions import Fraction

import lowres_d2
from lowres_d2.analysis.cost.complexity import measure_complexity
from lowres_d2.engine.build import build_model
from lowres_d2.engine.identity import recipe_text
from lowres_d2.programs.page_cards import caption, draw
from lowres_d2.programs.page_detectors import LEAST_SCORE, PageDetector, open_detectors
from lowres_d2.recipes.load import load_recipe
from lowres_d2.said_cost import OPS

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps


@pytest.fixture
def file(tmp_path):
    """An image of 128x96 pixels, which the mapper of the thumbnails resizes to 85x64."""
    path = tmp_path / "image.png"
    pixels = np.random.default_rng(0).integers(0, 256, (96, 128, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return str(path)


def test_a_detector_shows_what_load_finds(page_runs, file):
    detector = PageDetector(str(page_runs["Thumbnails"]))
    expected = lowres_d2.load(page_runs["Thumbnails"])
    found = expected(file, LEAST_SCORE)
    shown = detector.find(file, factor=1)
    assert detector.title == "bicubic" and detector.factors == [] and detector.knows == ""
    assert len(found) and (shown.objects.boxes == found.pred_boxes.tensor.numpy()).all()
    assert (shown.objects.scores == found.scores.numpy()).all()
    assert (shown.objects.labels == found.pred_classes.numpy()).all()
    inputs = expected.prepare(file)
    assert shown.macs == shown.ops == measure_complexity(expected.model, [inputs]).total_macs
    assert shown.image_size == (96, 128) and shown.factor == 4 and shown.milliseconds > 0
    assert shown.seen_size == (16, 22)  # of 64x85, padded to a multiple of 4


def test_an_any_factor_detector_has_each_of_its_factors(page_runs, file):
    folder = page_runs["<b>Any"]
    detector = PageDetector(str(folder))
    assert detector.factors == [1, 2] and detector.nearest(1.7) == Fraction(2)
    for factor, size in ((1, (96, 128)), (2, (48, 64))):
        expected = lowres_d2.load(folder, overrides=[f"model.resampler.factor={factor}"])
        shown = detector.find(file, factor)
        assert shown.seen_size == size and shown.factor == factor
        found = expected(file, LEAST_SCORE).pred_boxes.tensor.numpy()
        assert len(found) and (shown.objects.boxes == found).all()


def test_pixels_that_it_sees_are_squares(page_runs, tmp_path):
    path = tmp_path / "small.png"
    pixels = np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    shown = PageDetector(str(page_runs["Thumbnails"])).find(str(path), 1)
    assert shown.image.size == shown.seen.size == (640, 640)  # of 64x64, 10 times
    assert (np.asarray(shown.image)[5::10, 5::10] == pixels).all()
    squares = np.asarray(shown.seen).reshape(16, 40, 16, 40, 3)
    assert (squares == squares[:, :1, :, :1]).all()
    assert len(np.unique(squares[:, 0, :, 0].reshape(-1, 3), axis=0)) > 200


def pixels_of(name, image, folder):
    """The pixels of a file, by Pillow alone."""
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    options = {"turned.png": {"exif": exif}, "moving.gif": {"save_all": True}}.get(name, {})
    more = {"append_images": [image.rotate(180)]} if name == "moving.gif" else {}
    image.save(folder / name, **options, **more)
    return np.asarray(ImageOps.exif_transpose(Image.open(folder / name)).convert("RGB"))


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("turned.png", "RGB"),
        ("moving.gif", "RGB"),
        ("palette.png", "P"),
        ("clear.png", "RGBA"),
        ("print.jpg", "CMYK"),
    ],
)
def test_images_of_all_kinds_are_shown_as_they_are(page_runs, tmp_path, name, mode):
    pixels = np.random.default_rng(2).integers(0, 256, (48, 64, 3), np.uint8)
    expected = pixels_of(name, Image.fromarray(pixels).convert(mode), tmp_path)
    shown = PageDetector(str(page_runs["<b>Any"])).find(str(tmp_path / name), 1)
    assert (np.asarray(shown.image)[5::10, 5::10] == expected).all()
    assert (np.asarray(shown.seen)[5::10, 5::10] == expected).all()


def test_the_caption_says_what_is_shown(page_runs, file):
    shown = PageDetector(str(page_runs["Thumbnails"])).find(file, 1)
    score = float(np.sort(shown.objects.scores)[-3])
    said = caption(shown, score)
    assert said.startswith('<p class="numbers"><b>3 objects</b> ')
    assert f"<b>{shown.milliseconds:.3g} ms</b>" in said and " M MACs</b>" in said
    sees = "The detector sees 22 x 16 pixels: the image resized and downsampled 4x by bicubic"
    assert f"<p>{sees} interpolation.</p>" in said
    counts = np.bincount(shown.objects.labels[shown.objects.scores >= score])
    assert {f"{n} x {name}" for n, name in zip(counts, shown.classes, strict=False) if n} == {
        *said.split("It finds ")[1].removesuffix("</p>").split(", ")
    }
    assert "It finds nothing of this score or higher." in caption(shown, 1.0) and "OPs" not in said
    degraded = replace(shown, sees="32 x 24 pixels, enlarged to 128 x 96", enlarged=4.0)
    degraded = replace(degraded, seen_size=(96, 128), resampler="DownUp")
    assert (
        "<p>The detector sees 32 x 24 pixels, enlarged to 128 x 96: the image downsampled 4x by "
        "interpolation.</p>"
    ) in caption(degraded, score)
    in_one_bit = caption(replace(shown, macs=1.5e9, ops=170e6), score)
    assert "<b>170 M OPs</b>" in in_one_bit and in_one_bit.endswith(f"<p>{OPS}</p>")
    assert draw(shown, 1.0) == shown.image != draw(shown, score)


def test_a_classifier_is_refused(tmp_path):
    cfg = load_recipe("tests/toys/recipes/classifier.py", ["train.device=cpu"])
    state = {"model": build_model(cfg).state_dict(), "recipe": recipe_text(cfg)}
    torch.save(state | {"classes": [str(k) for k in range(10)]}, tmp_path / "model.pth")
    with pytest.raises(ValueError, match="is of a classifier, which finds no boxes"):
        open_detectors([f"mine={tmp_path}/model.pth"])
