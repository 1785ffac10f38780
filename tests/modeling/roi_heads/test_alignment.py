"""Inputs of the generator and their targets show the same place of the full image.

Networks are made linear, so that a ramp (each pixel's coordinate) says what a pooled cell shows.
"""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace

import lowres_d2  # noqa: F401
from lowres_d2.modeling.backbone import AtrousTwin, MobileNetV1, MobileNetV2, SmallResNet
from lowres_d2.modeling.backbone.cell_offsets import cell_offsets
from lowres_d2.modeling.roi_heads import SuperResolution
from lowres_d2.modeling.roi_heads.super_resolved_heads import SuperResolvedHeads

import pytest
import torch
import torch.nn.functional as F
from detectron2.modeling.backbone.fpn import FPN, LastLevelMaxPool
from detectron2.modeling.backbone.resnet import BasicStem, BottleneckBlock, ResNet
from detectron2.modeling.poolers import ROIPooler
from detectron2.structures import Boxes
from torch import nn
from torch.overrides import TorchFunctionMode

from toys.super_resolution import super_resolution, super_resolved, training_inputs

HEIGHT, WIDTH = 64, 768


def resnet(depths, out_features, stride_in_1x1):
    """Kernels and strides of a ResNet, in few channels and blocks."""
    stages = [
        ResNet.make_stage(
            BottleneckBlock,
            depth,
            in_channels=before,
            out_channels=before + 1,
            bottleneck_channels=2,
            stride_per_block=[stride] + [1] * (depth - 1),
            norm="",
            stride_in_1x1=stride_in_1x1,
        )
        for depth, before, stride in zip(depths, (2, 3, 4, 5), (1, 2, 2, 2), strict=False)
    ]
    return ResNet(BasicStem(3, 2, norm=""), stages, out_features=out_features)


def pyramid():
    bottom_up = resnet((1, 1, 1, 1), ["res2", "res3", "res4", "res5"], stride_in_1x1=True)
    return FPN(bottom_up, list(bottom_up.output_shape()), 2, top_block=LastLevelMaxPool())


# Backbone, base layers, sub layer; what the input was off the target, in pixels of the full image,
# with the twin's targets and with the backbone's own.
CASES = {
    "quick": (lambda: resnet((1, 2), ["res2", "res3"], True), ["res3"], "res2", -4, -3.5),
    "r50": (lambda: resnet((1, 2, 2), ["res2", "res4"], True), ["res4"], "res2", -8, -7.5),
    "r50, 3x3": (lambda: resnet((1, 2, 2), ["res2", "res4"], False), ["res4"], "res2", -14, -7.5),
    "mobilenet v2": (lambda: MobileNetV2(["res2", "res4"], 0.1), ["res4"], "res2", -15, -7.5),
    "mobilenet": (lambda: MobileNetV1(["res2", "res4"]), ["res4"], "res2", -15, -7.5),
    "small": (lambda: SmallResNet((2, 3, 4, 5, 6)), ["res4"], "res2", -15, -7.5),
    "fpn, p2": (pyramid, ["p2", "p3", "p4", "p5"], "p2", -2, -1.5),
}
STRIDES = {"res2": 4, "res3": 8, "res4": 16, "p2": 4, "p3": 8, "p4": 16, "p5": 32}


class Linear(TorchFunctionMode):
    """A network without what is not linear; of a pyramid's cells, the lateral part."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name == "max_pool2d":
            kwargs = (
                dict(zip(("kernel_size", "stride", "padding"), args[1:], strict=False)) | kwargs
            )
            kwargs.pop("dilation", None)
            kwargs.pop("return_indices", None)
            return F.avg_pool2d(args[0], **kwargs)
        if name in ("relu", "relu_", "hardtanh", "hardtanh_", "relu6", "batch_norm"):
            return args[0]
        if name == "interpolate":  # nearest neighbours, not cells of its own
            return torch.zeros_like(func(*args, **kwargs))
        return func(*args, **kwargs)


def linear(network):
    """Weights are means; strided shortcuts, which see one pixel of a pooled window, are shut."""
    for parameter in network.parameters():
        nn.init.constant_(parameter, 1 / parameter[0].numel() if parameter.dim() == 4 else 0)
    for module in network.modules():
        shortcut = getattr(module, "shortcut", None)
        if shortcut is not None and max(shortcut.stride) > 1:
            nn.init.zeros_(shortcut.weight)
    return network.double().eval()


def maps_of(network, step):
    """Feature maps of a ramp of full-image coordinates, and of a constant image."""
    height, width = HEIGHT // step, WIDTH // step
    ramp = step * (torch.arange(width, dtype=torch.float64) + 0.5)
    with torch.no_grad(), Linear():
        return [
            network(row.expand(1, 3, height, width) * 1e-6) for row in (ramp, torch.ones_like(ramp))
        ]


class Heads(SuperResolvedHeads):
    """Pooling alone, without predictors."""

    def __init__(self, names, rules):
        super().__init__()
        self.super_resolution = rules
        self.names, self.pooler = names, pooler(names)

    @property
    def _base_pooler(self):
        return self.pooler, self.names


def pooler(names):
    scales = [1 / STRIDES[name] for name in names]
    return ROIPooler(5, scales, sampling_ratio=2, pooler_type="ROIAlignV2")


class Parts(nn.Module):
    """A generator that keeps what it is given."""

    def forward(self, base, sub):
        self.base, self.sub = base, sub
        return base


@cache
def shown_by(case, ratio):
    """Offsets of the cells, and maps of both images, of backbone (downsampled, full) and twin."""
    network = linear(CASES[case][0]())
    twin = AtrousTwin(network, ratio).network
    return {
        "low": maps_of(network, ratio),
        "naive": (cell_offsets(network), maps_of(network, 1)),
        "atrous": (cell_offsets(twin), maps_of(twin, 1)),
    }


def places(case, box, target_of, aligned=True, ratio=2):
    """Full-image x of each cell of base, sub and target features of one region."""
    _, names, sub = CASES[case][:3]
    parts = Parts()
    rules = SuperResolution(parts, nn.Identity(), [sub], pooler([sub]), 96.0**2, ratios=[ratio])
    shown = shown_by(case, ratio)
    offsets, full_maps = shown[target_of]
    if aligned:
        rules.cell_offsets = shown["naive"][0]
    heads, found = Heads(names, rules), []
    for low, full in zip(shown["low"], full_maps, strict=True):
        boxes = [Boxes(torch.tensor([box]))]
        base, _, target = heads.follow(low, full, boxes, ratio, offsets if aligned else None)
        found.append([x.mean(1) for x in (base, parts.sub, target)])
    return [above / below for above, below in zip(*found, strict=True)]


BOX = [352.0, 8.0, 416.0, 56.0]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("target_of", ["atrous", "naive"])
def test_base_sub_and_target_show_the_same_place(case, target_of):
    base, sub, target = places(case, BOX, target_of)
    torch.testing.assert_close(base, target, atol=1e-3, rtol=0)
    torch.testing.assert_close(base, sub, atol=1e-3, rtol=0)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("target_of", ["atrous", "naive"])
def test_unaligned_they_lie_apart(case, target_of):
    base, _, target = places(case, BOX, target_of, aligned=False)
    expected = CASES[case][3 if target_of == "atrous" else 4]
    torch.testing.assert_close(base - target, torch.full_like(base, expected), atol=1e-3, rtol=0)


def test_base_features_are_pooled_as_the_base_detector_pools_them():
    base, _, _ = places("r50", BOX, "atrous")
    # The middle of the box, 384, is off by twice 7.5 pixels: the image has half the size.
    assert base[0, 2, 2].item() == pytest.approx(384 - 15, abs=1e-3)


def test_levels_of_a_pyramid_each_have_their_own_offset():
    # 160 px: pooled from p3 in the full image, and from p2 at half the size.
    box = [304.0, -40.0, 464.0, 120.0]
    for target_of in ("atrous", "naive"):
        base, _, target = places("fpn, p2", box, target_of)
        torch.testing.assert_close(base[:, 1:2], target[:, 1:2], atol=1e-3, rtol=0)


def test_a_twin_of_ratio_4_is_aligned_too():
    base, sub, target = places("quick", [320.0, 8.0, 448.0, 56.0], "atrous", ratio=4)
    torch.testing.assert_close(base, target, atol=1e-3, rtol=0)
    torch.testing.assert_close(base, sub, atol=1e-3, rtol=0)


class Named(nn.Sequential):
    def forward(self, x):
        return {"map": super().forward(x)}


@pytest.mark.parametrize(
    ("layers", "offset"),
    [
        ([nn.Conv2d(3, 3, 3, 2, 1), nn.MaxPool2d(3, 2, 1)], 0.5),
        ([nn.Conv2d(3, 3, 1, 2)], 0.5),
        ([nn.Conv2d(3, 3, 3, padding=1), nn.MaxPool2d(2), nn.AvgPool2d(2)], 0.5 + 0.5 + 1),
        ([nn.Conv2d(3, 3, 4, 4)], 2.0),  # a patch embedding: half a stride
        ([nn.Conv2d(3, 3, 4, 4, padding="valid")], 2.0),
        ([nn.Conv2d(3, 3, 3, padding="same"), nn.MaxPool2d(2)], 1.0),
        ([nn.Conv2d(3, 3, 3, 2, 0)], 1.5),  # unpadded: the first pixel's right neighbour
    ],
)
def test_offsets_are_those_of_the_windows(layers, offset):
    network = Named(*layers).train()
    assert cell_offsets(network) == {"map": offset}
    assert network.training


@pytest.mark.parametrize("name", ["faster_rcnn_c4", "faster_rcnn_fpn"])
def test_the_detector_tells_its_heads_where_cells_lie(name, monkeypatch):
    model = super_resolved(name)
    layer = model.roi_heads.super_resolution.sub_in_features[0]
    # The stem, and res2's first block, are pooled in the twin in place of their strides.
    assert model.roi_heads.super_resolution.cell_offsets[layer] == 0.5
    assert model.target_offsets(2)[layer] == 0.5 + 0.5 + 1
    given = []
    follow = model.roi_heads.follow
    monkeypatch.setattr(model.roi_heads, "follow", lambda *x: given.append(x[-1]) or follow(*x))
    with torch.no_grad():
        images = model.preprocess_image(training_inputs())
        features = model.backbone(images.tensor)
        sampled = [SimpleNamespace(proposal_boxes=Boxes(torch.zeros(0, 4)))] * 2
        model._teaching_losses(training_inputs(), images, features, sampled)
    assert given == [model.target_offsets(2)]
    assert super_resolved(name, "naive").target_offsets(2)[layer] == 0.5
    assert super_resolved(name, aligned=False).target_offsets(2) is None


def test_more_regions_than_boxes_are_an_error():
    rules = super_resolution("faster_rcnn_c4", ratios=(2, 4))
    features = {"res2": torch.zeros(1, 12, 8, 8)}
    with pytest.raises(ValueError, match="base features of 3 regions for 1 boxes"):
        rules(torch.zeros(3, 20, 4, 4), features, [Boxes(torch.ones(1, 4))])
