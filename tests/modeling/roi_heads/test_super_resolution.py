"""Generator, discriminator, thresholds, alternation and losses of feature super-resolution."""

import math

from lowres_d2.modeling.roi_heads import SRDiscriminator, SRGenerator
from lowres_d2.modeling.super_resolution.adversarial import adversarial_loss, discriminator_loss

import numpy as np
import pytest
import torch
from detectron2.structures import Boxes
from detectron2.utils.events import EventStorage

from operator_case import without_shape_checks
from toys.super_resolution import awaken, super_resolution


@pytest.fixture
def regions():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(5, 6, 4, 4, generator=generator), torch.randn(
        5, 3, 4, 4, generator=generator
    )


@pytest.mark.parametrize("bottleneck", [None, 4])
def test_an_untrained_generator_gives_its_base_features(regions, bottleneck):
    generator = SRGenerator(6, 3, num_blocks=3, bottleneck_channels=bottleneck)
    assert torch.equal(generator(*regions), regions[0])
    awaken(generator)
    assert not torch.allclose(generator(*regions), regions[0], atol=0.01)


@pytest.mark.parametrize("bottleneck", [None, 4])
def test_generator_sees_both_layers_and_each_region_alone(regions, bottleneck):
    generator = SRGenerator(6, 3, bottleneck_channels=bottleneck)
    awaken(generator)
    base, sub = (x.requires_grad_() for x in regions)
    found = generator(base, sub)
    assert found.shape == base.shape
    alone = torch.cat([generator(base[k : k + 1], sub[k : k + 1]) for k in range(5)])
    torch.testing.assert_close(found, alone)
    gradients = torch.autograd.grad(found[2].sum(), (base, sub))
    for gradient in gradients:
        touched = gradient.flatten(1).abs().sum(1) > 0
        assert touched.tolist() == [False, False, True, False, False]
    assert generator(base[:0], sub[:0]).shape == (0, 6, 4, 4)


def test_generator_has_two_convolutions_a_block():
    wide, narrow = SRGenerator(6, 3, 3), SRGenerator(6, 3, 3, bottleneck_channels=4)
    assert sum(p.numel() for p in wide.parameters()) == 3 * 2 * (9 * 9 * 9 + 9)
    each = (9 * 4 + 4) + (9 * 4 * 4 + 4) + (4 * 9 + 9)
    assert sum(p.numel() for p in narrow.parameters()) == 3 * each
    with pytest.raises(ValueError, match="num_blocks=0"):
        SRGenerator(6, 3, 0)


def test_losses_of_both_players_are_those_of_the_paper(regions):
    discriminator = SRDiscriminator(6, hidden=5, grid=2)
    awaken(discriminator)
    targets, generated = regions[0], regions[0].flip(0) * 2
    with torch.no_grad():
        right = 1 / (1 + np.exp(-discriminator(targets).double().numpy()))  # D(target)
        wrong = 1 / (1 + np.exp(-discriminator(generated).double().numpy()))  # D(generated)
    eq5 = -np.log(wrong).mean()
    eq6 = -(np.log(right) + np.log(1 - wrong)).mean()
    assert adversarial_loss(discriminator, generated).item() == pytest.approx(eq5, rel=1e-5)
    found = discriminator_loss(discriminator, targets, generated).item()
    assert found == pytest.approx(eq6, rel=1e-5)


def test_each_players_loss_reaches_that_player_alone(regions):
    discriminator = SRDiscriminator(6, hidden=5)
    targets, generated = (x.clone().requires_grad_() for x in (regions[0], regions[0] + 1))
    adversarial_loss(discriminator, generated).backward()
    assert generated.grad.abs().sum() > 0
    assert all(p.grad is None for p in discriminator.parameters())
    generated.grad = None
    discriminator_loss(discriminator, targets, generated).backward()
    assert generated.grad is None and targets.grad is None
    assert all(p.grad is not None for p in discriminator.parameters())


def test_losses_stay_finite_for_huge_inputs_and_under_autocast(regions):
    discriminator = SRDiscriminator(6, hidden=5)
    far = regions[0] * 1e6
    with torch.autocast("cpu", torch.bfloat16):
        logits = discriminator(far.bfloat16())
        assert logits.dtype == torch.float32
        losses = [
            adversarial_loss(discriminator, far),
            adversarial_loss(discriminator, -far),
            discriminator_loss(discriminator, far, -far),
        ]
    assert all(math.isfinite(x.item()) for x in losses)
    nothing = far[:0]
    assert adversarial_loss(discriminator, nothing).item() == 0
    assert discriminator_loss(discriminator, nothing, nothing).item() == 0


def boxes_of_sides(*sides):
    return Boxes(torch.tensor([[0.0, 0.0, side, side] for side in sides]))


def test_thresholds_are_areas_in_the_networks_input():
    # Small under 24 px; targets from 12 px on, and inputs of half the side under 24 px.
    rules = super_resolution("faster_rcnn_fpn")
    boxes = boxes_of_sides(6, 11.9, 12, 23.9, 24, 47.9, 48, 200)
    small, pair = rules.is_small([boxes])[0], rules.is_pair([boxes], 2)[0]
    assert small.tolist() == [True] * 4 + [False] * 4
    assert pair.tolist() == [False, False, True, True, True, True, False, False]


def test_at_most_max_pairs_regions_of_an_image_are_drawn_anew_each_time():
    rules = super_resolution("faster_rcnn_fpn", max_pairs=3)
    boxes = [boxes_of_sides(6, *[20] * 8), boxes_of_sides(200, 20, 30), boxes_of_sides(6, 6)]
    torch.manual_seed(0)
    draws = [rules.draw_pairs(boxes, 2) for _ in range(50)]
    assert all([len(k) for k in draw] == [3, 2, 0] for draw in draws)
    assert all(draw[0].tolist() == sorted(set(draw[0].tolist())) for draw in draws)
    assert set(torch.cat([draw[0] for draw in draws]).tolist()) == set(range(1, 9))
    assert all(draw[1].tolist() == [1, 2] for draw in draws)


def test_players_alternate_in_a_run_and_both_train_outside_one():
    rules = super_resolution("faster_rcnn_fpn", discriminator_period=3)
    targets = torch.rand(4, 16, 4, 4)
    generated = (targets + 0.5).requires_grad_()
    of_generator, of_discriminator = {"loss_content", "loss_generator"}, {"loss_discriminator"}
    found = []
    for iteration in range(6):
        with EventStorage(iteration):
            found.append(set(rules.losses(generated, targets, 2)))
    assert found == [of_discriminator, of_generator, of_generator] * 2
    assert set(
        super_resolution("faster_rcnn_fpn", content_loss=False).losses(generated, targets, 2)
    ) == {"loss_generator", "loss_discriminator"}
    losses = rules.losses(generated, targets, 2)  # outside one
    assert set(losses) == of_generator | of_discriminator
    assert losses["loss_content"].item() == pytest.approx(0.25)
    # Without a trainable discriminator the generator always trains; a frozen one is not taught.
    rules.discriminators.requires_grad_(False)
    with EventStorage(0):
        assert rules.is_generators_turn and not rules.is_discriminators_turn
    rules.generators.requires_grad_(False)
    assert not rules.is_taught


@pytest.mark.parametrize("ratios", [(2,), (3,), (2, 4), (2, 3, 8)])
def test_thresholds_that_are_accepted_leave_pairs_for_every_ratio(ratios):
    sides = torch.arange(1, 4000) / 20
    boxes = [boxes_of_sides(*sides.tolist())]
    for smallest in (1.0, 12.0, 24.0, 35.0, 40.0, 60.0, 80.0, 150.0, 191.0):
        try:
            rules = super_resolution("faster_rcnn_fpn", ratios=ratios, min_target_area=smallest**2)
            accepted = True
        except ValueError:
            rules, accepted = super_resolution("faster_rcnn_fpn", ratios=ratios), False
            rules.min_target_area = smallest**2
        found = [rules.is_pair(boxes, ratio)[0].any().item() for ratio in ratios]
        assert all(found) == accepted, (smallest, found)
    labels_alone = super_resolution("faster_rcnn_fpn", "none", min_target_area=1e9)
    assert labels_alone.supervision == "none"


def test_one_target_for_several_regions_is_an_error():
    rules = super_resolution("faster_rcnn_fpn")
    regions = torch.rand(5, 16, 4, 4)
    for iteration in range(2):
        refused = pytest.raises(ValueError, match="expected the same regions")
        with EventStorage(iteration), without_shape_checks(), refused:
            rules.losses(regions, regions[:1], 2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(supervision="twin"), "supervision='twin'.*atrous, naive, none"),
        (dict(discriminator_period=1), "discriminator_period=1: expected 2 or more"),
        (dict(max_pairs=0), "max_pairs=0: expected 1 or more.*supervision='none'"),
        (dict(ratios=()), r"ratios=\[\]: expected ascending integers from 2 up"),
        (dict(ratios=(1, 2)), r"ratios=\[1, 2\]"),
        (dict(ratios=(4, 2)), r"ratios=\[4, 2\]"),
        (dict(ratios=(2, 2)), r"ratios=\[2, 2\]"),
        (dict(ratios=(2.0, 4)), r"ratios=\[2.0, 4\]"),
        (dict(max_area=-1.0), "max_area=-1.0: expected more than 0"),
        (dict(max_area=36.0), "no region trains ratio 2, .* expected min_target_area under 144"),
        # Ratio 4 has targets up to 48 px here, ratio 2 as well.
        (dict(min_target_area=48.0**2, ratios=(2, 4)), "no region trains ratio 2.*under 2304"),
        (dict(min_target_area=40.0**2, ratios=(3, 4)), "no region trains ratio 4.*under 1024"),
        (dict(min_target_area=float("nan")), "no region trains ratio 2"),
    ],
)
def test_invalid_settings_are_errors(changes, message):
    with pytest.raises(ValueError, match=message):
        super_resolution("faster_rcnn_fpn", **changes)
