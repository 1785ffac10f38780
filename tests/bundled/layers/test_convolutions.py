import lowres_d2  # noqa: F401

import pytest
import torch
from detectron2.layers import (
    ASPP,
    CNNBlockBase,
    Conv2d,
    DeformConv,
    DepthwiseSeparableConv2d,
    FrozenBatchNorm2d,
    ModulatedDeformConv,
    ShapeSpec,
    cat,
    cross_entropy,
    empty_input_loss_func_wrapper,
    move_device_like,
    nonzero_tuple,
    shapes_to_tensor,
)
from fvcore.nn.weight_init import c2_msra_fill, c2_xavier_fill
from torch import nn
from torch.nn import functional as F


def test_conv_then_norm_then_activation():
    conv = Conv2d(3, 8, 3, padding=1, bias=False, norm=nn.BatchNorm2d(8), activation=F.relu)
    x = torch.randn(2, 3, 6, 5)
    expected = F.relu(nn.BatchNorm2d(8)(F.conv2d(x, conv.weight, padding=1)))
    torch.testing.assert_close(conv(x), expected)
    assert {"weight", "norm.weight", "norm.running_mean"} <= set(conv.state_dict())


def test_conv_takes_an_empty_batch():
    y = Conv2d(3, 8, 3, stride=2)(torch.zeros(0, 3, 9, 9))
    assert y.shape == (0, 8, 4, 4)


@pytest.mark.parametrize("groups", [1, 2])
def test_deformable_convolutions_without_offset_are_convolutions(groups):
    x = torch.randn(2, 4, 7, 6)
    offset, mask = torch.zeros(2, 18 * groups, 4, 3), torch.full((2, 9 * groups, 4, 3), 0.5)
    shape = {"stride": 2, "padding": 1, "groups": groups, "deformable_groups": groups}
    deform = DeformConv(4, 6, 3, **shape)
    modulated = ModulatedDeformConv(4, 6, 3, bias=False, **shape)
    try:
        outputs = deform(x, offset), modulated(x, offset, mask)
    except NotImplementedError as error:
        pytest.skip(f"upstream on a CPU: {error}")
    for layer, output, factor in zip((deform, modulated), outputs, (1, 0.5), strict=True):
        plain = F.conv2d(x, layer.weight, stride=2, padding=1, groups=groups)
        torch.testing.assert_close(output, plain * factor)


def test_offset_of_one_cell_shifts_the_image():
    x = torch.randn(1, 1, 6, 6)
    conv = DeformConv(1, 1, 1)
    offset = torch.zeros(1, 2, 6, 6)
    offset[:, 1] = 1  # x of the only kernel position
    shifted = F.pad(x, (0, 1))[..., 1:] * conv.weight.item()
    torch.testing.assert_close(conv(x, offset), shifted)


def test_deformable_convolution_of_nothing():
    conv = DeformConv(4, 6, 3, stride=2, padding=1)
    assert conv(torch.zeros(0, 4, 7, 6), torch.zeros(0, 18, 4, 3)).shape == (0, 6, 4, 3)


def test_wrong_number_of_offsets_is_an_error():
    with pytest.raises((RuntimeError, NotImplementedError)):
        DeformConv(4, 6, 3, padding=1)(torch.zeros(1, 4, 7, 6), torch.zeros(1, 9, 7, 6))


def test_depthwise_separable_convolution_is_two_convolutions():
    layer = DepthwiseSeparableConv2d(4, 6, norm2="BN", activation2=F.relu)
    x = torch.randn(2, 4, 5, 5)
    depthwise = F.conv2d(x, layer.depthwise.weight, layer.depthwise.bias, padding=1, groups=4)
    expected = F.relu(nn.BatchNorm2d(6)(F.conv2d(depthwise, layer.pointwise.weight)))
    torch.testing.assert_close(layer(x), expected)
    assert layer.depthwise.bias is not None and layer.pointwise.bias is None


@pytest.mark.parametrize("pool", [None, (2, 4)])
def test_aspp_keeps_the_size(pool):
    layer = ASPP(3, 4, [1, 2, 3], norm="BN", activation=nn.ReLU(), pool_kernel_size=pool)
    assert layer(torch.randn(2, 3, 6, 8)).shape == (2, 4, 6, 8)
    assert {"convs.0.weight", "convs.4.1.bias", "project.norm.weight"} <= set(layer.state_dict())
    if pool:
        with pytest.raises(ValueError, match="pool"):
            layer(torch.randn(2, 3, 7, 8))


def test_a_seed_gives_the_weights_it_gives_upstream():
    torch.manual_seed(0)
    separable = DepthwiseSeparableConv2d(4, 6, norm1="BN")
    torch.manual_seed(0)
    pair = nn.Conv2d(4, 4, 3, groups=4, bias=False), nn.Conv2d(4, 6, 1)
    for ours, reference in zip((separable.depthwise, separable.pointwise), pair, strict=True):
        c2_msra_fill(reference)
        assert torch.equal(ours.weight, reference.weight)

    torch.manual_seed(0)
    pyramid = ASPP(4, 6, [1, 2, 3], norm="", activation=nn.ReLU())
    torch.manual_seed(0)
    branches = [*pyramid.convs[:4], pyramid.convs[4][1], pyramid.project]
    sizes = [(4, 6, 1), *[(4, 6, 3)] * 3, (4, 6, 1), (30, 6, 1)]
    for ours, size in zip(branches, sizes, strict=True):
        reference = nn.Conv2d(*size)
        c2_xavier_fill(reference)
        assert torch.equal(ours.weight, reference.weight)


def test_frozen_block_has_no_gradients_and_frozen_norms():
    class Block(CNNBlockBase):
        def __init__(self):
            super().__init__(3, 4, 2)
            self.conv = Conv2d(3, 4, 3, norm=nn.BatchNorm2d(4))

    block = Block().freeze()
    assert (block.in_channels, block.out_channels, block.stride) == (3, 4, 2)
    assert isinstance(block.conv.norm, FrozenBatchNorm2d)
    assert not any(p.requires_grad for p in block.parameters())


def test_loss_of_nothing_is_zero_with_gradient():
    logits = torch.zeros(0, 3, requires_grad=True)
    loss = cross_entropy(logits, torch.zeros(0, dtype=torch.long))
    loss.backward()
    assert loss.item() == 0 and logits.grad.shape == (0, 3)
    wrapped = empty_input_loss_func_wrapper(F.mse_loss)
    assert wrapped(torch.ones(2), torch.zeros(2), reduction="sum").item() == 2


def test_tensor_helpers():
    x = torch.tensor([[1, 0], [0, 2]])
    assert cat([x]) is x and cat([x, x], dim=1).shape == (2, 4)
    assert [i.tolist() for i in nonzero_tuple(x)] == [[0, 1], [0, 1]]
    assert shapes_to_tensor([3, 4]).tolist() == [3, 4]
    assert move_device_like(x, torch.empty(1, device="meta")).device.type == "meta"
    assert ShapeSpec(channels=3) == ShapeSpec(3, None, None, None)
