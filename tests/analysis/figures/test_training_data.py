"""Training images as the detector gets them."""

from __future__ import annotations

from lowres_d2.analysis.figures import training_data
from lowres_d2.analysis.figures.sheets import text_block
from lowres_d2.analysis.figures.training_data import detector_inputs, write_training_data
from lowres_d2.data import DetectionMapper
from lowres_d2.modeling import LowResDetector
from lowres_d2.modeling.resample import Bicubic, DownUp, Identity

import numpy as np
import pytest
from detectron2.data import transforms as T
from detectron2.structures import BoxMode
from PIL import Image
from torch import nn


@pytest.fixture
def entry(tmp_path):
    """A red and a tiny green square, and a crowd."""
    pixels = np.full((64, 96, 3), 90, np.uint8)
    pixels[8:24, 16:48] = (250, 0, 0)
    pixels[40:42, 60:62] = (0, 250, 0)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    boxes = ([16, 8, 48, 24], 0, 0), ([60, 40, 62, 42], 1, 0), ([0, 0, 96, 64], 0, 1)
    return {
        "file_name": str(tmp_path / "a.png"),
        "image_id": 0,
        "height": 64,
        "width": 96,
        "annotations": [
            {"bbox": box, "bbox_mode": BoxMode.XYXY_ABS, "category_id": label, "iscrowd": crowd}
            for box, label, crowd in boxes
        ],
    }


def augmented(form="BGR"):
    """Mirrored, then twice as large."""
    return DetectionMapper(True, [T.RandomFlip(prob=1.0), T.Resize((128, 192))], form)


def boxes_of(sample):
    return sample["instances"].gt_boxes.tensor.tolist()


def test_boxes_follow_the_augmentations_and_the_resampler(entry):
    model = LowResDetector(nn.Identity(), Bicubic(4), min_box_size=2.0)
    full, low = detector_inputs(model, augmented()(entry))
    # The small square would have a side of one pixel, and is dropped in both.
    assert boxes_of(full) == [[96, 16, 160, 48]] and full["image"].shape == (3, 128, 192)
    assert boxes_of(low) == [[24, 4, 40, 12]] and low["image"].shape == (3, 32, 48)
    assert low["image"][2, 8, 32] > 240 and low["image"][:2, 8, 32].max() < 10  # BGR


def test_a_degraded_image_says_which_size_it_had(entry, tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(
        training_data,
        "text_block",
        lambda text, *more: said.append(text) or text_block(text, *more),
    )
    model = LowResDetector(nn.Identity(), DownUp(4), min_box_size=2.0)
    write_training_data(tmp_path / "sheet.png", [entry], augmented(), model, ["a", "b"])
    sizes = [text.rsplit(",", 1)[0] for text in said if text.endswith("objects")]
    sizes += [text.rsplit(",", 1)[0] for text in said if text.endswith("object")]
    assert sorted(sizes) == [
        "192 x 128 pixels",
        "48 x 32 pixels, enlarged to 192 x 128",
        "96 x 64 pixels",
    ]


@pytest.mark.parametrize("model", [nn.Identity(), LowResDetector(nn.Identity(), Identity())])
def test_without_a_resampler_the_mappers_image_is_the_detectors(entry, model):
    (full,) = detector_inputs(model, augmented()(entry))
    assert boxes_of(full) == [[96, 16, 160, 48], [68, 80, 72, 84]]


@pytest.mark.parametrize("form", ["BGR", "RGB", "L"])
def test_stored_augmented_and_downsampled_images_are_side_by_side(tmp_path, entry, form):
    model = LowResDetector(nn.Identity(), Bicubic(4))
    paths = [
        write_training_data(tmp_path / name, [entry], augmented(form), network, ["red", "green"])
        for name, network in (("three.png", model), ("two.png", nn.Identity()))
    ]
    three, two = (np.asarray(Image.open(path).convert("RGB")).astype(int) for path in paths)
    assert three.shape[1] == 3 * 512 + 4 * 16 and two.shape[1] == 2 * 512 + 3 * 16
    if form == "L":
        return
    # The middle of the red square, mirrored in what the detector gets.
    for x, mirrored in ((16, False), (512 + 32, True), (2 * 512 + 48, True)):
        column = x + round(512 * (2 / 3 if mirrored else 1 / 3))
        reds = (three[:, column] - (250, 0, 0)).__abs__().max(-1) < 20
        assert reds.sum() > 60, (x, mirrored)


@pytest.mark.parametrize(
    ("crowds", "made"),
    [
        ("background", "which is background in training"),
        ("blank", "which has the image's mean colour in training"),
        ("region_mean", "which has its own mean colour in training"),
        ("ignore", "in which training takes nothing for background"),
    ],
)
def test_the_note_says_what_this_recipe_makes_of_crowds_where_there_are_any(
    tmp_path, entry, monkeypatch, crowds, made
):
    said = []
    for name in ("text_block", "legend"):
        drawn = getattr(training_data, name)
        monkeypatch.setattr(
            training_data,
            name,
            lambda x, *a, _drawn=drawn, **k: said.append(x) or _drawn(x, *a, **k),
        )
    mapper = DetectionMapper(True, crowds=crowds)
    write_training_data(tmp_path / "crowd.png", [entry], mapper, nn.Identity(), ["a", "b"])
    *_, labels, note = said
    assert [name for name, _ in labels] == ["a", "b", "crowd"]
    assert note.endswith(f" A dashed white box is a crowd, {made}.")
    entry["annotations"].pop()
    write_training_data(tmp_path / "none.png", [entry], mapper, nn.Identity(), ["a", "b"])
    *_, labels, note = said
    assert [name for name, _ in labels] == ["a", "b"] and "crowd" not in note


def test_an_image_that_the_mapper_skips_is_left_out(tmp_path, entry):
    mapper = DetectionMapper(True, on_broken="skip")
    broken = {**entry, "file_name": str(tmp_path / "none.png")}
    heights = []
    for entries in ([entry], [broken, entry]):
        path = write_training_data(tmp_path / "d.png", entries, mapper, nn.Identity(), ["a", "b"])
        heights.append(Image.open(path).height)
    assert heights[0] == heights[1]
