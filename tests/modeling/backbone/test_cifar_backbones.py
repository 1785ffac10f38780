"""The forms of AlexNet, VGG-16 and ResNet-18 for images of 32x32 pixels."""

from __future__ import annotations

from lowres_d2.modeling.backbone import CifarAlexNet, CifarResNet18, CifarVGG16
from lowres_d2.modeling.meta_arch import ImageClassifier
from lowres_d2.modeling.without_values import without_values

import pytest
import torch
from torch import nn
from torchvision.models import vgg16_bn

PIXELS = dict(pixel_mean=[0.0] * 3, pixel_std=[1.0] * 3)


def parameters(network):
    return sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize(
    ("backbone", "head", "number"),
    [
        # Of the forms in common use, less the biases that batch norm makes idle, plus AlexNet's
        # batch norms (1,152 channels), which its first form has not.
        (CifarAlexNet, dict(pooled_size=2, hidden=[4096, 4096]), 23_272_266 - 1152 + 2 * 1152),
        (CifarVGG16, dict(hidden=[512, 512]), 15_253_578 - 4224),
        (CifarVGG16, dict(), 14_728_266 - 4224),
        (CifarResNet18, dict(), 11_173_962),
    ],
)
def test_number_of_parameters_for_ten_classes(backbone, head, number):
    with without_values():
        assert parameters(ImageClassifier(backbone(), 10, **PIXELS, **head)) == number


def test_vgg_is_torchvisions_with_batch_norm():
    ours, theirs = CifarVGG16().eval(), vgg16_bn(init_weights=False).features.eval()
    pairs = [
        [layer for layer in network.modules() if isinstance(layer, (nn.Conv2d, nn.BatchNorm2d))]
        for network in (ours, theirs)
    ]
    for a, b in zip(*pairs, strict=True):
        a.weight.data.copy_(b.weight)
        if isinstance(b, nn.Conv2d):
            b.bias.data.zero_()
    x = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(ours(x)["stage5"], theirs(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("backbone", "cells"),
    [
        (CifarAlexNet, {"stage1": (4, 8), "stage2": (12, 4), "stage3": (16, 2)}),
        (
            CifarVGG16,
            {"stage1": (4, 16), "stage2": (8, 8), "stage3": (16, 4), "stage4": (32, 2)}
            | {"stage5": (32, 1)},
        ),
        (CifarResNet18, {"res2": (4, 32), "res3": (8, 16), "res4": (16, 8), "res5": (32, 4)}),
    ],
)
def test_channels_follow_the_width_and_strides_are_told(backbone, cells):
    network = backbone(width=4, out_features=list(cells), in_channels=2).eval()
    found = network(torch.zeros(1, 2, 32, 32))
    shapes = network.output_shape()
    assert {name: (x.shape[1], x.shape[2]) for name, x in found.items()} == cells
    assert {name: (x.channels, 32 // x.stride) for name, x in shapes.items()} == cells


@pytest.mark.parametrize("backbone", [CifarAlexNet, CifarVGG16, CifarResNet18])
@pytest.mark.parametrize("side", [1, 2, 8])
def test_of_an_image_smaller_than_the_stride_a_cell_is_left(backbone, side):
    (features,) = backbone(width=4).eval()(torch.zeros(1, 3, side, side)).values()
    assert features.shape[-2:] == (1, 1)


def test_stages_behind_the_last_feature_map_are_not_built():
    assert parameters(CifarVGG16(4, ["stage2"])) < parameters(CifarVGG16(4, ["stage3"]))
    assert list(CifarVGG16(4, ["stage2"])(torch.zeros(2, 3, 32, 32))) == ["stage2"]


@pytest.mark.parametrize("names", [[], ["res5"]])
def test_unknown_feature_maps_are_refused(names):
    with pytest.raises(ValueError, match="expected some of stage1, stage2, stage3"):
        CifarAlexNet(4, names)
