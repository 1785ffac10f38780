from __future__ import annotations

import copy
import pickle
from bisect import bisect_left

from lowres_d2.modeling.backbone import (
    AtrousTwin,
    MobileNetV1,
    MobileNetV2,
    SmallResNet,
    add_atrous_rule,
)

import pytest
import torch
import torch.nn.functional as F
from detectron2.layers import Conv2d
from detectron2.modeling.backbone.fpn import FPN, LastLevelMaxPool, LastLevelP6P7
from detectron2.modeling.backbone.resnet import (
    BasicBlock,
    BasicStem,
    BottleneckBlock,
    DeformBottleneckBlock,
    ResNet,
)
from torch import nn
from torchvision.models import mobilenet_v3_small, resnet
from torchvision.models.feature_extraction import create_feature_extractor

LEVELS = ["res2", "res3", "res4", "res5"]


def resnet50(norm="BN", out_features=("res2", "res4"), **kwargs):
    """Kernels and strides of ResNet-50 in a few channels."""
    stages = [
        ResNet.make_stage(
            BottleneckBlock,
            depth,
            in_channels=before,
            out_channels=after,
            bottleneck_channels=4,
            stride_per_block=[stride] + [1] * (depth - 1),
            norm=norm,
            **kwargs,
        )
        for depth, before, after, stride in zip(
            (3, 4, 6, 3), (4, 8, 12, 16), (8, 12, 16, 20), (1, 2, 2, 2), strict=True
        )
    ]
    return ResNet(BasicStem(3, 4, norm), stages, out_features=out_features)


def small(**kwargs):
    return SmallResNet(channels=(4, 6, 8, 10, 12), **kwargs)


def fpn(top_block):
    return FPN(small(), LEVELS, 4, top_block=top_block)


def traced(network, *nodes):
    return create_feature_extractor(network, {node: f"map{k}" for k, node in enumerate(nodes)})


BACKBONES = {
    "resnet50, stride in the 1x1": lambda: resnet50(stride_in_1x1=True),
    "resnet50, stride in the 3x3": lambda: resnet50(out_features=LEVELS),
    "small": small,
    "small, stem keeps the size": lambda: small(stem_stride=1),
    "fpn": lambda: fpn(LastLevelMaxPool()),
    "fpn of retinanet": lambda: fpn(LastLevelP6P7(12, 4)),
    "small, deep stem": lambda: small(stem_stride=4, stem_middle=3),
    "mobilenet": lambda: MobileNetV1(LEVELS),
    "mobilenet, frozen": lambda: MobileNetV1(LEVELS, norm="FrozenBN"),
    "mobilenet v2": lambda: MobileNetV2(LEVELS, width_mult=0.1),
    "mobilenet v3": lambda: traced(mobilenet_v3_small(width_mult=0.25), "features.3", "features.8"),
    "resnet of torchvision": lambda: traced(
        resnet.ResNet(resnet.BasicBlock, [1, 1, 1, 1]), "layer1", "layer3"
    ),
}


class Owner(nn.Module):
    def __init__(self, backbone, ratio=2):
        super().__init__()
        self.backbone = backbone
        self.twin = AtrousTwin(backbone, ratio)


def image(height=40, width=56):
    return torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(0))


def moved_statistics(network):
    """Gives batch norms statistics as after some training."""
    generator = torch.Generator().manual_seed(1)
    for name, buffer in network.named_buffers():
        if name.endswith(("running_mean", "running_var")):
            buffer.copy_(0.5 + torch.rand(buffer.shape, generator=generator))
    return network


def equal(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


@pytest.mark.parametrize("ratio", [2, 3, 4])
@pytest.mark.parametrize("make", BACKBONES.values(), ids=BACKBONES)
def test_feature_maps_have_the_backbones_names_and_sizes(make, ratio):
    network = make().eval()
    twin = AtrousTwin(network, ratio)
    # A pyramid takes multiples of its coarsest stride only.
    odd_and_even = zip(range(33, 52, 3), range(70, 51, -3), strict=True)
    sizes = [(32, 96), (64, 32)] if isinstance(network, FPN) else odd_and_even
    for size in sizes:
        with torch.no_grad():
            maps = network(image(*size))
        of_twin = twin(image(*size))
        assert {n: m.shape for n, m in of_twin.items()} == {n: m.shape for n, m in maps.items()}
        assert not any(torch.equal(of_twin[name], maps[name]) for name in maps)


@pytest.mark.parametrize("make", BACKBONES.values(), ids=BACKBONES)
def test_the_backbone_is_not_modified(make):
    network = make().eval()
    size = (64, 96)
    before, keys = network(image(*size)), list(network.state_dict())
    owner = Owner(network)
    owner.twin(image(*size))
    assert equal(network(image(*size)), before)
    assert list(owner.state_dict()) == [f"backbone.{key}" for key in keys]


def lit_columns(network, name, width):
    """First and last column of pixels that reach the middle cell; all weights are >= 0."""

    def reached(columns):
        light = torch.zeros(1, 3, 16, width, dtype=torch.float64)
        light[..., columns] = 1e200
        with torch.no_grad():
            features = network(light)[name]
        return bool(features[..., features.shape[-1] // 2].sum() > 0)

    first = bisect_left(range(width), True, key=lambda k: reached(slice(0, k + 1)))
    last = bisect_left(range(width), True, key=lambda k: not reached(slice(k + 1, width)))
    return first, last


@pytest.mark.parametrize(
    "stride_in_1x1, field, of_twins",
    [
        # The field is doubled or quadrupled; the stem's pooling adds a pixel.
        (True, 1 + 290, {2: 1 + 290 * 2 + 1, 4: 1 + 290 * 4 + 1}),
        # Poolings in the first block of res3 and res4 add the strides of their inputs, 4 and 8.
        (False, 1 + 266, {2: 1 + 266 * 2 + 1 + 4 + 8, 4: 1 + 266 * 4 + 1 + 4 + 8}),
    ],
    ids=["1x1", "3x3"],
)
def test_receptive_field_of_resnet50_is_doubled_or_quadrupled(stride_in_1x1, field, of_twins):
    network = resnet50(norm="", stride_in_1x1=stride_in_1x1, out_features=["res4"]).double()
    for parameter in network.parameters():
        nn.init.constant_(parameter, 1 / parameter[0].numel() if parameter.dim() == 4 else 0)
    first, last = lit_columns(network, "res4", 1536)
    assert last - first + 1 == field
    for ratio, of_twin in of_twins.items():
        twin_first, twin_last = lit_columns(AtrousTwin(network, ratio), "res4", 1536)
        assert twin_last - twin_first + 1 == of_twin
        # Around the same centre, but each pooling takes a cell and its right neighbour.
        assert 0 <= (twin_first + twin_last) - (first + last) < 2 * 16


@pytest.mark.parametrize("ratio", [2, 4])
def test_a_stage_is_that_of_the_paper(ratio):
    torch.manual_seed(0)
    block = BasicBlock(3, 5, stride=2, norm="BN")
    network = moved_statistics(ResNet(SmallResNet().stem, [[block]], out_features=["res2"])).eval()
    network.stem = nn.Sequential()
    nn.init.uniform_(block.conv1.norm.weight, -1, 1)  # a negative scale tells max before from after
    x = image(9, 12)
    with torch.no_grad():
        conv1 = F.conv2d(x, block.conv1.weight, padding=ratio, dilation=ratio)
        pooled = F.max_pool2d(F.pad(conv1, (0, 0, 0, 1), value=-torch.inf), 2)
        hidden = block.conv1.norm(pooled).relu()
        conv2 = F.conv2d(hidden, block.conv2.weight, padding=ratio, dilation=ratio)
        shortcut = block.shortcut.norm(F.conv2d(x, block.shortcut.weight, stride=2))
        expected = (block.conv2.norm(conv2) + shortcut).relu()
    torch.testing.assert_close(AtrousTwin(network, ratio)(x)["res2"], expected)


@pytest.mark.parametrize(
    "layer, ratio, expected",
    [
        (nn.MaxPool2d(3, 2, 1), 2, lambda x: F.max_pool2d(x, 5, 2, 2)),
        (nn.MaxPool2d(3, 2, 1), 4, lambda x: F.max_pool2d(x, 9, 2, 4)),
        (nn.MaxPool2d(2), 2, lambda x: F.max_pool2d(x, 4, 2, 1)),
        (nn.MaxPool2d(2), 4, lambda x: F.max_pool2d(x, 8, 2, 3)),
        (nn.MaxPool2d(1, 2), 4, lambda x: x[..., ::2, ::2]),
        (nn.Conv2d(3, 3, 1, 2), 4, None),
    ],
)
@pytest.mark.parametrize("size", [7, 8])
def test_poolings_are_widened_and_kernels_of_one_cell_are_kept(layer, ratio, expected, size):
    x = image(size, size)
    with torch.no_grad():
        torch.testing.assert_close(AtrousTwin(layer, ratio)(x), (expected or layer)(x))


@pytest.mark.parametrize("ratio", [2, 4])
def test_pooling_in_detectron2s_stem_is_widened(ratio):
    stem = BasicStem(3, 4).eval()
    x, k = image(), ratio
    with torch.no_grad():
        conv = F.conv2d(x, stem.conv1.weight, padding=3 * k, dilation=k)
        expected = F.max_pool2d(stem.conv1.norm(F.max_pool2d(conv, 2)).relu(), 2 * k + 1, 2, k)
    torch.testing.assert_close(AtrousTwin(stem, ratio)(x), expected)
    assert type(stem) is BasicStem and not hasattr(stem, "atrous_ratio")


@pytest.mark.parametrize("ratio", [1, 0, 2.5, 2.0])
def test_a_ratio_is_an_integer_from_2_up(ratio):
    with pytest.raises(ValueError, match=rf"^ratio={ratio}: .* from 2 up$"):
        AtrousTwin(small(), ratio)


def test_changes_of_the_backbone_take_effect_in_the_twin():
    owner = Owner(moved_statistics(small()))
    x = image()

    def follows():
        """Whether the twin's output is that of a new twin of a copy."""
        fresh = AtrousTwin(copy.deepcopy(owner.backbone))
        return equal(owner.twin(x), fresh(x))

    before = owner.twin(x)
    owner.load_state_dict(small_state(seed=3))
    assert follows() and not equal(owner.twin(x), before)
    optimizer = torch.optim.SGD(owner.parameters(), 0.1)
    sum(m.square().mean() for m in owner.train().backbone(x).values()).backward()
    before = owner.twin(x)
    optimizer.step()
    assert follows() and not equal(owner.twin(x), before)
    owner.backbone.stem.conv1.norm.running_var = torch.full((4,), 7.0)
    assert follows()
    owner.backbone.freeze(3)  # replaces norms
    moved_statistics(owner.backbone)
    assert follows()
    x = x.double()
    owner.double()
    assert follows() and owner.twin(x)["res2"].dtype == torch.float64


def small_state(seed):
    torch.manual_seed(seed)
    return {f"backbone.{key}": value for key, value in small().state_dict().items()}


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda owner: pickle.loads(pickle.dumps(owner))])
def test_the_twin_in_a_copy_belongs_to_the_copied_backbone(copied):
    owner = Owner(moved_statistics(small()), ratio=4).eval()
    before = owner.twin(image())
    other = copied(owner)
    assert other.twin.ratio == 4
    assert equal(other.twin(image()), before)
    with torch.no_grad():
        other.backbone.stem.conv1.weight.mul_(-1)
    assert equal(owner.twin(image()), before)
    assert not equal(other.twin(image()), before)
    for one in (owner, other):
        tensors = [*one.backbone.parameters(), *one.backbone.buffers()]
        of_twin = [*one.twin.network.parameters(), *one.twin.network.buffers()]
        assert [t.data_ptr() for t in of_twin] == [t.data_ptr() for t in tensors]
        assert all(p is q for p, q in zip(of_twin, tensors, strict=True))


def test_it_has_no_gradients_and_updates_no_statistics():
    network = moved_statistics(small()).eval()
    twin = AtrousTwin(network)
    in_eval_mode = twin(image())
    network.train()
    before = copy.deepcopy(network.state_dict())
    features = twin(image())
    assert equal(features, in_eval_mode)
    assert equal(network.state_dict(), before)
    assert not any(m.requires_grad for m in features.values())
    assert all(module.training for module in network.modules())


def test_hooks_of_the_backbone_are_not_called_by_the_twin():
    network, calls = small(), []
    network.res3.register_forward_hook(lambda *_: calls.append("res3"))
    AtrousTwin(network)(image())
    assert calls == []


class Unknown(nn.Module):
    def forward(self, x):
        return F.avg_pool2d(x, 3)


class Changed(BasicBlock):
    def forward(self, x):
        return F.max_pool2d(super().forward(x), 3, 1, 1)


@pytest.mark.parametrize(
    "network, message",
    [
        (
            ResNet(
                BasicStem(3, 4),
                [[DeformBottleneckBlock(4, 8, bottleneck_channels=4)]],
                out_features=["res2"],
            ),
            r"^res2\.0 \(DeformBottleneckBlock\) has no rule for atrous twins.*\.add_atrous_rule$",
        ),
        (nn.Sequential(nn.Identity(), Unknown()), r"^1 \(Unknown\) has no rule for atrous twins"),
        (nn.Sequential(Changed(3, 4)), r"^0 \(Changed\) has no rule for atrous twins"),
        (Unknown(), r"^the backbone \(Unknown\)"),
        (
            nn.Sequential(nn.Conv2d(3, 4, 4, 4)),
            r"^0 \(Conv2d\) cannot .* kernel_size=\(4, 4\).* odd",
        ),
        (nn.Sequential(Conv2d(3, 4, 3)), r"padding=\(0, 0\): expected an odd kernel, and half"),
        (nn.Sequential(nn.Conv2d(3, 4, 3, 3, 1)), r"stride=\(3, 3\): expected 1 or 2"),
        (nn.Sequential(nn.Conv2d(3, 4, 3, padding="same")), "padding='same'"),
        (nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect")), "'reflect'"),
        (nn.Sequential(nn.MaxPool2d((3, 1))), r"kernel_size=\(3, 1\): expected the same"),
        (nn.Sequential(nn.MaxPool2d(3, dilation=2)), "dilation=2: expected 1"),
        (nn.Sequential(nn.AdaptiveAvgPool2d(7)), "output_size=7: expected 1"),
        (
            torch.fx.symbolic_trace(Unknown()),
            "its call of avg_pool2d .* is not known to be cellwise",
        ),
    ],
)
def test_blocks_that_cannot_be_transformed_are_named(network, message):
    with pytest.raises(ValueError, match=message):
        AtrousTwin(network)


def test_a_rule_registers_a_class():
    class Scaled(nn.Module):
        def forward(self, x):
            return 2 * x

    network = nn.Sequential(Scaled())
    with pytest.raises(ValueError, match=r"^0 \(Scaled\)"):
        AtrousTwin(network)
    add_atrous_rule(Scaled)
    torch.testing.assert_close(AtrousTwin(network)(image()), 2 * image())


def test_a_rule_gets_the_ratio():
    class Centred(nn.Module):
        reach = 1

        def forward(self, x):
            return x - F.avg_pool2d(x, 2 * self.reach + 1, 1, self.reach)

    add_atrous_rule(Centred, lambda module, ratio: setattr(module, "reach", ratio * module.reach))
    x = image()
    expected = x - F.avg_pool2d(x, 9, 1, 4)
    torch.testing.assert_close(AtrousTwin(nn.Sequential(Centred()), 4)(x), expected)
