"""Images of detections, also of data sets that name no classes or have no labels."""

from lowres_d2.engine.hooks.detection_images import DetectionImages
from lowres_d2.recipes.load import build, load_recipe

import pytest
import torch
from detectron2.structures import Boxes, Instances
from detectron2.utils.events import EventStorage
from omegaconf import OmegaConf
from torch import nn

from toys.labelled import LabelledToys
from toys.runs import PLAIN, run_overrides


class Finder(nn.Module):
    """Finds one object of class 1 on every image."""

    def forward(self, batch):
        found = Instances((64, 64), pred_boxes=Boxes(torch.tensor([[5.0, 5, 40, 40]])))
        found.scores, found.pred_classes = torch.tensor([0.9]), torch.tensor([1])
        return [{"instances": found} for _ in batch]


class Bare(list):
    """Dataset dicts of a user's own: without names of classes, here without labels too."""


@pytest.mark.parametrize("kept", [("annotations",), ()])
def test_a_data_set_without_classes_or_labels_is_drawn(coco_json, kept):
    cfg = load_recipe(PLAIN, run_overrides(coco_json, iterations=1, log_period=1))
    known = load_recipe(PLAIN, run_overrides(coco_json, iterations=1, log_period=1))
    drop = {"annotations"} - set(kept)
    dataset = build(known, "dataloader.test.dataset")
    cfg.dataloader.test.dataset = Bare(
        {key: value for key, value in entry.items() if key not in drop} for entry in dataset
    )
    with EventStorage() as storage:
        DetectionImages(cfg, Finder(), period=1, count=2)._draw()
        images = [image for _, image, _ in storage._vis_data]
    assert len(images) == 2 and images[0].shape == (3, 64, 128)
    left, right = images[0][:, :, :64], images[0][:, :, 64:]
    assert (left != right).any()


def test_of_a_classifier_nothing_is_drawn():
    cfg = OmegaConf.create({"dataloader": {"test": {}}}, flags={"allow_objects": True})
    cfg.dataloader.test.dataset = LabelledToys()
    with EventStorage() as storage:
        DetectionImages(cfg, Finder(), period=1)._draw()
        assert not storage._vis_data
