from fractions import Fraction

import lowres_d2  # noqa: F401
from lowres_d2.layers.norm_by_factor import NormByFactor, norms_by_factor, weights_for_factor

import pytest
import torch
from detectron2.layers import Conv2d, FrozenBatchNorm2d
from torch import nn

FACTORS = (Fraction(1), Fraction(3, 2))


def network():
    """Two convolutions that share a batch norm, a frozen one and a group norm."""
    shared = nn.BatchNorm2d(4)
    return nn.Sequential(
        Conv2d(3, 4, 1, norm=shared),
        Conv2d(4, 4, 1, norm=shared),
        FrozenBatchNorm2d(4),
        nn.Sequential(nn.GroupNorm(2, 4)),
    )


def filled(plain):
    for k, tensor in enumerate(plain.state_dict().values()):
        tensor.copy_(torch.full_like(tensor, k + 2))
    return plain


def test_trainable_norms_are_replaced_in_place_and_stay_shared():
    by_factor = network()
    found = norms_by_factor(by_factor, FACTORS)
    assert len(found) == 2
    assert by_factor[0].norm is by_factor[1].norm is found[0]
    assert isinstance(by_factor[3][0], NormByFactor)
    assert isinstance(by_factor[2], FrozenBatchNorm2d)
    assert [n for n in by_factor.state_dict() if n.startswith("3.")] == [
        f"3.0.by_factor.{factor}.{name}" for factor in ("1", "3/2") for name in ("weight", "bias")
    ]


def test_each_factor_has_its_own_statistics_and_gradients():
    norm = NormByFactor(nn.BatchNorm2d(2), FACTORS)
    norm.factor = Fraction(3, 2)
    x = 5 + torch.rand(4, 2, 3, 3)
    norm(x).square().sum().backward()
    mine, other = norm.by_factor["3/2"], norm.by_factor["1"]
    torch.testing.assert_close(mine.running_mean, 0.1 * x.mean(dim=(0, 2, 3)))
    assert mine.weight.grad.abs().sum() > 0 and other.weight.grad is None
    assert torch.equal(other.running_mean, torch.zeros(2))


def test_weights_of_the_plain_network_fill_every_copy_and_can_be_extracted():
    plain, by_factor = filled(network()), network()
    norms_by_factor(by_factor, FACTORS)
    by_factor.load_state_dict(plain.state_dict())
    x = torch.rand(2, 3, 4, 4)
    for factor in FACTORS:
        for module in by_factor.modules():
            if isinstance(module, NormByFactor):
                module.factor = factor
        assert torch.equal(by_factor.eval()(x), plain.eval()(x))
        out = weights_for_factor(by_factor.state_dict(), str(factor))
        assert out.keys() == plain.state_dict().keys()
        assert all(torch.equal(out[name], tensor) for name, tensor in plain.state_dict().items())
    again = network()
    norms_by_factor(again, FACTORS)
    again.load_state_dict(by_factor.state_dict())  # its own names, strictly


def test_weights_without_such_norms_take_no_factor_and_others_need_a_known_one():
    plain, by_factor = network(), network()
    norms_by_factor(by_factor, FACTORS)
    assert weights_for_factor(plain.state_dict(), None).keys() == plain.state_dict().keys()
    with pytest.raises(ValueError, match=r"factor 7: .* leave it out \(--factor\)"):
        weights_for_factor(plain.state_dict(), "7")
    for wrong in (None, "2"):
        with pytest.raises(ValueError, match=f"factor {wrong}: .* 1, 3/2: name one"):
            weights_for_factor(by_factor.state_dict(), wrong)
