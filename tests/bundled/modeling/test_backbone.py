"""ResNet and FPN against torchvision's, and their names, strides and frozen parameters."""

from __future__ import annotations

import copy

import lowres_d2

import pytest
import torch
import torchvision
from detectron2.layers import FrozenBatchNorm2d, ShapeSpec
from detectron2.modeling.backbone import (
    FPN,
    Backbone,
    BasicStem,
    BottleneckBlock,
    ResNet,
    SwinTransformer,
    build_backbone,
    make_stage,
)
from detectron2.modeling.backbone.fpn import LastLevelMaxPool, LastLevelP6P7
from detectron2.modeling.backbone.resnet import BasicBlock, DeformBottleneckBlock
from torch import nn

BUNDLED = lowres_d2.detectron2_provider() == "bundled"
only_bundled = pytest.mark.skipif(not BUNDLED, reason="upstream refuses otherwise, or not at all")


def resnet(depth: int = 18, norm: str = "FrozenBN", **kwargs) -> ResNet:
    return ResNet(BasicStem(norm=norm), ResNet.make_default_stages(depth, norm=norm), **kwargs)


def randomize(model: nn.Module) -> nn.Module:
    """Random weights and statistics, near 1 for scales so that depth keeps the signal."""
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point():
            if tensor.dim() == 1:
                scale = name.endswith(("weight", "running_var"))
                tensor.uniform_(0.8, 1.2) if scale else tensor.normal_(std=0.1)
            else:
                tensor.normal_(std=tensor[0].numel() ** -0.5)
    return model.eval()


def detectron2_name(name: str) -> str:
    """Name in Detectron2 of a parameter of torchvision's ResNet."""
    if name.startswith("fc."):
        return name.replace("fc", "linear")
    parts = name.split(".")
    if name.startswith("layer"):
        prefix = [f"res{int(parts[0][5:]) + 1}", parts[1]]
        parts = parts[2:]
    else:
        prefix = ["stem"]
    if parts[0] == "downsample":
        parts = ["shortcut", *(["norm"] if parts[1] == "1" else []), *parts[2:]]
    elif parts[0].startswith("bn"):
        parts = [f"conv{parts[0][2:]}", "norm", *parts[1:]]
    return ".".join(prefix + parts)


@pytest.mark.parametrize("depth", [18, 50])
@torch.no_grad()
def test_resnet_computes_what_torchvision_does(depth):
    torch.manual_seed(0)
    reference = randomize(torchvision.models.get_model(f"resnet{depth}", num_classes=5))
    ours = resnet(depth, "BN", num_classes=5, out_features=None).eval()
    ours.load_state_dict({detectron2_name(k): v for k, v in reference.state_dict().items()})
    x = torch.randn(2, 3, 65, 50)
    torch.testing.assert_close(ours(x)["linear"], reference(x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("depth, channels", [(18, (64, 64, 128, 256, 512)), (50, None)])
def test_feature_maps_have_the_channels_and_strides_of_output_shape(depth, channels):
    names = ["stem", "res2", "res3", "res4", "res5"]
    model = resnet(depth, out_features=names)
    maps, shapes = model(torch.rand(1, 3, 64, 96)), model.output_shape()
    assert list(maps) == list(shapes) == names
    assert [shapes[n].stride for n in names] == [4, 4, 8, 16, 32]
    assert [shapes[n].channels for n in names] == list(channels or (64, 256, 512, 1024, 2048))
    for name, shape in shapes.items():
        assert maps[name].shape[1:] == (shape.channels, 64 // shape.stride, 96 // shape.stride)


@pytest.mark.parametrize("in_1x1", [False, True])
def test_the_stride_sits_where_it_is_asked_for(in_1x1):
    block = BottleneckBlock(8, 16, bottleneck_channels=4, stride=2, stride_in_1x1=in_1x1)
    assert (block.conv1.stride[0], block.conv2.stride[0]) == ((2, 1) if in_1x1 else (1, 2))
    assert block(torch.rand(1, 8, 6, 6)).shape == (1, 16, 3, 3)


def test_stages_that_no_output_needs_are_not_built():
    model = resnet(out_features=["res3"])
    assert hasattr(model, "res3") and not hasattr(model, "res4")
    assert list(model(torch.rand(1, 3, 32, 32))) == ["res3"]


@pytest.mark.parametrize("freeze_at", [0, 1, 3])
def test_freezing_stops_gradients_and_statistics_of_the_first_parts(freeze_at):
    model = resnet(norm="BN", out_features=["res5"], freeze_at=freeze_at).train()
    parts = ["stem", "res2", "res3", "res4", "res5"]
    for index, part in enumerate(parts):
        module, frozen = getattr(model, part), index < freeze_at
        assert all(p.requires_grad != frozen for p in module.parameters())
        norms = [m for m in module.modules() if "BatchNorm" in type(m).__name__]
        assert norms and all(isinstance(m, FrozenBatchNorm2d) == frozen for m in norms)


def test_arguments_per_block_reach_their_block():
    blocks = make_stage(
        BottleneckBlock,
        3,
        in_channels=8,
        out_channels=16,
        bottleneck_channels=4,
        stride_per_block=[2, 1, 1],
        dilation_per_block=[1, 2, 4],
    )
    assert [b.stride for b in blocks] == [2, 1, 1]
    assert [b.conv2.dilation[0] for b in blocks] == [1, 2, 4]
    assert [b.in_channels for b in blocks] == [8, 16, 16]


@pytest.mark.parametrize("modulated", [False, pytest.param(True, marks=only_bundled)])
@torch.no_grad()
def test_a_deformable_block_starts_as_an_ordinary_one(modulated):
    shape = dict(in_channels=8, out_channels=16, bottleneck_channels=4, stride=2, norm="")
    deformable = DeformBottleneckBlock(**shape, deform_modulated=modulated)
    plain = BottleneckBlock(**shape)
    plain.load_state_dict(deformable.state_dict(), strict=False)
    # Zero logits give every sample the weight 1/2.
    plain.conv2.weight *= 0.5 if modulated else 1.0
    x = torch.randn(2, 8, 9, 7)
    torch.testing.assert_close(deformable(x), plain(x))


class Maps(Backbone):
    """A backbone that returns what it was made with."""

    def __init__(self, maps: dict[str, torch.Tensor], image_size: int):
        super().__init__()
        self.maps = maps
        self.shapes = {
            name: ShapeSpec(channels=m.shape[1], stride=image_size // m.shape[-1])
            for name, m in maps.items()
        }

    def forward(self, x):
        return self.maps

    def output_shape(self):
        return self.shapes


def pyramid_input() -> dict[str, torch.Tensor]:
    return {f"res{k}": torch.randn(2, 2 * k, 64 // 2**k, 64 // 2**k) for k in (3, 4, 5)}


@torch.no_grad()
def test_fpn_computes_what_torchvision_does():
    torch.manual_seed(0)
    maps = pyramid_input()
    ours = FPN(Maps(maps, 64), list(maps), 8, top_block=LastLevelP6P7(8, 8, "p5"))
    top = torchvision.ops.feature_pyramid_network.LastLevelP6P7(8, 8)
    reference = torchvision.ops.FeaturePyramidNetwork([6, 8, 10], 8, top)
    names = {"top_block": "extra_blocks"}
    for index, level in enumerate((3, 4, 5)):
        names[f"fpn_lateral{level}"] = f"inner_blocks.{index}.0"
        names[f"fpn_output{level}"] = f"layer_blocks.{index}.0"
    state = {}
    for key, value in ours.state_dict().items():
        part, rest = key.split(".", 1)
        state[f"{names[part]}.{rest}"] = value
    reference.load_state_dict(state)
    got, expected = ours(torch.zeros(2, 3, 64, 64)), list(reference(maps).values())
    assert list(got) == ["p3", "p4", "p5", "p6", "p7"]
    for level, other in zip(got.values(), expected, strict=True):
        torch.testing.assert_close(level, other)


@torch.no_grad()
def test_average_fusion_halves_the_sum_at_each_level():
    maps = {"a": torch.ones(1, 1, 8, 8), "b": 3 * torch.ones(1, 1, 4, 4)}
    model = FPN(Maps(maps, 32), ["a", "b"], 1, fuse_type="avg")
    for name, layer in model.named_children():
        if name.startswith("fpn"):
            nn.init.dirac_(layer.weight)
    got = model(torch.zeros(1, 3, 32, 32))
    assert (got["p2"] == 2).all() and (got["p3"] == 3).all()


def test_fpn_names_channels_and_strides():
    maps = pyramid_input()
    model = FPN(Maps(maps, 64), list(maps), 32, norm="GN", square_pad=96)
    assert model.size_divisibility == 32
    assert model.padding_constraints["square_size"] == 96
    assert {k: (v.channels, v.stride) for k, v in model.output_shape().items()} == {
        "p3": (32, 8),
        "p4": (32, 16),
        "p5": (32, 32),
    }
    assert model.fpn_lateral3.bias is None and model.fpn_lateral3.norm is not None


@only_bundled
@pytest.mark.parametrize("listed", ["lateral_convs", "output_convs"])
def test_layers_of_the_pyramid_are_replaced_in_their_list_or_by_name(listed):
    maps = pyramid_input()
    model = FPN(Maps(maps, 64), list(maps), 32)
    part = f"fpn_{listed.removesuffix('_convs')}"
    names = [name for name, _ in model.named_parameters()]
    layers, image = getattr(model, listed), torch.zeros(2, 3, 64, 64)
    assert layers == [getattr(model, f"{part}{k}") for k in (5, 4, 3)]
    assert layers[1:] == list(layers)[1:] and len(layers) == 3
    before = model(image)
    new = copy.deepcopy(layers[0])
    nn.init.zeros_(new.weight)
    layers[0] = new
    assert getattr(model, f"{part}5") is new and getattr(model, listed)[0] is new
    assert not model(image)["p5"].equal(before["p5"])
    setattr(model, f"{part}4", new)
    assert getattr(model, listed)[1] is new
    for kind in (list, nn.ModuleList):
        setattr(model, listed, kind(copy.deepcopy(new) for _ in range(3)))
        assert [name for name, _ in model.named_parameters()] == names
        assert not getattr(model, f"{part}3").weight.any() and getattr(model, listed)[2] is not new
    with pytest.raises(ValueError, match=r"expected 3 modules \(fpn_.*5, .*\), got 1"):
        setattr(model, listed, [new])


@only_bundled
def test_stages_are_replaced_in_their_list_or_by_name_or_left_out():
    model = resnet(out_features=["res2", "res3", "res4", "res5"]).eval()
    names = [name for name, _ in model.named_parameters()]
    assert [*model.stages] == [model.res2, model.res3, model.res4, model.res5]
    image = torch.rand(1, 3, 32, 32)
    third = model(image)["res3"]
    model.stages[1] = nn.Sequential(*model.res3, nn.Threshold(1e9, 7.0))
    assert model.res3 is model.stages[1] and (model(image)["res3"] == 7).all()
    model.res3 = model.res3[:-1]
    assert model(image)["res3"].equal(third)
    assert [name for name, _ in model.named_parameters()] == names
    model.stages = nn.ModuleList(model.stages[:2])
    assert model.stage_names == ("res2", "res3") and [*model(image)] == ["res2", "res3"]
    assert [name for name, _ in model.named_parameters()] == names


def test_the_max_pooled_level_is_every_second_cell():
    x = torch.randn(1, 2, 5, 6)
    (p6,) = LastLevelMaxPool()(x)
    assert torch.equal(p6, x[:, :, ::2, ::2])


@only_bundled
@pytest.mark.parametrize(
    "make, names",
    [
        (lambda: resnet(depth=20), "20"),
        (lambda: resnet(out_features=["res9"]), "res9"),
        (lambda: FPN(Maps(pyramid_input(), 64), ["res3", "res5"], 8), r"\[8, 32\]"),
        (lambda: FPN(Maps(pyramid_input(), 64), ["res3"], 8, fuse_type="max"), "max"),
        (
            lambda: make_stage(BasicBlock, 2, in_channels=1, out_channels=1, stride_per_block=[2]),
            "stride_per_block",
        ),
    ],
)
def test_a_wrong_argument_is_named(make, names):
    with pytest.raises(ValueError, match=names):
        make()


@only_bundled
@pytest.mark.parametrize("name", [SwinTransformer, build_backbone])
def test_uncovered_names_say_so_when_used(name):
    with pytest.raises(NotImplementedError, match="needs upstream Detectron2"):
        name()
