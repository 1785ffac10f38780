"""Learned steps and the layers of k bits, in numbers; ReActNet's PReLU."""

from __future__ import annotations

import copy

import lowres_d2  # noqa: F401
from lowres_d2.layers.k_bit import KBitConv2d, KBitLinear, LearnedStep, quantized
from lowres_d2.layers.one_bit import ShiftedPReLU

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from detectron2.layers import Conv2d
from torch import nn


def test_values_are_rounded_and_cut_off():
    x = torch.tensor([-9.0, -1.3, -0.2, 0.1, 0.3, 0.7, 1.6, 9.0])
    step = torch.tensor(0.5)
    assert quantized(x, step, -2, 1).tolist() == [-1, -1, 0, 0, 0.5, 0.5, 0.5, 0.5]
    assert quantized(x, step, 0, 3).tolist() == [0, 0, 0, 0, 0.5, 0.5, 1.5, 1.5]


def test_gradients_are_eq_3_and_its_mask():
    rng = np.random.default_rng(0)
    values, outer = rng.normal(size=20) * 2, rng.normal(size=20)
    x = torch.tensor(values, requires_grad=True)
    step = torch.tensor(0.6, dtype=torch.float64, requires_grad=True)
    (quantized(x, step, -4, 3, share=0.25) * torch.tensor(outer)).sum().backward()
    steps = values / 0.6
    inside = (steps >= -4) & (steps <= 3)
    of_step = np.where(inside, np.round(steps) - steps, np.where(steps < 0, -4, 3))
    assert 0 < inside.sum() < 20
    np.testing.assert_allclose(x.grad, outer * inside)
    np.testing.assert_allclose(step.grad, 0.25 * (outer * of_step).sum())


@pytest.mark.parametrize(("low", "highest"), [(-1.0, 7), (0.0, 15)])
def test_the_step_starts_from_the_first_values_in_training(low, highest):
    layer = LearnedStep(4).eval()
    x = torch.linspace(low, 1, 101)[:, None]
    expected = 2 * x.abs().mean() / highest**0.5
    layer(x * 5)
    assert layer.step == 0  # evaluation changes nothing
    y = layer.train()(x)
    torch.testing.assert_close(layer.step, expected)
    assert bool(layer.has_negative) == (low < 0)
    torch.testing.assert_close(y / expected, (x / expected).round().clamp(max=highest))
    layer(x * 5)
    torch.testing.assert_close(layer.step, expected)  # once


def test_evaluation_before_any_training_takes_the_values_given():
    x = torch.randn(4, 8)
    started = LearnedStep(3)
    assert torch.equal(LearnedStep(3).eval()(x), started(x))


@pytest.mark.parametrize(("per_image", "values"), [(True, 6), (False, 24)])
def test_sgd_changes_a_step_as_the_paper_s(per_image, values):
    """Sec. 2.2: the gradient is shared out over the values of an image, or of all."""
    torch.manual_seed(0)
    layer = LearnedStep(3, signed=True, per_image=per_image)
    x = torch.randn(4, 6)
    layer(x).square().sum().backward()
    step = layer.step.detach().requires_grad_()
    share = 1 / (values * 3) ** 0.5
    quantized(x, step, -4, 3, share).square().sum().backward()
    assert step.grad != 0
    with torch.no_grad():
        expected = step - 0.001 * step.grad
        layer.gain -= 0.001 * layer.gain.grad
    torch.testing.assert_close(layer.step, expected)


def test_a_step_stays_positive():
    layer = LearnedStep(3)
    layer(torch.randn(4, 6))
    for gain in (-0.5, 0.0):
        layer.gain.data.fill_(gain)
        assert layer.step > 0 and layer(torch.randn(4, 6)).isfinite().all()


def test_a_stored_step_is_not_started_again():
    x = torch.randn(4, 6)
    first = LearnedStep(4)
    first(x)
    for other in (LearnedStep(4), copy.deepcopy(first)):
        other.load_state_dict(first.state_dict())
        assert torch.equal(other(x * 100), first(x * 100))
        assert torch.equal(other.step, first.step)
    # One that has started with positive values takes over negative ones from a file.
    positive = LearnedStep(4)
    positive(x.abs())
    positive.load_state_dict(first.state_dict())
    assert torch.equal(positive(x), first(x))


def test_a_first_batch_of_zeros_or_of_nothing():
    layer = LearnedStep(4)
    assert layer(torch.zeros(0, 3)).shape == (0, 3)
    assert layer(torch.zeros(2, 3)).tolist() == [[0.0] * 3] * 2
    assert layer.step == 0  # it waits for values
    layer(torch.ones(2, 3))
    assert layer.step > 0


def test_layers_quantize_weights_and_input():
    torch.manual_seed(0)
    real = Conv2d(3, 4, 3, stride=2, padding=1, norm=nn.BatchNorm2d(4), activation=nn.PReLU(4))
    layer = KBitConv2d.of(real, bits=3)
    assert layer.weight is real.weight and layer.norm is real.norm
    x = torch.rand(2, 3, 6, 6)
    y = layer.eval()(x)  # in which steps come from the values given
    weight_step = 2 * real.weight.abs().mean() / 3**0.5
    step = 2 * x.mean() / 7**0.5
    signs = (real.weight / weight_step).round().clamp(-4, 3) * weight_step
    inputs = (x / step).round().clamp(0, 7) * step
    expected = F.conv2d(inputs, signs, real.bias, 2, 1)
    torch.testing.assert_close(y, real.activation(real.norm.eval()(expected)))
    vector = nn.Linear(3, 2)
    linear = KBitLinear.of(vector, bits=8)
    torch.testing.assert_close(linear(x[0, 0, :, :3]), vector(x[0, 0, :, :3]), rtol=0.1, atol=0.05)
    assert linear.weight is vector.weight and linear.weight_quantizer.step > 0


def test_real_valued_weights_load_before_the_steps_start():
    real, layer = Conv2d(3, 4, 3), KBitConv2d(3, 4, 3)
    found = layer.load_state_dict(real.state_dict(), strict=False)
    assert not found.unexpected_keys
    assert {key.partition(".")[0] for key in found.missing_keys} == {
        "weight_quantizer",
        "input_quantizer",
    }
    layer(torch.randn(1, 3, 5, 5))
    expected = 2 * real.weight.abs().mean() / 7**0.5
    torch.testing.assert_close(layer.weight_quantizer.step, expected)


def test_shifts_around_a_prelu():
    layer = ShiftedPReLU(2)
    layer.shift_in.data = torch.tensor([1.0, 0.0])
    layer.shift_out.data = torch.tensor([0.0, 10.0])
    layer.weight.data = torch.tensor([0.5, 0.25])
    x = torch.tensor([[3.0, 4.0], [-1.0, -4.0]])
    assert layer(x).tolist() == [[2.0, 14.0], [-1.0, 9.0]]
    assert torch.equal(ShiftedPReLU(2)(x[..., None]), nn.PReLU(2)(x[..., None]))


@pytest.mark.parametrize("values", [6, 0])
def test_all_processes_start_with_the_same_step(values, monkeypatch):
    """Of two processes; the other has four values, -1, 1, 1, 3, and this one ones, or none."""
    monkeypatch.setattr("detectron2.utils.comm.get_world_size", lambda: 2)
    others = torch.tensor([6.0, 4.0, 1.0])  # sum of sizes, number, of which negative
    monkeypatch.setattr("torch.distributed.all_reduce", lambda tensor: tensor.add_(others))
    layer = LearnedStep(4)
    layer(torch.ones(values, 1))
    assert layer.has_negative
    mean = (values + 6.0) / (values + 4)
    assert layer.step.item() == pytest.approx(2 * mean / 7**0.5)


def test_processes_that_evaluate_do_not_wait_for_each_other(monkeypatch):
    """One of them may have fewer images."""
    monkeypatch.setattr("detectron2.utils.comm.get_world_size", lambda: 2)
    assert LearnedStep(4).eval()(torch.randn(2, 3)).isfinite().all()  # without a process group
