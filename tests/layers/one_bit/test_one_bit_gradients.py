"""Gradients of the 1-bit layers against formulas written in numpy."""

import lowres_d2  # noqa: F401
from lowres_d2.layers.one_bit import BinaryConv2d, BinaryLinear, ShiftedSign, Sign, sign

import numpy as np
import pytest
import torch
from torch import nn

POINTS = [-2.0, -1.0, -0.75, -0.0, 0.0, 0.25, 1.0, 1.5]
SLOPES = {
    "clip": lambda x: (np.abs(x) <= 1).astype(float),
    "polynomial": lambda x: np.where(np.abs(x) <= 1, 2 - 2 * np.abs(x), 0),
}


@pytest.mark.parametrize("gradient", SLOPES)
def test_gradient_of_the_sign(gradient):
    x = torch.tensor(POINTS, requires_grad=True)
    outer = torch.arange(1.0, 9.0)
    (sign(x, gradient) * outer).sum().backward()
    assert x.grad.tolist() == (outer.numpy() * SLOPES[gradient](np.array(POINTS))).tolist()


def test_the_polynomial_is_the_derivative_of_its_paper_s_function():
    """Bi-Real Net, Eq. 7: 2x + x^2 below 0, 2x - x^2 above, of which the slope is 2 -+ 2x."""
    x = torch.linspace(-0.99, 0.99, 37, dtype=torch.float64, requires_grad=True)
    expected = torch.autograd.grad((2 * x - x * x.abs()).sum(), x)[0]
    found = torch.autograd.grad(sign(x, "polynomial").sum(), x)[0]
    torch.testing.assert_close(found, expected)


def test_gradient_of_a_threshold():
    quantizer = ShiftedSign(2, "polynomial")
    quantizer.threshold.data = torch.tensor([0.5, -0.5])
    x = torch.tensor([[[[0.75]], [[0.0]]], [[[3.0]], [[-0.75]]]], requires_grad=True)
    quantizer(x).sum().backward()
    assert x.grad.flatten().tolist() == [1.5, 1.0, 0.0, 1.5]
    assert quantizer.threshold.grad.tolist() == [-1.5, -2.5]


@pytest.mark.parametrize("gradient", SLOPES)
@pytest.mark.parametrize("scale", ["mean", "learned"])
def test_gradients_of_a_linear_layer(gradient, scale):
    rng = np.random.default_rng(0)
    x, w, outer = rng.normal(size=(5, 3)), rng.normal(size=(2, 3)), rng.normal(size=(5, 2))
    layer = BinaryLinear(3, 2, input_quantizer=Sign(gradient), scale=scale).double()
    layer.weight.data = torch.tensor(w)
    if scale == "learned":
        layer.log_gain.data = torch.tensor([0.5, -0.25], dtype=torch.float64)
    value = torch.tensor(x, requires_grad=True)
    (layer(value) * torch.tensor(outer)).sum().backward()
    bx, bw = (np.where(t >= 0, 1.0, -1.0) for t in (x, w))
    alpha = np.abs(w).mean(axis=1) * np.exp([0.5, -0.25] if scale == "learned" else 0)
    # Straight through: scale * sign stands for the weight, the sign for the input.
    np.testing.assert_allclose(layer.weight.grad, outer.T @ bx * (np.abs(w) <= 1))
    expected = outer @ (alpha[:, None] * bw) * SLOPES[gradient](x)
    np.testing.assert_allclose(value.grad, expected)
    np.testing.assert_allclose(layer.bias.grad, outer.sum(axis=0))
    if scale == "learned":
        np.testing.assert_allclose(layer.log_gain.grad, (outer * (bx @ bw.T) * alpha).sum(axis=0))


def test_gradients_of_a_convolution_are_those_of_the_unfolded_linear_layer():
    torch.manual_seed(0)
    convolution = BinaryConv2d(3, 4, 3, scale="learned").double()
    linear = BinaryLinear(27, 4, scale="learned").double()
    linear.load_state_dict(
        {k: v.flatten(1) if v.dim() == 4 else v for k, v in convolution.state_dict().items()}
    )
    x = torch.randn(2, 3, 5, 6, dtype=torch.float64, requires_grad=True)
    columns = nn.functional.unfold(x, 3).transpose(1, 2)
    outer = torch.randn(2, 4, 3, 4, dtype=torch.float64)
    losses = (
        (convolution(x) * outer).sum(),
        (linear(columns) * outer.flatten(2).transpose(1, 2)).sum(),
    )
    torch.testing.assert_close(*losses)
    ours, theirs = (
        torch.autograd.grad(loss, [x, *layer.parameters()])
        for loss, layer in zip(losses, (convolution, linear), strict=True)
    )
    names = ["x", *dict(convolution.named_parameters())]
    for name, one, other in zip(names, ours, theirs, strict=True):
        torch.testing.assert_close(one.flatten(), other.flatten(), msg=name)


def test_weights_that_are_all_zero_keep_a_finite_gradient():
    layer = BinaryConv2d(2, 2, 1)
    layer.weight.data.zero_()
    layer(torch.randn(1, 2, 3, 3)).sum().backward()
    assert layer.weight.grad.isfinite().all() and layer.weight.grad.any()
