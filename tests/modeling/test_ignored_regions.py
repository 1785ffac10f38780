"""Detectors learn nothing from background in ignore regions, and everything else as before."""

import copy

from lowres_d2.modeling import LowResDetector
from lowres_d2.modeling.ignored_regions import ignoring, lies_inside
from lowres_d2.modeling.resample import Bicubic

import pytest
import torch
from detectron2.structures import Boxes, Instances
from detectron2.utils.events import EventStorage
from torch import nn

from toys.detectors import (
    cascade_rcnn,
    faster_rcnn_c4,
    faster_rcnn_fpn,
    fcos,
    retinanet,
    training_input,
)

DETECTORS = {
    "retinanet": (retinanet, ["loss_cls"]),
    "fcos": (fcos, ["loss_fcos_cls"]),
    "faster_rcnn_fpn": (faster_rcnn_fpn, ["loss_rpn_cls", "loss_cls"]),
    "faster_rcnn_c4": (faster_rcnn_c4, ["loss_rpn_cls", "loss_cls"]),
    "cascade_rcnn": (cascade_rcnn, ["loss_rpn_cls", "loss_cls_stage0", "loss_cls_stage2"]),
}
WHOLE = [[0.0, 0.0, 128.0, 96.0]]


def boxes(*rows):
    return Boxes(torch.tensor(rows, dtype=torch.float32).reshape(-1, 4))


def regions(*rows):
    found = Instances((96, 128))
    found.gt_boxes = boxes(*rows)
    return found


def without_objects():
    given = training_input(96, 128)
    return given | {"instances": given["instances"][:0]}


def losses_of(detector, given, ignored):
    torch.manual_seed(0)  # of the sampling
    with EventStorage(0), ignoring(detector, ignored):
        return detector(given)


def test_half_of_the_own_area_makes_a_box_lie_in_a_region():
    given = torch.tensor([[0, 0, 10, 10], [5, 0, 15, 10], [6, 0, 16, 10], [3, 3, 3, 9.0]])
    assert lies_inside(given, boxes([-50, -50, 10, 50])).tolist() == [True, True, False, False]
    assert not lies_inside(given, boxes()).any()


@pytest.mark.parametrize("name", DETECTORS)
def test_nothing_is_learned_where_all_is_ignored(name):
    make, terms = DETECTORS[name]
    detector = make().train()
    losses = losses_of(detector, [without_objects()], [regions(*WHOLE)])
    assert all(losses[term] == 0 for term in terms)
    sum(losses.values()).backward()
    gradients = [p.grad for p in detector.parameters() if p.grad is not None]
    assert all(torch.count_nonzero(gradient) == 0 for gradient in gradients)
    assert all(losses_of(detector, [without_objects()], [regions()])[term] > 0 for term in terms)


@pytest.mark.parametrize("name", DETECTORS)
def test_no_region_changes_nothing_and_leaves_nothing_behind(name):
    make, _ = DETECTORS[name]
    detector = make().train()
    given = [training_input(96, 128), training_input(96, 128, seed=1)]
    twin = copy.deepcopy(detector)
    plain = losses_of(detector, given, [])
    same = losses_of(twin, given, [regions(), regions([1000, 1000, 1001, 1001])])
    assert {k: v.item() for k, v in plain.items()} == {k: v.item() for k, v in same.items()}
    before = [dict(module.__dict__) for module in detector.modules()]
    losses_of(detector, given, [regions(*WHOLE), regions()])
    after = [dict(module.__dict__) for module in detector.modules()]
    assert [set(one) for one in before] == [set(one) for one in after]


def test_only_background_in_the_region_loses_its_label():
    detector = retinanet().train()
    truth = training_input(96, 128)["instances"]
    features = detector.backbone(torch.zeros(1, 3, 96, 128))
    anchors = detector.anchor_generator([features[name] for name in detector.head_in_features])
    region = [40, 30, 104, 80]
    (plain,), _ = detector.label_anchors(anchors, [truth])
    with ignoring(detector, [regions(region)]):
        (labels,), _ = detector.label_anchors(anchors, [truth])
    inside = lies_inside(Boxes.cat(anchors).tensor, boxes(region))
    background = plain == detector.num_classes
    assert (inside & background).any() and (~inside & background).any()
    assert (labels[inside & background] == -1).all()
    assert torch.equal(labels[~(inside & background)], plain[~(inside & background)])


def test_each_image_has_its_own_regions():
    detector = fcos().train()
    both = [without_objects(), without_objects()]
    one = losses_of(detector, both, [regions(*WHOLE), regions()])["loss_fcos_cls"]
    detector = copy.deepcopy(detector)
    neither = losses_of(detector, both, [regions(), regions([0, 0, 0.5, 0.5])])["loss_fcos_cls"]
    # The running count of positives moves between the two, but has no object to count.
    assert one > 0 and one.item() < neither.item()


def test_low_res_detectors_scale_the_regions():
    detector = LowResDetector(fcos(), Bicubic(2)).train()
    given = without_objects()
    ignored = Instances((96, 128))
    ignored.gt_boxes = boxes(*WHOLE)
    with EventStorage(0):
        assert detector([given | {"ignored": ignored}])["loss_fcos_cls"] == 0
        # The left half of the image at the detector's size, which would be all of it unscaled.
        ignored.gt_boxes = boxes([0, 0, 64, 96])
        assert detector([given | {"ignored": ignored}])["loss_fcos_cls"] > 0


def test_detectors_that_cannot_ignore_regions_say_so():
    message = r"mapper\.crowds='ignore': Linear has no anchors, .* use crowds='blank'"
    with pytest.raises(ValueError, match=message), ignoring(nn.Linear(1, 1), [regions(*WHOLE)]):
        pass
