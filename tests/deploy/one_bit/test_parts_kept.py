"""What packed forms have no place for stays beside them, or is refused: nothing is dropped."""

import lowres_d2  # noqa: F401
from lowres_d2.deploy.one_bit import PackedConv2d, pack
from lowres_d2.deploy.one_bit.blocks import PackedStage, PackedTower, projected
from lowres_d2.deploy.one_bit.folding import fold_norms
from lowres_d2.deploy.one_bit.stem import FusedStem
from lowres_d2.layers.one_bit import BinaryConv2d, BinaryLinear, ShiftedPReLU, Sign
from lowres_d2.modeling.backbone import PReLUStem, ShortcutBlock

import pytest
import torch
import torch.nn.functional as F
from detectron2.layers import Conv2d
from torch import nn


def as_trained(module):
    torch.manual_seed(0)
    for each in module.modules():
        if getattr(each, "running_var", None) is not None:
            each.running_mean.uniform_(-0.5, 0.5)
            each.running_var.uniform_(0.5, 2)
    return module.eval()


@torch.no_grad()
def assert_same(module, channels=3):
    """The packed form computes what the module does; it is given back."""
    as_trained(module)
    same, x = pack(module), torch.randn(2, channels, 33, 20)
    torch.testing.assert_close(same(x), module(x), rtol=1e-5, atol=1e-5)
    return same


class ActivatingNorm(nn.BatchNorm2d):
    def forward(self, x):
        return F.silu(super().forward(x))


class Gained(nn.PReLU):
    def forward(self, x):
        return 2 * super().forward(x)


class ShiftedPReLUAndMore(ShiftedPReLU):
    def forward(self, x):
        return super().forward(x) + 1


class LateSign(Sign):
    def forward(self, x):
        return super().forward(x - 0.5)


class DoubledConv(BinaryConv2d):
    def forward(self, x):
        return 2 * super().forward(x)


class DoubledLinear(BinaryLinear):
    def forward(self, x):
        return 2 * super().forward(x)


def stem(**changes):
    torch.manual_seed(0)
    stem = PReLUStem(3, 16, kernel_size=3, pooled=False)
    for name, value in changes.items():
        setattr(stem.conv1, name, value)
    return nn.Sequential(stem, BinaryConv2d(16, 8, 3, padding=1))


def block(**changes):
    """A stage whose block has 1-bit convolutions, changed."""
    torch.manual_seed(0)
    block = ShortcutBlock(3, 8, norm="BN")
    block.conv1, block.conv2 = (BinaryConv2d.of(x) for x in (block.conv1, block.conv2))
    for path, value in changes.items():
        name, _, attribute = path.partition("__")
        setattr(getattr(block, name) if attribute else block, attribute or name, value)
    return nn.Sequential(block)


def stage_with(shortcut):
    return block(shortcut=shortcut)


@pytest.mark.parametrize(
    "changes",
    [dict(activation=F.relu), dict(activation=nn.Tanh()), dict(padding_mode="reflect")],
    ids=["a function", "a module", "padding mode"],
)
def test_a_stem_with_more_is_not_fused(changes):
    if "padding_mode" in changes:
        changed = nn.Conv2d(3, 16, 3, stride=2, padding=1, padding_mode="reflect")
        changes = {**changes, "_reversed_padding_repeated_twice": [1] * 4, "weight": changed.weight}
    assert not isinstance(assert_same(stem(**changes))[0], FusedStem)


def test_a_stem_is_fused():
    assert isinstance(assert_same(stem())[0], FusedStem)


@pytest.mark.parametrize("layer", ["conv1", "conv2"])
def test_an_activation_in_front_of_a_sum_stays_there(layer):
    changed = block(**{f"{layer}__activation": nn.PReLU(8, init=-1.0)})
    assert not isinstance(assert_same(changed), PackedStage)
    assert isinstance(assert_same(block()), PackedStage)


@pytest.mark.parametrize(
    "shortcut",
    [
        Conv2d(3, 8, 1, activation=F.relu),
        Conv2d(3, 8, 1, norm=nn.GroupNorm(2, 8)),
        Conv2d(3, 8, 1, norm=nn.BatchNorm2d(8), activation=nn.Sigmoid()),
        Conv2d(3, 8, 3, padding=1),
        nn.Sequential(nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8)),
        BinaryConv2d(3, 8, 1, norm=nn.BatchNorm2d(8)),
        BinaryConv2d(3, 8, 1, activation=nn.ReLU()),
    ],
    ids=str,
)
def test_shortcuts_of_any_kind(shortcut):
    assert isinstance(assert_same(stage_with(shortcut)), PackedStage)


@torch.no_grad()
@pytest.mark.parametrize(
    "layer",
    [
        Conv2d(4, 8, 1, groups=2),
        Conv2d(4, 8, 1, padding=1),
        Conv2d(4, 8, 1, stride=2),
        Conv2d(4, 8, 1, activation=F.relu),
    ],
    ids=str,
)
def test_what_is_no_plain_product_is_convolved(layer):
    x = torch.randn(2, 4, 9, 7)
    torch.testing.assert_close(projected(x, layer), layer(x))


def test_stages_that_compute_something_of_their_own_stay():
    class Residual(nn.Sequential):
        def forward(self, x):
            return super().forward(x) + 1

    assert not isinstance(assert_same(Residual(*block())), PackedStage)


@pytest.mark.parametrize(
    "layer",
    [
        BinaryConv2d(16, 8, 3, norm=ActivatingNorm(8)),
        BinaryConv2d(16, 8, 3, activation=Gained(8)),
        BinaryConv2d(16, 8, 3, activation=ShiftedPReLUAndMore(8)),
        BinaryConv2d(16, 8, 3, activation=F.silu),
        BinaryConv2d(16, 8, 3, norm=nn.BatchNorm2d(8), activation=F.relu),
    ],
    ids=str,
)
def test_classes_made_from_known_ones_and_functions_are_called(layer):
    same = assert_same(nn.Sequential(Conv2d(3, 16, 3, norm=ActivatingNorm(16)), layer))
    assert isinstance(same[1], PackedConv2d) and not same[1].is_whole


@pytest.mark.parametrize("norm", [nn.BatchNorm2d, nn.SyncBatchNorm])
def test_known_norms_are_folded(norm):
    layer = BinaryConv2d(3, 8, 3, norm=norm(8))
    assert assert_same(layer).is_whole


def test_one_slope_and_shift_for_all_channels():
    shifted = ShiftedPReLU(1, slope=0.5)
    shifted.shift_in.data.fill_(0.25)
    shifted.shift_out.data.fill_(-0.5)
    assert assert_same(BinaryConv2d(3, 8, 3, activation=shifted)).is_whole
    tower = assert_same(nn.Sequential(BinaryConv2d(3, 8, 3, padding=1), shifted))
    assert isinstance(tower, PackedTower)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (BinaryConv2d(3, 8, 3, input_quantizer=LateSign()), "0: LateSign of the input"),
        (DoubledConv(3, 8, 3), "0: DoubledConv, made from a 1-bit layer, cannot be packed"),
        (DoubledLinear(3, 8), "0: DoubledLinear, made from a 1-bit layer, cannot be packed"),
    ],
    ids=["sign", "convolution", "fully connected"],
)
def test_1_bit_layers_that_compute_something_else_are_refused(layer, message):
    with pytest.raises(ValueError, match=message):
        pack(nn.Sequential(layer))


class Difference(nn.Module):
    """Two layers of the same weights, each with its own norm."""

    def __init__(self, bias):
        super().__init__()
        self.first, self.second = (
            Conv2d(3, 8, 3, bias=bias, norm=nn.BatchNorm2d(8)) for _ in range(2)
        )
        self.second.weight, self.second.bias = self.first.weight, self.first.bias
        self.last = BinaryConv2d(8, 4, 1)

    def forward(self, x):
        return self.last(self.first(x) - self.second(2 * x))


@pytest.mark.parametrize("bias", [False, True])
def test_weights_that_layers_share_are_folded_with_each_norm_alone(bias):
    same = assert_same(Difference(bias))
    assert same.first.norm is same.second.norm is None


def test_folding_changes_no_weight_in_place():
    layer = as_trained(Conv2d(3, 8, 1, norm=nn.BatchNorm2d(8)))
    held = layer.weight
    before = held.detach().clone()
    fold_norms(layer)
    assert torch.equal(held, before) and not torch.equal(layer.weight, before)
    assert layer.weight.requires_grad and layer.bias.requires_grad
