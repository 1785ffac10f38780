"""Bottom-heavy ResNets: costs of Table 4, the search, and what a twin is made of."""

from __future__ import annotations

import logging

import lowres_d2
from lowres_d2.analysis.cost.complexity import counted
from lowres_d2.analysis.cost.counting_rules import MACS, MMCV
from lowres_d2.layers.one_bit import BinaryWeights
from lowres_d2.modeling.backbone import (
    AtrousTwin,
    BottomHeavyStem,
    PReLUStem,
    ShortcutBlock,
    SmallResNet,
    SmallShortcutResNet,
    bottom_heavy,
)
from lowres_d2.modeling.backbone.cell_offsets import cell_offsets
from lowres_d2.modeling.meta_arch import ImageClassifier
from lowres_d2.modeling.one_bit import AS_WRITTEN, binarized
from lowres_d2.modeling.without_values import without_values

import pytest
import torch
from detectron2.config import LazyConfig, instantiate
from detectron2.layers import FrozenBatchNorm2d
from detectron2.modeling.backbone.resnet import (
    BasicStem,
    BottleneckBlock,
    DeformBottleneckBlock,
    ResNet,
)
from torch import nn

STAGES = ["res2", "res3", "res4", "res5"]
STRIDES = {name: 4 * 2**k for k, name in enumerate(STAGES)}
CONFIG = LazyConfig.load("configs/common/models/bottom_heavy.py")


def resnet(depth, **kwargs):
    stages = ResNet.make_default_stages(depth, norm="BN", **kwargs)
    return ResNet(BasicStem(norm="BN"), stages, out_features=STAGES)


def narrow_resnet(block=BottleneckBlock, depths=(2, 2, 4, 2), norm="BN", **kwargs):
    """Stages like ResNet-50's, of few channels."""
    channels = (16, 32, 64, 128, 256)
    if block in (BottleneckBlock, DeformBottleneckBlock):
        kwargs |= {"bottleneck_channels": 16}
    stages = [
        ResNet.make_stage(
            block, depth, in_channels=a, out_channels=b, norm=norm, **kwargs,
            stride_per_block=[s] + [1] * (depth - 1),
        )
        for depth, a, b, s in zip(depths, channels, channels[1:], (1, 2, 2, 2), strict=False)
    ]  # fmt: skip
    return ResNet(BasicStem(3, 16, norm), stages, out_features=STAGES)


def shortcut_resnet18():
    """The network of 1-bit detectors."""
    stages = ResNet.make_default_stages(18, block_class=ShortcutBlock, norm="BN")
    return ResNet(PReLUStem(), stages, out_features=STAGES)


def blocks_of(network):
    return [len(getattr(network, name)) for name in network.stage_names]


def cost(network, rule=MACS):
    network = network.to("meta").eval()
    with counted(rule) as count:
        network(torch.empty(1, 3, 512, 640, device="meta"))
    return count()


def numbers(network, of=lambda name, module: True):
    modules = [(name, m) for name, m in network.named_modules() if of(name, m)]
    return sum(p.numel() for _, m in modules for p in m.parameters(recurse=False))


def no_norm(name, module):
    return not isinstance(module, nn.BatchNorm2d)


@pytest.mark.parametrize(
    ("name", "giga", "millions", "counted_part", "of_part"),
    [
        # The standard twin's 23.23 M are without stem, stage 1 and BN.
        (
            "resnet50", 26.91, 23.508, 23.233,
            lambda name, m: no_norm(name, m) and not name.startswith(("stem", "res2")),
        ),
        ("bh_resnet50", 27.12, 10.948, 10.913, no_norm),
    ],
)  # fmt: skip
def test_table_4_has_their_costs(name, giga, millions, counted_part, of_part):
    with without_values():
        network = instantiate(CONFIG[name])
    assert numbers(network) / 1e6 == pytest.approx(millions, rel=0.001)
    assert numbers(network, of_part) / 1e6 == pytest.approx(counted_part, rel=0.001)
    assert cost(network, MMCV) / 1e9 == pytest.approx(giga, rel=0.001)


def test_bh_resnet50_is_built_as_table_4_says():
    with without_values():
        network = instantiate(CONFIG.bh_resnet50)
    assert blocks_of(network) == [7, 6, 2, 1]
    conv = network.stem.conv1
    assert (conv.kernel_size, conv.stride, conv.out_channels) == ((3, 3), (1, 1), 64)
    assert network.stem.stride == 2
    for name in STAGES:
        first, *others = getattr(network, name)
        assert (first.conv1.stride, first.conv2.stride) == ((1, 1), (2, 2))
        assert first.shortcut.stride == (2, 2)
        assert all(block.conv2.stride == (1, 1) and block.shortcut is None for block in others)
    shapes = network.output_shape()
    assert {n: s.stride for n, s in shapes.items()} == STRIDES
    assert [s.channels for s in shapes.values()] == [256, 512, 1024, 2048]


def test_the_search_finds_the_papers_blocks_and_says_the_macs(caplog):
    with without_values():
        before = resnet(50)
    with caplog.at_level(logging.INFO):
        after = bottom_heavy(before)
    assert blocks_of(after) == [7, 6, 2, 1] and blocks_of(before) == [3, 4, 6, 3]
    macs = [cost(network) / 1e9 for network in (before, after)]
    said = caplog.messages[-1]
    assert "3-4-6-3 -> 7-6-2-1" in said
    assert f"{macs[0]:.3f} G -> {macs[1]:.3f} G (+0.2 %) on 512x640" in said


@pytest.mark.parametrize("depth", [18, 101])
def test_any_depth_has_a_twin_of_equal_macs_and_fewer_parameters(depth):
    with without_values():
        before = resnet(depth)
        after = bottom_heavy(before)
    blocks = blocks_of(after)
    assert blocks == sorted(blocks, reverse=True)
    assert blocks_of(bottom_heavy(before)) == blocks
    assert {n: s.stride for n, s in after.output_shape().items()} == STRIDES
    assert numbers(after) < 0.65 * numbers(before)
    assert cost(after) == pytest.approx(cost(before), rel=0.02)


@pytest.mark.parametrize(
    ("shares", "blocks"),
    [
        # ResNet-50's blocks cost the same in each stage, but for the first ones.
        ([1, 0, 0, 0], [13, 1, 1, 1]),
        ([0.5, 0.5, 0, 0], [7, 7, 1, 1]),
        ([1, 1, 1, 1], [4, 4, 4, 4]),
    ],
)
def test_blocks_follow_the_shares_that_are_asked_for(shares, blocks):
    with without_values():
        assert blocks_of(bottom_heavy(resnet(50), shares=shares)) == blocks


def test_the_small_twins_have_equal_macs():
    with without_values():
        small, twin = instantiate(CONFIG.small), instantiate(CONFIG.bh_small)
        assert blocks_of(bottom_heavy(small)) == blocks_of(twin) == [3, 2, 1, 1]
    assert small.output_shape() == twin.output_shape()
    assert cost(twin) == pytest.approx(cost(small), rel=0.02)
    assert numbers(twin) < 0.5 * numbers(small)


BLOCKS = ["basic", "bottleneck", "shortcuts", "small shortcuts"]
if lowres_d2.detectron2_provider() == "bundled":  # upstream's deformable layers need a GPU
    BLOCKS.append("deformable")


@pytest.mark.parametrize("block", BLOCKS)
def test_blocks_of_any_kind_move(block):
    torch.manual_seed(0)
    kinds = {
        "basic": lambda: resnet(18),
        "bottleneck": lambda: narrow_resnet(stride_in_1x1=True),
        "deformable": lambda: narrow_resnet(DeformBottleneckBlock, deform_modulated=True),
        "shortcuts": lambda: shortcut_resnet18(),
        "small shortcuts": lambda: SmallShortcutResNet(depths=(2, 2, 3, 2)),
    }
    after = bottom_heavy(kinds[block](), [3, 2, 1, 1])
    x = torch.rand(1, 3, 64, 96)
    found = after(x)
    assert {n: tuple(f.shape[2:]) for n, f in found.items()} == {
        n: (64 // s, 96 // s) for n, s in STRIDES.items()
    }
    sum(f.sum() for f in found.values()).backward()
    weights = [b.conv1.weight for b in list(after.res2)[1:]]
    assert all(p.grad is not None for p in after.parameters())
    assert not torch.equal(*weights)
    spread = [float(w.detach().std()) for w in weights]
    assert spread == pytest.approx([(2 / weights[0][:, 0].numel()) ** 0.5] * 2, rel=0.2)


def test_a_twin_without_a_later_stem_keeps_the_stem():
    torch.manual_seed(0)
    before = narrow_resnet()
    after = bottom_heavy(before, [4, 3, 2, 1], late=False)
    assert torch.equal(after.stem.conv1.weight, before.stem.conv1.weight)
    assert isinstance(after.stem, BasicStem) and after.res2[0].stride == 1
    assert {n: s.stride for n, s in after.output_shape().items()} == STRIDES


def test_norms_and_frozen_parts_are_the_standard_twins():
    before = narrow_resnet().freeze(2)
    after = bottom_heavy(before, [4, 3, 2, 1])
    frozen = {n.split(".")[0] for n, p in after.named_parameters() if not p.requires_grad}
    assert frozen == {"stem", "res2"}
    for name, module in after.named_modules():
        if name.endswith("norm"):
            kind = FrozenBatchNorm2d if name.startswith(("stem", "res2")) else nn.BatchNorm2d
            assert isinstance(module, kind)
    assert all(p.requires_grad for p in narrow_resnet().parameters())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"blocks": [4, 3, 2]}, "expected 4 positive numbers"),
        ({"blocks": [4, 3, 2, 0]}, "expected 4 positive numbers"),
        ({"shares": [1, 2]}, "expected 4 numbers"),
        ({"tolerance": 1e-9}, "raise tolerance"),
    ],
)
def test_what_does_not_fit_is_refused(arguments, words):
    with pytest.raises(ValueError, match=f"bottom_heavy: .*{words}"):
        bottom_heavy(narrow_resnet(), **arguments)


def test_a_network_without_a_later_stem_is_refused():
    with pytest.raises(ValueError, match="SmallStem of stride 1 has no later form: late=False"):
        bottom_heavy(SmallResNet(stem_stride=1))
    with pytest.raises(ValueError, match="cannot take over the stem's: late=False"):
        bottom_heavy(SmallResNet(stem_stride=4, stem_middle=8))


def test_it_has_an_atrous_twin_and_cells_where_convolutions_put_them():
    torch.manual_seed(0)
    network = bottom_heavy(SmallResNet((4, 6, 8, 10, 12), (2, 2, 3, 2)), [2, 2, 1, 1]).eval()
    assert isinstance(network.stem, BottomHeavyStem)
    assert cell_offsets(network) == dict.fromkeys(STAGES, 0.5)
    x = torch.rand(1, 3, 64, 96)
    found, wide = network(x), AtrousTwin(network)(x)
    assert {n: f.shape for n, f in found.items()} == {n: f.shape for n, f in wide.items()}


def test_a_one_bit_detector_can_be_bottom_heavy():
    torch.manual_seed(0)
    twin = bottom_heavy(SmallShortcutResNet((4, 6, 8, 10, 12), (2, 2, 3, 2)), [3, 2, 1, 1])
    assert (twin.stem.stride, twin.stem.conv1.stride) == (2, (1, 1))
    model = ImageClassifier(twin, 3, pixel_mean=[110.0] * 3, pixel_std=[50.0] * 3, feature="res5")
    network = binarized(detector=model, real_layers=list(AS_WRITTEN)).train()
    bits = {n for n, layer in network.named_modules() if isinstance(layer, BinaryWeights)}
    assert {f"backbone.res2.{k}.conv1" for k in range(3)} <= bits
    images = [{"image": torch.rand(3, 64, 64) * 255, "label": k} for k in range(2)]
    loss = network(images)["loss_cls"]
    loss.backward()
    assert torch.isfinite(loss)
    assert all(network.get_submodule(name).weight.grad is not None for name in bits)
