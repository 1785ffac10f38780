"""Instances become supervision's Detections, and these become the same Instances again."""

import sys

from lowres_d2.interop.supervision_detections import from_supervision, to_supervision

import numpy as np
import pytest
import torch
from detectron2.structures import Boxes, Instances

BOXES = [[1.0, 2.0, 11.5, 9.25], [3.0, 4.0, 5.0, 6.0]]
LABELS = torch.tensor([2, 0])


def predicted():
    scores = torch.tensor([0.75, 0.5])
    return Instances(
        (20, 30), pred_boxes=Boxes(torch.tensor(BOXES)), scores=scores, pred_classes=LABELS
    )


@pytest.fixture
def supervision():
    return pytest.importorskip("supervision", reason="needs supervision: extra `supervision`")


def test_detections_have_boxes_scores_labels_and_names(supervision):
    found = to_supervision(predicted(), ["a", "b", "c"])
    assert isinstance(found, supervision.Detections)
    assert found.xyxy.tolist() == BOXES and found.class_id.tolist() == [2, 0]
    assert found.confidence.tolist() == [0.75, 0.5]
    assert found["class_name"].tolist() == ["c", "a"]
    assert found[found.confidence > 0.6]["class_name"].tolist() == ["c"]
    assert found.area.tolist() == [10.5 * 7.25, 4]


def test_there_and_back(supervision):
    again = from_supervision(to_supervision(predicted()), (20, 30))
    assert again.image_size == (20, 30)
    for name, value in predicted().get_fields().items():
        other = again.get(name)
        assert torch.equal(getattr(other, "tensor", other), getattr(value, "tensor", value))
        assert getattr(other, "dtype", None) == getattr(value, "dtype", None)


def test_ground_truth_has_no_confidence(supervision):
    truth = Instances((20, 30), gt_boxes=Boxes(torch.tensor(BOXES)), gt_classes=LABELS)
    found = to_supervision(truth)
    assert found.confidence is None and "class_name" not in found.data
    again = from_supervision(found, (20, 30))
    assert {*again.get_fields()} == {"gt_boxes", "gt_classes"}
    assert torch.equal(again.gt_boxes.tensor, truth.gt_boxes.tensor)
    assert torch.equal(again.gt_classes, LABELS)


def test_nothing_found_is_no_detections(supervision):
    found = to_supervision(predicted()[[]], ["a", "b", "c"])
    assert len(found) == 0 and len(from_supervision(found, (20, 30))) == 0
    assert supervision.Detections.merge([found, to_supervision(predicted(), "abc")]).xyxy.shape == (
        2,
        4,
    )


def test_what_does_not_fit_is_one_line(supervision, monkeypatch):
    with pytest.raises(ValueError, match="label 2: class_names has 2 names"):
        to_supervision(predicted(), ["a", "b"])
    with pytest.raises(ValueError, match="instances have no fields: expected pred_boxes"):
        to_supervision(Instances((20, 30)))
    with pytest.raises(ValueError, match="detections have no class_id"):
        from_supervision(supervision.Detections(xyxy=np.array(BOXES)), (20, 30))
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'lowres-d2\[supervision\]'"):
        to_supervision(predicted())
