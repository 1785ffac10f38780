"""The unit of work: batches of one shape, and what becomes of images that a model cannot take."""

from lowres_d2.data import BrokenImageError

import numpy as np
import pytest
import torch
from detectron2.structures import Boxes, Instances

pytest.importorskip("pyarrow", reason="needs pyarrow: extra `predict`")
from lowres_d2.predictor.scale.batches import BatchReader
from lowres_d2.predictor.scale.detect import NOT_FINITE, Detect
from lowres_d2.predictor.scale.places import place_of


def inputs(path, name):
    """An image whose file is named by its sides and its value."""
    if path == "broken":
        raise BrokenImageError("no image")
    height, width, value = map(int, path.split("x"))
    image = torch.full((3, height, width), value, dtype=torch.uint8)
    return {"image": image, "height": 2 * height, "width": 2 * width}


def batches(names, size):
    places = [place_of(name, name) for name in names]
    return [*BatchReader({5: places}, "files", "", inputs, size)(5)]


def test_batches_are_of_one_shape_and_have_each_image_once():
    names = ["4x4x0", "4x6x1", "4x4x2", "broken", "4x4x4", "4x6x5", "4x4x6"]
    found = batches(names, 2)
    assert [batch["row"].tolist() for batch in found] == [[0, 2], [1, 5], [4, 6]]
    shapes = [batch["image"].shape for batch in found]
    assert shapes == [(2, 3, 4, 4), (2, 3, 4, 6), (2, 3, 4, 4)]
    assert all((batch["image"][:, 0, 0, 0] == batch["row"]).all() for batch in found)
    assert [batch["height"].tolist() for batch in found] == [[8, 8]] * 3
    assert all(batch["piece"] == 5 for batch in found)
    broken = [(batch["broken_row"].tolist(), batch["reason"].tolist()) for batch in found]
    assert broken == [([], []), ([3], ["no image"]), ([], [])]


def test_images_of_many_shapes_do_not_pile_up():
    found = batches([f"4x{width}x{width}" for width in range(1, 21)] + ["4x1x1"], 2)
    assert [batch["row"].tolist() for batch in found[:3]] == [[0], [1], [2]]
    assert sorted(row for batch in found for row in batch["row"]) == [*range(21)]


def test_broken_images_alone_are_a_batch():
    (batch,) = batches(["broken", "broken"], 2)
    assert batch["broken_row"].tolist() == [0, 1] and len(batch["image"]) == 0


class Predictor:
    """Finds a box for each unit of an image's value; takes no 7s, and gives NaN for 9s."""

    def detect(self, inputs):
        return [self.find(x) for x in inputs]

    def find(self, x):
        value = int(x["image"].max())
        if value == 7:
            raise ValueError("too\nsmall")
        boxes = torch.arange(4 * value, dtype=torch.float32).reshape(-1, 4)
        scores = torch.arange(value) / 10
        if value == 9:
            boxes[0, 0] = torch.nan
        found = {"scores": scores, "pred_classes": torch.arange(value)}
        return Instances((x["height"], x["width"]), pred_boxes=Boxes(boxes), **found)


def test_what_the_model_cannot_take_is_broken_and_the_others_of_its_batch_are_not():
    (batch,) = batches(["4x4x0", "4x4x7", "4x4x3", "4x4x9", "broken"], 4)[:1]
    found = Detect(Predictor, 0.1)(batch)
    assert found["piece"] == 5 and found["row"].tolist() == [0, 2]
    assert found["number"].tolist() == [0, 2]  # the first one's score is 0
    assert found["boxes"].tolist() == [[4, 5, 6, 7], [8, 9, 10, 11]]
    assert found["labels"].tolist() == [1, 2] and found["scores"] == pytest.approx([0.1, 0.2])
    assert found["height"].tolist() == [8, 8]
    reasons = dict(zip(found["broken_row"].tolist(), found["reason"].tolist(), strict=True))
    assert reasons == {1: "too small", 3: NOT_FINITE}
    assert found["boxes"].dtype == found["scores"].dtype == np.float32
    assert found["labels"].dtype == np.int32


def test_a_batch_of_broken_images_needs_no_model():
    (batch,) = batches(["broken"], 2)
    found = Detect(None, 0)(batch)
    assert found["broken_row"].tolist() == [0] and found["boxes"].shape == (0, 4)
