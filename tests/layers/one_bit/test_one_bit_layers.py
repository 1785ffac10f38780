"""Outputs and scales of the 1-bit layers, in exact numbers."""

import lowres_d2  # noqa: F401
from lowres_d2.layers.one_bit import BinaryConv2d, BinaryLinear, ShiftedSign, sign

import numpy as np
import pytest
import torch
from detectron2.layers import Conv2d
from torch import nn


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_zero_is_positive_of_either_sign(dtype):
    x = torch.tensor([-2, -1e-7, -0.0, 0.0, 1e-7, 3, float("-inf"), float("inf")], dtype=dtype)
    assert sign(x).tolist() == [-1, -1 if x[1] < 0 else 1, 1, 1, 1, 1, -1, 1]
    assert sign(torch.tensor([float("nan")])).tolist() == [-1]


def test_a_threshold_is_positive_itself():
    quantizer = ShiftedSign(2)
    quantizer.threshold.data = torch.tensor([0.5, -1.0])
    x = torch.tensor([[0.25, -1.0], [0.5, -1.5], [0.75, 0.0]])
    assert quantizer(x[..., None, None]).flatten(1).tolist() == [[-1, 1], [1, -1], [1, 1]]
    vectors = ShiftedSign(2, axis=-1)
    vectors.load_state_dict(quantizer.state_dict())
    assert vectors(x[None]).tolist() == [[[-1, 1], [1, -1], [1, 1]]]


def numpy_convolution(x, weight, stride, padding):
    """Sums of products, cell by cell; padding adds zeros."""
    x = np.pad(x, [(0, 0), (0, 0), (padding, padding), (padding, padding)])
    o, _, kh, kw = weight.shape
    rows, columns = (
        (size - k) // stride + 1 for size, k in zip(x.shape[2:], (kh, kw), strict=True)
    )
    y = np.zeros((len(x), o, rows, columns))
    for i in range(rows):
        for j in range(columns):
            window = x[:, :, i * stride : i * stride + kh, j * stride : j * stride + kw]
            y[:, :, i, j] = np.einsum("nckl,ockl->no", window, weight)
    return y


@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (3, 1), (3, 2), (5, 2)])
def test_a_convolution_counts_bits_and_then_scales(kernel, stride):
    torch.manual_seed(0)
    layer = BinaryConv2d(5, 3, kernel, stride=stride, padding=kernel // 2)
    x = torch.randn(2, 5, 7, 6)
    signs, weights = (np.where(t.detach().numpy() >= 0, 1.0, -1.0) for t in (x, layer.weight))
    assert np.array_equal(layer.binary_weight().numpy(), weights)
    scale = np.abs(layer.weight.detach().numpy()).reshape(3, -1).mean(axis=1)
    np.testing.assert_allclose(layer.output_scale().numpy(), scale, rtol=1e-6)
    counts = numpy_convolution(signs, weights, stride, kernel // 2)
    expected = counts * scale[:, None, None] + layer.bias.detach().numpy()[:, None, None]
    np.testing.assert_allclose(layer(x).detach().numpy(), expected, rtol=1e-5, atol=1e-6)
    # Before scale and bias the numbers are whole, and exactly those.
    with torch.no_grad():
        layer.bias.zero_()
        whole = layer(x) / layer.output_scale()[:, None, None]
    assert np.array_equal(whole.round().numpy(), counts)


def test_a_linear_layer_counts_bits_and_then_scales():
    layer = BinaryLinear(3, 2)
    layer.weight.data = torch.tensor([[1.0, -2.0, 3.0], [-0.5, 0.0, -1.0]])
    layer.bias.data = torch.tensor([10.0, 20.0])
    assert layer.output_scale().tolist() == [2.0, 0.5]
    assert layer.binary_weight().tolist() == [[1, -1, 1], [-1, 1, -1]]
    assert layer(torch.tensor([[-0.1, 5.0, 0.0]])).tolist() == [[10 - 2, 20 + 0.5]]


def test_norm_and_activation_come_behind_the_bias():
    layer = BinaryConv2d(2, 1, 1, norm=nn.BatchNorm2d(1), activation=nn.ReLU()).eval()
    layer.weight.data = torch.tensor([3.0, 1.0]).view(1, 2, 1, 1)
    layer.bias.data = torch.tensor([1.0])
    layer.norm.running_mean.fill_(2.0)
    x = torch.tensor([[1.0, 1.0], [-1.0, -1.0]]).view(2, 2, 1, 1)
    # 2 * 2 + 1 - 2, and 2 * -2 + 1 - 2, which the activation cuts off
    torch.testing.assert_close(layer(x).flatten(), torch.tensor([3.0, 0.0]), rtol=1e-4, atol=0)


def test_groups_and_dilation_are_those_of_the_real_valued_layer():
    torch.manual_seed(0)
    real = Conv2d(4, 6, 3, padding=2, dilation=2, groups=2, bias=False)
    x = torch.randn(1, 4, 6, 6)
    binary = BinaryConv2d.of(real)
    signs = torch.nn.functional.conv2d(sign(x), sign(real.weight), padding=2, dilation=2, groups=2)
    assert torch.equal(binary(x), signs * binary.output_scale()[:, None, None])


def test_the_mean_of_sizes_is_the_best_scale_of_the_signs():
    """Eq. 3 over all scales of a channel, by its values on a fine grid."""
    torch.manual_seed(0)
    layer = BinaryConv2d(3, 4, 3)
    w, b = layer.weight.detach().flatten(1), layer.binary_weight().flatten(1)
    grid = torch.linspace(0, 0.4, 4001)
    errors = (w[:, None] - grid[:, None] * b[:, None]).square().sum(dim=2)
    torch.testing.assert_close(grid[errors.argmin(dim=1)], layer.output_scale(), rtol=0, atol=1e-4)


def test_a_learned_scale_starts_at_the_mean_and_stays_positive():
    real = Conv2d(3, 4, 3)
    fixed, learned = (BinaryConv2d.of(real, scale=scale) for scale in ("mean", "learned"))
    assert torch.equal(learned.output_scale(), fixed.output_scale())
    # Weights from elsewhere bring no scale: it is theirs again.
    learned.load_state_dict(
        {name: 7 * value for name, value in fixed.state_dict().items()}, strict=False
    )
    torch.testing.assert_close(learned.output_scale(), fixed.output_scale())  # shared weights
    learned.log_gain.data.fill_(-20.0)
    assert (learned.output_scale() > 0).all()
    real.weight.data.zero_()
    assert (fixed.output_scale() > 0).all()


@pytest.mark.parametrize("scale", ["mean", "learned"])
def test_a_real_valued_layer_gives_its_parameters_and_its_weights_load(scale):
    real = Conv2d(2, 3, 3, stride=2, padding=1, norm=nn.BatchNorm2d(3), activation=nn.PReLU(3))
    binary = BinaryConv2d.of(real, ShiftedSign(2), scale)
    assert binary.weight is real.weight and binary.norm is real.norm
    added = {"mean": set(), "learned": {"log_gain"}}[scale] | {"input_quantizer.threshold"}
    assert binary.state_dict().keys() == real.state_dict().keys() | added
    found = binary.load_state_dict(real.state_dict(), strict=False)
    assert set(found.missing_keys) == added and not found.unexpected_keys
    assert (binary.stride, binary.padding) == ((2, 2), (1, 1))
    vector = nn.Linear(4, 2, bias=False).eval()
    linear = BinaryLinear.of(vector, scale=scale)
    assert linear.weight is vector.weight and linear.bias is None and not linear.training


@pytest.mark.parametrize("layer", [BinaryConv2d(4, 2, 3), BinaryLinear(4, 2)])
def test_mixed_precision_keeps_its_dtype(layer):
    x = torch.randn(2, 4, 3, 3) if isinstance(layer, BinaryConv2d) else torch.randn(2, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = layer(x)
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y.float(), layer(x), rtol=0.02, atol=0.02)
