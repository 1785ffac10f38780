from __future__ import annotations

from lowres_d2.modeling import (
    LowResDetector,
    bare_detector_state_dict,
    route_detector_checkpoint,
)
from lowres_d2.modeling.resample import Bicubic

import torch
from detectron2.checkpoint import DetectionCheckpointer

from toys.detectors import retinanet


def test_weights_of_a_plain_detector_load_into_a_composition():
    plain, model = retinanet(), LowResDetector(retinanet(), Bicubic(2))
    routed = route_detector_checkpoint(plain.state_dict(), model)
    result = model.load_state_dict(routed, strict=False)
    assert not result.unexpected_keys and not result.missing_keys
    assert torch.equal(model.detector.head.cls_score.weight, plain.head.cls_score.weight)


def test_weights_of_a_composition_load_into_a_plain_detector():
    model, plain = LowResDetector(retinanet(), Bicubic(2)), retinanet()
    state = {**model.state_dict(), "objectives.feature.weight": torch.ones(1)}
    plain.load_state_dict(route_detector_checkpoint(state, plain))
    assert torch.equal(model.detector.head.cls_score.weight, plain.head.cls_score.weight)


def test_names_that_fit_are_unchanged():
    plain, model = retinanet(), LowResDetector(retinanet(), Bicubic(2))
    for owner in (plain, model):
        state = owner.state_dict()
        assert route_detector_checkpoint(state, owner).keys() == state.keys()


def test_detectron2_loads_the_bare_detector(tmp_path):
    model, plain = LowResDetector(retinanet(), Bicubic(2)), retinanet()
    torch.save({"model": bare_detector_state_dict(model.state_dict())}, tmp_path / "bare.pth")
    DetectionCheckpointer(plain).load(str(tmp_path / "bare.pth"))
    for name, value in plain.state_dict().items():
        assert torch.equal(value, model.detector.state_dict()[name])
