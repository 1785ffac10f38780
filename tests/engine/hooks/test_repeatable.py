from lowres_d2.engine.hooks.repeatable import as_in_a_new_process

import torch
from torch import Tensor
from torch.nn import functional as F


@torch.jit.script
def focal_loss(logits: Tensor, targets: Tensor) -> Tensor:
    probability = torch.sigmoid(logits)
    loss = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    missed = 1 - probability * targets - (1 - probability) * (1 - targets)
    return (loss * missed**2.0).sum()


def test_a_scripted_loss_has_the_same_gradient_at_every_call():
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(4000, 2, generator=generator)
    targets = (torch.rand(4000, 2, generator=generator) > 0.95).float()
    gradients = []
    with as_in_a_new_process():
        for _ in range(4):
            leaf = logits.clone().requires_grad_()
            focal_loss(leaf, targets).backward()
            gradients.append(leaf.grad)
    assert all(torch.equal(gradient, gradients[0]) for gradient in gradients)
