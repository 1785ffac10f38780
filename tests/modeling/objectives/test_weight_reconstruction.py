"""Eq. 3 of DFR-Det: values and gradients in numpy, and what it does in a composition."""

from __future__ import annotations

from fractions import Fraction

from lowres_d2.layers.one_bit import BinaryConv2d, BinaryLinear
from lowres_d2.modeling import LowResDetector
from lowres_d2.modeling.backbone import SmallShortcutResNet
from lowres_d2.modeling.objectives import WeightReconstruction
from lowres_d2.modeling.one_bit import binarized
from lowres_d2.modeling.resample import Identity
from lowres_d2.structures import ObjectiveContext

import numpy as np
import pytest
import torch
from detectron2.utils.events import EventStorage
from torch import nn

from toys.detectors import fcos, training_input


def loss_of(student, **arguments):
    context = ObjectiveContext([], [], [], Fraction(1), {}, {}, student=student)
    return WeightReconstruction(**arguments)(context)["reconstruction"]


def layers(scale="mean"):
    torch.manual_seed(0)
    made = [BinaryConv2d(3, 4, 3), BinaryConv2d(4, 2, 1, scale=scale), BinaryLinear(2, 3)]
    return nn.Sequential(nn.Conv2d(1, 3, 1), *made).double()


def numpy_loss(weight, scale):
    rows = weight.reshape(len(weight), -1)
    return sum(
        0.5 * (w - alpha * (1 if w >= 0 else -1)) ** 2
        for row, alpha in zip(rows, scale, strict=True)
        for w in row
    )


def mean_sizes(weight):
    return np.abs(weight.reshape(len(weight), -1)).mean(axis=1)


@pytest.mark.parametrize("linear", [False, True])
def test_it_is_half_a_sum_over_all_weights_of_all_layers(linear):
    student = layers()
    weights = [layer.weight.detach().numpy() for layer in student[1 : 4 if linear else 3]]
    expected = sum(numpy_loss(w, mean_sizes(w)) for w in weights)
    np.testing.assert_allclose(loss_of(student, linear=linear).item(), expected)


def test_gradients():
    student = layers("learned")
    student[2].log_gain.data = torch.tensor([0.5, -0.5], dtype=torch.float64)
    loss_of(student).backward()
    assert student[0].weight.grad is None and student[3].weight.grad is None
    for layer, gain in ((student[1], np.zeros(4)), (student[2], np.array([0.5, -0.5]))):
        w = layer.weight.detach().numpy()
        alpha = (mean_sizes(w) * np.exp(gain)).reshape(-1, 1, 1, 1)
        error = w - alpha * np.where(w >= 0, 1, -1)
        np.testing.assert_allclose(layer.weight.grad.numpy(), error)
    # alpha = mean exp(gain): by the gain, the derivative is alpha (n alpha - sum of |w|).
    total, count = np.abs(w).sum(axis=(1, 2, 3)), w[0].size
    alpha = alpha.ravel()
    np.testing.assert_allclose(student[2].log_gain.grad, alpha * (count * alpha - total))


def test_signs_that_follow_the_weights_pass_a_gradient_straight_through():
    student = nn.Sequential(BinaryConv2d(1, 1, (1, 4), bias=False).double())
    w = np.array([0.5, -0.25, 2.0, -1.25])
    student[0].weight.data = torch.tensor(w).view(1, 1, 1, 4)
    loss_of(student, constant_signs=False).backward()
    error = w - 1.0 * np.sign(w)  # the mean of sizes is 1
    np.testing.assert_allclose(
        student[0].weight.grad.flatten(), error - error * (np.abs(w) <= 1), atol=1e-15
    )


def test_it_ends_with_weights_of_two_values():
    student = layers()[1:2].float()
    optimizer = torch.optim.SGD(student.parameters(), lr=0.3)
    for _ in range(40):
        optimizer.zero_grad()
        loss_of(student).backward()
        optimizer.step()
    layer = student[0]
    expected = layer.output_scale()[:, None, None, None] * layer.binary_weight()
    torch.testing.assert_close(layer.weight.data, expected, rtol=1e-3, atol=1e-5)


def test_a_detector_without_1_bit_layers_is_named():
    with pytest.raises(ValueError, match=r"objective binary .* no 1-bit layer: make model\.det"):
        loss_of(nn.Sequential(BinaryLinear(2, 2)))
    with pytest.raises(ValueError, match="no 1-bit layer"):
        loss_of(None)


def test_the_composition_gives_the_detector_and_weights_the_loss():
    torch.manual_seed(0)
    detector = fcos()
    detector.backbone.bottom_up = SmallShortcutResNet(channels=(8, 12, 16, 20, 24))
    model = LowResDetector(
        binarized(detector, scale="mean"),
        Identity(),
        objectives=[WeightReconstruction()],
        loss_weights={"binary/*": 1e-4},
    )
    with EventStorage() as storage:
        losses = model.train()([training_input(64, 64)])
        raw = storage.latest()["[metric]binary/reconstruction"][0]
    convolutions = [m for m in model.modules() if isinstance(m, BinaryConv2d)]
    weights = [layer.weight.detach().numpy() for layer in convolutions]
    assert raw == pytest.approx(sum(numpy_loss(w, mean_sizes(w)) for w in weights), rel=1e-4)
    assert losses["loss_binary_reconstruction"].item() == pytest.approx(1e-4 * raw)
    losses["loss_binary_reconstruction"].backward()
    assert all(layer.weight.grad.any() for layer in convolutions)
