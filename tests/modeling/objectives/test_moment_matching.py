from fractions import Fraction

import lowres_d2  # noqa: F401
from lowres_d2.modeling.objectives import MomentMatching
from lowres_d2.structures import ObjectiveContext

import numpy as np
import pytest
import torch


def context(images, low_res):
    return ObjectiveContext(
        images=images,
        low_res_images=low_res,
        ground_truth=[None] * len(images),
        factor=Fraction(4),
        student_taps={},
        teacher_taps={},
    )


def random_context():
    generator = torch.Generator().manual_seed(0)
    images = [
        torch.rand(3, 16, 24, generator=generator),
        torch.rand(3, 8, 8, generator=generator),
    ]
    low_res = [torch.rand(3, 4, 6, generator=generator), torch.rand(3, 2, 2, generator=generator)]
    return context(images, low_res)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize(("spread", "moment"), [("std", np.std), ("variance", np.var)])
def test_equals_equation_5_in_numpy(spread, moment, reduction):
    objective = MomentMatching(spread_weight=0.1, spread=spread, reduction=reduction)
    found = objective(random_context())
    over_channels = getattr(np, reduction)
    pairs = list(zip(random_context().images, random_context().low_res_images, strict=True))
    mean = np.mean(
        [over_channels((p.numpy().mean((1, 2)) - q.numpy().mean((1, 2))) ** 2) for p, q in pairs]
    )
    second = np.mean(
        [
            over_channels((moment(p.numpy(), (1, 2)) - moment(q.numpy(), (1, 2))) ** 2)
            for p, q in pairs
        ]
    )
    assert found["mean"].item() == pytest.approx(mean, rel=1e-4)
    assert found["spread"].item() == pytest.approx(0.1 * second, rel=1e-4)


def test_channels_beyond_the_colours_are_free():
    colours = random_context()
    wide = [torch.cat([low, 1 + torch.rand(4, *low.shape[1:])]) for low in colours.low_res_images]
    assert MomentMatching()(context(colours.images, wide)) == MomentMatching()(colours)


def test_an_image_and_itself_differ_by_nothing():
    images = random_context().images
    assert all(v.item() == 0 for v in MomentMatching()(context(images, images)).values())


def test_flat_images_have_finite_gradients():
    low_res = torch.full((3, 4, 4), 0.2, requires_grad=True)
    sum(MomentMatching()(context([torch.full((3, 8, 8), 0.5)], [low_res])).values()).backward()
    # Twice the difference of means, spread over the 16 pixels; the mean over 3 channels.
    torch.testing.assert_close(low_res.grad, torch.full((3, 4, 4), 2 * -0.3 / 16 / 3))


def test_batch_is_the_mean_of_its_images():
    both = random_context()
    alone = [
        MomentMatching()(context([p], [q]))
        for p, q in zip(both.images, both.low_res_images, strict=True)
    ]
    for name, value in MomentMatching()(both).items():
        torch.testing.assert_close(value, (alone[0][name] + alone[1][name]) / 2)


def test_an_unknown_reduction_is_refused():
    with pytest.raises(ValueError, match="expected 'mean' or 'sum'"):
        MomentMatching(reduction="max")


def test_an_unknown_spread_is_refused():
    with pytest.raises(ValueError, match="expected 'std' or 'variance'"):
        MomentMatching(spread="range")


def test_a_negative_weight_is_refused():
    with pytest.raises(ValueError, match=r"spread_weight=-0\.1: expected a number, 0 or more"):
        MomentMatching(spread_weight=-0.1)
