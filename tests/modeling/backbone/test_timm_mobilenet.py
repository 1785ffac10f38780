from __future__ import annotations

from lowres_d2.engine.startup.weights import check_used
from lowres_d2.modeling.backbone import MobileNetV1, MobileNetV1Stage
from lowres_d2.modeling.weights import load_weights

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

STAGES = ["res2", "res3", "res4", "res5"]


class C4(nn.Module):
    """Backbone and head, under the names that a detector has for them."""

    def __init__(self, norm):
        super().__init__()
        self.backbone = MobileNetV1(["res2", "res4"], norm=norm)
        self.roi_heads = nn.ModuleDict({"res5": MobileNetV1Stage(norm=norm)})


def test_shapes_are_those_of_output_shape():
    network = MobileNetV1(STAGES).eval()
    shapes = network.output_shape()
    assert [(s.stride, s.channels) for s in shapes.values()] == [
        (4, 128),
        (8, 256),
        (16, 512),
        (32, 1024),
    ]
    for name, features in network(torch.zeros(1, 3, 65, 96)).items():
        height, width = (-(-size // shapes[name].stride) for size in (65, 96))
        assert features.shape == (1, shapes[name].channels, height, width)


def test_it_is_the_papers_network():
    """Table 1 of "MobileNets": 13 depthwise separable blocks after a strided convolution."""
    network = MobileNetV1(STAGES)
    depthwise = [m for m in network.modules() if isinstance(m, nn.Conv2d) and m.groups > 1]
    assert [m.out_channels for m in depthwise] == [32, 64, 128, 128, 256, 256, *[512] * 6, 1024]
    assert [m.stride[0] for m in depthwise] == [1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1]
    assert network.conv_stem.stride == (2, 2)


def test_stages_after_the_last_requested_one_are_not_built():
    assert len(MobileNetV1(["res3"]).blocks) == 3


@pytest.mark.parametrize("norm", ["BN", "FrozenBN"])
def test_weights_of_timm_fit_backbone_and_head(tmp_path, norm):
    torch.manual_seed(0)
    whole = timm.create_model("mobilenetv1_100").eval()
    for module in whole.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_var, 0.5, 2)
    save_file(whole.state_dict(), tmp_path / "model.safetensors")
    detector = C4(norm).eval()
    report = load_weights(detector, f"{tmp_path / 'model.safetensors'}?matching_heuristics=True")
    assert report.missing == report.misshapen == []
    check_used(report)  # only the classifier has no place, so training starts without a flag

    image = torch.randn(1, 3, 64, 64)
    stem = whole.bn1(whole.conv_stem(image))
    features = detector.backbone(image)
    for name, stop in (("res2", 2), ("res4", 4)):
        torch.testing.assert_close(features[name], whole.blocks[:stop](stem))
    head = detector.roi_heads["res5"]
    torch.testing.assert_close(head(features["res4"]), whole.blocks(stem))
    assert head.out_channels == head(features["res4"]).shape[1]


def test_frozen_norms_have_nothing_to_train():
    trained = {name.split(".")[-2] for name, _ in MobileNetV1(norm="FrozenBN").named_parameters()}
    assert trained == {"conv_stem", "conv_dw", "conv_pw"}


def test_it_takes_other_channels():
    assert MobileNetV1(["res2"], in_channels=1)(torch.rand(1, 1, 32, 32))["res2"].shape[-1] == 8


def test_unknown_stages_and_norms_are_named():
    with pytest.raises(ValueError, match=r"out_features=\['res6'\]: expected some of res2, res3"):
        MobileNetV1(["res6"])
    with pytest.raises(ValueError, match="stage='c5': expected one of res2, res3"):
        MobileNetV1Stage("c5")
    with pytest.raises(ValueError, match="norm='GN': expected one of BN, FrozenBN"):
        MobileNetV1(norm="GN")
