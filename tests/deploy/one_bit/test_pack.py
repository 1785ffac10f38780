"""Packed detectors against the 1-bit ones that they are made from."""

import lowres_d2  # noqa: F401
from lowres_d2.deploy.one_bit import PackedConv2d, PackedLinear, pack, supported_paths
from lowres_d2.deploy.one_bit.blocks import PackedStage, PackedTower
from lowres_d2.layers.one_bit import BinaryConv2d, BinaryLinear, ShiftedPReLU, ShiftedSign
from lowres_d2.modeling.backbone import ShortcutBlock, SmallShortcutResNet
from lowres_d2.modeling.one_bit import binarized

import pytest
import torch
from detectron2.layers import Conv2d, CycleBatchNormList, FrozenBatchNorm2d
from detectron2.modeling.meta_arch.fcos import FCOSHead
from torch import nn

from toys.detectors import CHANNELS, DETECTORS, NUM_CLASSES, _shapes

REACT = dict(quantizer="shifted_sign", activation="shifted_prelu")


def as_trained(module):
    """Biases, slopes, thresholds and statistics that are not those of a new network."""
    generator = torch.Generator().manual_seed(0)
    for each in module.modules():
        for x in each.parameters(recurse=False):
            if x.dim() == 1 or isinstance(each, BinaryConv2d | BinaryLinear):
                x.data += torch.empty_like(x).uniform_(-0.1, 0.1, generator=generator)
        if getattr(each, "running_var", None) is not None:
            each.running_mean.uniform_(-0.5, 0.5, generator=generator)
            each.running_var.uniform_(0.5, 2, generator=generator)
    return module.eval()


def toy(name, **options):
    torch.manual_seed(0)
    model = DETECTORS[name]()
    if name == "faster_rcnn_c4":
        names = ["res2", "res4"]
        model.backbone = SmallShortcutResNet((8, 12, 16, 20), (1, 1, 1), out_features=names)
        model.roi_heads.res5 = nn.Sequential(ShortcutBlock(20, 24, stride=2))
    else:
        model.backbone.bottom_up = SmallShortcutResNet((8, 12, 16, 20, 24), (2, 1, 1, 1))
    return as_trained(binarized(model, **options))


def fcos_with_norms(norm, **options):
    torch.manual_seed(0)
    model = DETECTORS["fcos"]()
    model.head = FCOSHead(
        input_shape=_shapes(), num_classes=NUM_CLASSES, conv_dims=[CHANNELS] * 3, norm=norm
    )
    model.backbone.bottom_up = SmallShortcutResNet((8, 12, 16, 20, 24))
    return as_trained(binarized(model, **options))


def images(number):
    generator = torch.Generator().manual_seed(1)
    sides = [(75, 90), (64, 51)]
    return [{"image": torch.rand(3, *side, generator=generator) * 255} for side in sides[:number]]


@torch.no_grad()
def assert_same_detections(model, same):
    for expected, found in zip(model(images(1)), same(images(1)), strict=True):
        rows = [
            torch.cat([x.pred_boxes.tensor, x.scores[:, None], x.pred_classes[:, None]], 1)
            for x in (expected["instances"], found["instances"])
        ]
        assert len(rows[0]) == len(rows[1]) > 0
        # Detections of equal scores may change places.
        apart = torch.cdist(*rows, p=torch.inf)
        assert apart.amin(0).max() <= 1e-4 and apart.amin(1).max() <= 1e-4


@torch.no_grad()
def assert_same_outputs(model, same):
    """Of the head, for each level: what detections are made from, without their thresholds."""
    found = []
    for each in (model, same):
        x = each.preprocess_image(images(2)).tensor
        features = each.backbone(x)
        found.append(each.head([features[name] for name in each.head_in_features]))
    for of_kind in zip(*found, strict=True):
        for expected, level in zip(*of_kind, strict=True):
            torch.testing.assert_close(level, expected, rtol=1e-5, atol=1e-4)


def kinds(model, kind):
    return [module for module in model.modules() if isinstance(module, kind)]


@pytest.mark.parametrize("options", [{}, REACT], ids=["signs", "shifted"])
@pytest.mark.parametrize("name", DETECTORS)
def test_a_packed_detector_detects_the_same(name, options):
    model = toy(name, **options)
    layers = kinds(model, BinaryConv2d | BinaryLinear)
    same = pack(model)
    assert len(kinds(same, PackedConv2d | PackedLinear)) == len(layers)
    assert kinds(same, PackedStage) and not kinds(same, BinaryConv2d | BinaryLinear)
    assert kinds(model, BinaryConv2d | BinaryLinear) == layers  # which is as it was
    assert_same_detections(model, same)


@pytest.mark.parametrize("path", supported_paths())
def test_on_every_path(path, monkeypatch):
    monkeypatch.setenv("LOWRES_D2_ONE_BIT", path)
    model = fcos_with_norms("BN", tower_shortcuts=True, scale="mean")
    assert_same_outputs(model, pack(model))


@pytest.mark.parametrize("shortcuts", [False, True])
def test_norms_that_differ_by_level_are_folded(shortcuts):
    model = fcos_with_norms("BN", tower_shortcuts=shortcuts)
    same = pack(model)
    towers = kinds(same, PackedTower)
    assert len(towers) == 2 and not kinds(same, CycleBatchNormList)
    assert {layer.scale.shape for tower in towers for layer in tower} == {(4, CHANNELS)}
    assert_same_outputs(model, same)
    assert_same_outputs(model, same)  # in turn again


def test_norms_that_depend_on_the_image_stay(monkeypatch):
    torch.manual_seed(0)
    layer = BinaryConv2d(8, 32, 3, padding=1, norm=nn.GroupNorm(4, 32), activation=nn.PReLU(32))
    layer = as_trained(layer)
    same, x = pack(layer), torch.randn(1, 8, 9, 7)
    assert not same.is_whole and kinds(same, nn.GroupNorm)
    torch.testing.assert_close(same(x), layer(x))


@pytest.mark.parametrize(
    ("norm", "activation", "quantizer"),
    [
        (None, None, None),
        (nn.BatchNorm2d(20), nn.PReLU(), None),
        (nn.BatchNorm2d(20, affine=False), nn.ReLU(), None),
        (FrozenBatchNorm2d(20), ShiftedPReLU(20), ShiftedSign(33)),
    ],
)
def test_one_layer(norm, activation, quantizer):
    torch.manual_seed(0)
    layer = as_trained(
        BinaryConv2d(
            33,
            20,
            3,
            stride=2,
            padding=1,
            norm=norm,
            activation=activation,
            input_quantizer=quantizer,
            scale="learned",
        )
    )
    same, x = pack(layer), torch.randn(2, 33, 11, 8)
    assert isinstance(same, PackedConv2d) and same.is_whole != isinstance(activation, nn.ReLU)
    torch.testing.assert_close(same(x), layer(x), rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("quantizer", [None, ShiftedSign(70, axis=-1)], ids=["sign", "shifted"])
@pytest.mark.parametrize("shape", [(5, 70), (2, 3, 70), (70,), (0, 70)])
def test_a_fully_connected_layer(shape, quantizer):
    torch.manual_seed(0)
    layer = as_trained(BinaryLinear(70, 33, input_quantizer=quantizer))
    same, x = pack(layer), torch.randn(shape)
    assert isinstance(same, PackedLinear)
    torch.testing.assert_close(same(x), layer(x), rtol=1e-6, atol=1e-5)


def test_a_weight_takes_a_bit():
    layer = BinaryConv2d(64, 32, 3)
    assert pack(layer).bits.nbytes * 8 == layer.weight.numel()
    assert sum(x.numel() for x in pack(layer).parameters()) == 0


def test_weights_that_are_loaded_are_used():
    torch.manual_seed(0)
    first, second = as_trained(BinaryConv2d(8, 9, 3)), as_trained(BinaryConv2d(8, 9, 3))
    same, x = pack(first), torch.randn(1, 8, 5, 5)
    same(x)
    same.load_state_dict(pack(second).state_dict())
    torch.testing.assert_close(same(x), second(x))


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (BinaryConv2d(4, 4, 3, groups=2), "0.0: groups=2 cannot be packed"),
        (BinaryConv2d(4, 4, 3, dilation=2), r"0.0: dilation=\(2, 2\) cannot be packed"),
        (BinaryConv2d(4, 4, 3, padding=1, padding_mode="reflect"), "0.0: .*reflect.* zeros"),
        (BinaryConv2d(4, 4, 1, padding=1), r"0.0: padding=\(1, 1\) of a kernel of \(1, 1\)"),
        (BinaryConv2d(4, 4, 1, input_quantizer=nn.Tanh()), "0.0: Tanh of the input"),
        (Conv2d(4, 4, 1), "no 1-bit layer"),
    ],
)
def test_what_cannot_be_packed_is_named(layer, message):
    with pytest.raises(ValueError, match=message):
        pack(nn.Sequential(nn.Sequential(layer, nn.Identity())))


def test_layers_of_several_bits_are_refused():
    network = SmallShortcutResNet((8, 12, 16, 20, 24))
    with pytest.raises(ValueError, match=r"res2\.0.*: a layer of several bits"):
        pack(binarized(network, ["first"], quantizer="learned_step"))
