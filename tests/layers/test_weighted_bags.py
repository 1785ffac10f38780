"""Weighted bags against torch's own ``embedding_bag``."""

import lowres_d2  # noqa: F401
from lowres_d2.layers.weighted_bags import weighted_bags

import pytest
import torch
import torch.nn.functional as F


def problem(dtype=torch.float32):
    torch.manual_seed(0)
    # Rows 7 to 9 are in no bag, row 3 is twice in one.
    bags = torch.randint(7, (5, 4), dtype=torch.int32)
    bags[2] = torch.tensor([3, 1, 3, 0])
    return torch.randn(10, 6).to(dtype), bags, torch.randn(5, 4).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("learned", [(True, True), (True, False), (False, True), (False, False)])
def test_values_and_gradients_are_those_of_embedding_bag(dtype, learned):
    found = []
    for operator in (
        weighted_bags,
        lambda rows, bags, weights: F.embedding_bag(
            bags, rows, mode="sum", per_sample_weights=weights
        ),
    ):
        rows, bags, weights = problem(dtype)
        rows.requires_grad_(learned[0])
        weights.requires_grad_(learned[1])
        sums = operator(rows, bags, weights)
        assert sums.requires_grad == any(learned)
        if any(learned):
            sums.backward(torch.arange(30).view(5, 6).to(dtype))
        found.append((sums.detach(), rows.grad, weights.grad))
    ours, reference = found
    assert torch.equal(ours[0], reference[0])
    for mine, other in zip(ours[1:], reference[1:], strict=True):
        torch.testing.assert_close(mine, other)
        assert (mine is None) == (other is None)


def test_two_runs_have_the_same_gradients_to_the_bit():
    gradients = []
    for _ in range(2):
        rows, bags, weights = problem()
        weighted_bags(rows.requires_grad_(), bags, weights).square().sum().backward()
        gradients.append(rows.grad)
    assert torch.equal(*gradients)
