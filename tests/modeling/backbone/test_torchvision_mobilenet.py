from __future__ import annotations

from lowres_d2.engine.startup.weights import check_used
from lowres_d2.modeling.backbone import MobileNetV2, MobileNetV2Stage
from lowres_d2.modeling.weights import load_weights

import pytest
import torch
from torch import nn
from torchvision.models import mobilenet_v2

STAGES = ["res2", "res3", "res4", "res5"]


class C4(nn.Module):
    """Backbone and head, under the names that a detector has for them."""

    def __init__(self, norm):
        super().__init__()
        self.backbone = MobileNetV2(["res2", "res4"], width_mult=0.25, norm=norm)
        self.roi_heads = nn.ModuleDict({"res5": MobileNetV2Stage(width_mult=0.25, norm=norm)})


def test_shapes_are_those_of_output_shape():
    network = MobileNetV2(STAGES).eval()
    shapes = network.output_shape()
    assert [(s.stride, s.channels) for s in shapes.values()] == [
        (4, 24),
        (8, 32),
        (16, 96),
        (32, 320),
    ]
    for name, features in network(torch.zeros(1, 3, 65, 96)).items():
        height, width = (-(-size // shapes[name].stride) for size in (65, 96))
        assert features.shape == (1, shapes[name].channels, height, width)


def test_stages_after_the_last_requested_one_are_not_built():
    assert len(MobileNetV2(["res3"]).features) == 7


@pytest.mark.parametrize("norm", ["BN", "FrozenBN"])
def test_weights_of_torchvision_fit_backbone_and_head(tmp_path, norm):
    torch.manual_seed(0)
    whole = mobilenet_v2(width_mult=0.25).eval()
    for module in whole.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_var, 0.5, 2)
    torch.save(whole.state_dict(), tmp_path / "whole.pth")
    detector = C4(norm).eval()
    report = load_weights(detector, f"{tmp_path / 'whole.pth'}?matching_heuristics=True")
    assert report.missing == report.misshapen == []
    check_used(report)

    image = torch.randn(1, 3, 64, 64)
    features = detector.backbone(image)
    for name, stop in (("res2", 4), ("res4", 14)):
        torch.testing.assert_close(features[name], whole.features[:stop](image))
    head = detector.roi_heads["res5"]
    torch.testing.assert_close(head(features["res4"]), whole.features[:18](image))
    assert head.out_channels == head(features["res4"]).shape[1]


def test_unknown_stages_are_named():
    with pytest.raises(ValueError, match=r"out_features=\['res6'\]: expected some of res2, res3"):
        MobileNetV2(["res6"])
    with pytest.raises(ValueError, match="stage='c5': expected one of res2, res3"):
        MobileNetV2Stage("c5")
