"""Gradients of scores in feature maps."""

from __future__ import annotations

from lowres_d2.analysis.figures.views import model_view
from lowres_d2.analysis.saliency import SaliencyMap, saliency_map, saliency_of
from lowres_d2.data import DetectionMapper
from lowres_d2.modeling import LowResDetector
from lowres_d2.modeling.backbone import SmallShortcutResNet
from lowres_d2.modeling.one_bit import binarized
from lowres_d2.modeling.resample import Bicubic

import numpy as np
import pytest
import torch
from detectron2.data import transforms as T
from detectron2.layers import ShapeSpec
from detectron2.structures import Boxes, Instances
from PIL import Image
from torch import nn

from toys.deformable_detr import SMALL, deformable_detr
from toys.detectors import DETECTORS, random_image


class Backbone(nn.Module):
    """Means of 4 x 4 and of 8 x 8 pixels, of images padded to a multiple of 16."""

    def output_shape(self):
        return {"p3": ShapeSpec(channels=3, stride=8), "p2": ShapeSpec(channels=3, stride=4)}

    def forward(self, image):
        height, width = image.shape[-2:]
        padded = nn.functional.pad(image.float()[None], (0, -width % 16, 0, -height % 16))
        return {f"p{k}": nn.functional.avg_pool2d(padded, 2**k) for k in (3, 2)}


class Scoring(nn.Module):
    """A detector whose scores are given by a function of its features."""

    def __init__(self, scores):
        super().__init__()
        self.backbone = Backbone()
        self.scores = scores

    def forward(self, inputs):
        results = []
        for x in inputs:
            scores = self.scores(self.backbone(x["image"]))
            found = Instances((x["height"], x["width"]))
            found.pred_boxes = Boxes(torch.zeros(len(scores), 4))
            found.scores, found.pred_classes = scores, torch.zeros(len(scores))
            results.append({"instances": found})
        return results


def of_one_cell(features):
    """Scores 3 a + 4 b and 2 c of the channels of one cell."""
    a, b, c = features["p2"][0, :, 1, 2]
    return torch.stack([3 * a + 4 * b, 2 * c])


def image(height=30, width=40):
    return {"image": random_image(height, width), "height": height, "width": width}


def test_the_map_is_the_norm_over_channels():
    found = saliency_map(Scoring(of_one_cell), image(), (30, 40))
    expected = np.zeros((8, 10))  # of 8 x 12: the last two columns are padding
    expected[1, 2] = np.sqrt(3**2 + 4**2 + 2**2)
    np.testing.assert_allclose(found.values, expected, rtol=1e-6)
    assert (found.level, found.factor) == ("p2", 4)


def test_the_hundred_highest_scores_count():
    """96 of one channel, and 4 of 10 of another one, far below."""

    def scores(features):
        first, second, _ = features["p2"][0].flatten(1)
        return torch.cat([second[:10] - 1000, first])

    values = saliency_map(Scoring(scores), image(), (30, 40)).values
    _, second, _ = Backbone()(image()["image"])["p2"][0].flatten(1)
    expected = np.ones(96)
    expected[second[:10].topk(4).indices] = np.sqrt(2)
    np.testing.assert_allclose(values, expected.reshape(8, 12)[:, :10], rtol=1e-6)


def test_the_finest_map_that_is_used_is_drawn():
    model = Scoring(lambda f: f["p3"][0, 0, 0, :2])
    found = saliency_map(model, image(), (30, 40))
    assert (found.level, found.factor, found.values.shape) == ("p3", 8, (4, 5))
    assert found.values[0].tolist() == [1, 1, 0, 0, 0] and not found.values[1:].any()
    assert not saliency_map(model, image(), (30, 40), level="p2").values.any()
    with pytest.raises(ValueError, match="level='p4': the feature maps are p3, p2"):
        saliency_map(model, image(), (30, 40), level="p4")


def test_an_image_without_detections_has_an_empty_map():
    found = saliency_map(Scoring(lambda f: f["p2"][0, 0, 0, :0]), image(), (30, 40))
    assert found.level == "p2" and found.values.shape == (8, 10) and not found.values.any()


def test_scores_without_gradient_are_refused():
    with pytest.raises(ValueError, match="the scores of this model have no gradient"):
        saliency_map(Scoring(lambda f: f["p2"][0, 0, 0].detach()), image(), (30, 40))


def test_an_infinite_slope_leaves_other_cells_alone():
    """The root of a score that is 0, as FCOS's may be."""
    model = Scoring(lambda f: torch.stack([(f["p2"][0, 0, 0, 0] * 0).sqrt(), f["p2"][0, 1, 2, 2]]))
    values = saliency_map(model, image(), (30, 40)).values
    assert values[2, 2] == 1 and np.isfinite(values).all()


def test_a_resampler_and_a_mapper_scale_the_map(tmp_path):
    file = tmp_path / "a.png"
    Image.fromarray(np.zeros((60, 80, 3), np.uint8)).save(file)
    entry = {"file_name": str(file), "height": 60, "width": 80, "image_id": 0}
    model = LowResDetector(Scoring(of_one_cell), Bicubic(2))
    read = DetectionMapper(False, [T.Resize((120, 160))], "RGB")
    found = saliency_of(model, read)(entry)
    # 60 x 80 stored, 120 x 160 read, 60 x 80 downsampled: cells of 4 x 4 stored pixels.
    assert found.values.shape == (15, 20) and found.factor == 4
    in_memory = {**entry, "image": torch.zeros(3, 60, 80, dtype=torch.uint8)}
    found = saliency_of(model)(in_memory)
    assert found.values.shape == (8, 10) and found.factor == 8


@pytest.mark.parametrize("name", [*DETECTORS, "deformable_detr"])
def test_any_detector_has_maps_and_stays_as_it_was(name):
    torch.manual_seed(0)
    model = (deformable_detr(SMALL) if name == "deformable_detr" else DETECTORS[name]()).train()
    inputs = image(70, 90)
    state = {key: value.clone() for key, value in model.state_dict().items()}
    with torch.no_grad():  # as programs do
        found = saliency_map(model.requires_grad_(False), inputs, (70, 90))
    assert found.values.any() and np.isfinite(found.values).all()
    strides = {key: shape.stride for key, shape in model.backbone.output_shape().items()}
    assert found.factor == strides[found.level]
    assert found.values.shape == tuple(-(-side // strides[found.level]) for side in (70, 90))
    assert model.training and not model.backbone._forward_hooks
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())


def test_a_1_bit_detector_has_maps():
    """Through the straight-through gradients of its head."""
    torch.manual_seed(0)
    model = DETECTORS["fcos"]()
    model.backbone.bottom_up = SmallShortcutResNet(channels=(8, 12, 16, 20, 24))
    assert saliency_map(binarized(model), image(70, 90), (70, 90)).values.any()


def test_a_mapper_may_change_the_aspect_ratio(tmp_path):
    """To a square, of an image three times as wide as high: columns of cells are as wide."""
    path = tmp_path / "wide.png"
    Image.fromarray(np.zeros((32, 96, 3), np.uint8)).save(path)
    mapper = DetectionMapper(is_train=False, augmentations=[T.Resize((64, 64))])
    entry = {"file_name": str(path), "height": 32, "width": 96, "image_id": 1, "annotations": []}
    found = saliency_of(Scoring(of_one_cell), mapper)(entry)
    assert found.values.shape == (16, 16)
    assert (found.factor, found.factor * found.stretch) == (2, 6)
    rows, columns = found.at_pixels(32, 96).nonzero()
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (2, 3, 12, 17)
    seen = model_view(nn.Identity(), mapper)(entry)
    assert (seen.factor, seen.factor * seen.stretch) == (0.5, 1.5)


def test_pixels_have_the_value_of_their_cell():
    saliency = SaliencyMap(np.arange(6.0).reshape(2, 3), 2.5, "p2")
    found = saliency.at_pixels(5, 8)
    assert found[:, 0].tolist() == [0, 0, 3, 3, 3]  # the centre of pixel 2 is on the border
    assert found[0].tolist() == [0, 0, 1, 1, 1, 2, 2, 2]
