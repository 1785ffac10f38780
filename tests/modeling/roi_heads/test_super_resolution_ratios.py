"""Super-resolution by a ratio chosen for each proposal: choice, routes, turns and gradients."""

from collections import defaultdict
from contextlib import nullcontext

import lowres_d2  # noqa: F401
from lowres_d2.modeling.meta_arch import SuperResolvedRCNN
from lowres_d2.modeling.resample import Bicubic

import pytest
import torch
from detectron2.structures import Boxes
from detectron2.utils.events import EventStorage

from toys.detectors import CHANNELS, DETECTORS
from toys.super_resolution import (
    KINDS,
    awaken,
    freeze_all_but,
    needs_no_run,
    super_resolution,
    super_resolved,
    training_inputs,
)

SR = "roi_heads.super_resolution."
# Ratios of squares by their sides, where 24 px is the threshold.
SIDES_BY_RATIO = {(2,): {24: 1, 23.9: 2, 12: 2, 1: 2}, (4,): {24: 1, 23.9: 4, 1: 4}}
SIDES_BY_RATIO[2, 4] = {99: 1, 24: 1, 23.9: 2, 12: 2, 11.9: 4, 6: 4, 5.9: 4, 0: 4}
SIDES_BY_RATIO[2, 3, 8] = {24: 1, 23.9: 2, 12: 2, 11.9: 3, 8: 3, 7.9: 8, 2: 8}


def squares(*sides, at=0.0):
    return Boxes(torch.tensor([[at, at, at + side, at + side] for side in sides]).view(-1, 4))


@pytest.mark.parametrize("ratios", SIDES_BY_RATIO)
def test_the_smallest_ratio_that_reaches_the_threshold_else_the_largest(ratios):
    rules = super_resolution("faster_rcnn_fpn", ratios=ratios)
    sides = SIDES_BY_RATIO[ratios]
    boxes = [squares(*sides), squares()]
    found = rules.ratio_of(boxes)
    assert [r.tolist() for r in found] == [list(sides.values()), []]
    assert [s.tolist() for s in rules.is_small(boxes)] == [(r > 1).tolist() for r in found]


def test_a_region_trains_the_ratios_that_it_has_once_downsampled():
    rules = super_resolution("faster_rcnn_fpn", ratios=(2, 4))  # 24 px; targets from 12 px on
    boxes = [squares(11.9, 12, 23.9, 24, 47.9, 48, 200)]
    pairs = {ratio: rules.is_pair(boxes, ratio)[0].tolist() for ratio in (2, 4)}
    # Half of 24 to 48 px is 12 to 24 px; a quarter of less than 48 px, less than 12 px.
    assert pairs[2] == [False, False, False, True, True, False, False]
    assert pairs[4] == [False, True, True, True, True, False, False]
    assert [k.tolist() for k in rules.draw_pairs(boxes, 4)] == [[1, 2, 3, 4]]


def test_each_ratio_has_players_of_its_own_that_start_alike():
    rules = super_resolution("faster_rcnn_fpn", ratios=(2, 4))
    for players in (rules.generators, rules.discriminators):
        assert list(players) == ["2", "4"]
        first, second = (list(player.parameters()) for player in players.values())
        for a, b in zip(first, second, strict=True):
            assert torch.equal(a, b) and a.data_ptr() != b.data_ptr()
    base = torch.rand(2, CHANNELS, 4, 4)
    features = {"p2": torch.rand(1, CHANNELS, 10, 10)}
    assert torch.equal(rules(base, features, [squares(20, 5)]), base)
    assert super_resolution("faster_rcnn_fpn", "none", ratios=(2, 4)).discriminators is None


@pytest.mark.parametrize(
    "sides",
    [
        ([20, 5, 13, 11, 23], [6, 15]),
        ([5, 20], []),
        ([20, 13], [15]),  # of 2 alone
        ([], [5]),  # of 4 alone
        ([], []),
    ],
)
@torch.no_grad()
def test_a_region_goes_through_its_ratios_generator_as_if_alone(sides):
    torch.manual_seed(0)
    rules = super_resolution("faster_rcnn_fpn", ratios=(2, 4))
    awaken(rules.generators)
    maps = torch.rand(2, CHANNELS, 12, 12)
    base = torch.rand(sum(map(len, sides)), CHANNELS, 4, 4)
    found = rules(base, {"p2": maps}, [squares(*of, at=3.0) for of in sides])
    expected = [base[:0]]
    for image, of in enumerate(sides):
        for side in of:
            region = base[len(expected) - 1][None]
            sub = rules.sub_pooler([maps[image][None]], [squares(side, at=3.0)])
            expected.append(rules.generators["2" if side >= 12 else "4"](region, sub))
    torch.testing.assert_close(found, torch.cat(expected))


def test_ratios_take_turns_after_both_players_had_theirs():
    rules = super_resolution("faster_rcnn_fpn", discriminator_period=3, ratios=(2, 4))
    features = torch.rand(2, CHANNELS, 4, 4, requires_grad=True)

    def turn(iteration):
        with EventStorage(iteration):
            (ratio,) = rules.taught_ratios
            losses = rules.losses(features, features.detach() + 1, ratio)
        sum(losses.values()).backward()
        learned = {
            name.split(".")[0]
            for name, p in rules.discriminators.named_parameters()
            if p.grad is not None
        }
        rules.zero_grad()
        assert learned == ({str(ratio)} if "loss_discriminator" in losses else set())
        return "D" * bool(learned) + "G" * ("loss_generator" in losses) + str(ratio)

    turns = ["D2", "G2", "G2", "D4", "G4", "G4"] * 2
    # The iteration alone decides, wherever a run starts.
    assert {k: turn(k) for k in reversed(range(12))} == dict(enumerate(turns))
    assert rules.taught_ratios == (2, 4)


def reached_by(model, losses):
    """Names of the trainable parameters that get gradients from these losses."""
    named = dict(model.named_parameters())
    trained = [name for name, p in named.items() if p.requires_grad]
    gradients = torch.autograd.grad(
        sum(losses), [named[name] for name in trained], allow_unused=True, retain_graph=True
    )
    return {n for n, g in zip(trained, gradients, strict=True) if g is not None and g.any()}


@pytest.mark.parametrize("name", KINDS)
def test_an_iteration_reaches_the_player_and_the_ratio_whose_turn_it_is(name):
    torch.manual_seed(0)
    model = super_resolved(name, ratios=(2, 4))
    awaken(model.roi_heads.super_resolution)
    model.backbone.eval()
    trained = freeze_all_but(model, SR, "roi_heads.small_")
    players = defaultdict(set)
    for parameter in trained:
        player, ratio = parameter.removeprefix(SR).split(".")[:2]
        key = (player, ratio) if parameter.startswith(SR) else "small"
        players[key].add(parameter)
    losses = {}
    for iteration in range(4):
        torch.manual_seed(1)
        with EventStorage(iteration):
            losses[iteration] = model(training_inputs())
    for iteration, ratio in ((0, "2"), (2, "4")):
        assert set(losses[iteration]) == {"loss_discriminator"}
        reached = reached_by(model, losses[iteration].values())
        assert reached == players["discriminators", ratio]
    both = players["generators", "2"] | players["generators", "4"]
    of_small = {key for key in losses[1] if "_small" in key}
    for iteration, ratio in ((1, "2"), (3, "4")):
        found, taught = losses[iteration], players["generators", ratio]
        assert set(found) == of_small | {"loss_content", "loss_generator"}
        assert reached_by(model, [found["loss_content"]]) == taught
        assert reached_by(model, [found["loss_generator"]]) == taught
        # Regions of both ratios are among the small predictor's.
        assert reached_by(model, [found[key] for key in of_small]) == players["small"] | both


@needs_no_run
@pytest.mark.parametrize("name", KINDS)
def test_outside_a_run_all_ratios_train_at_once_by_the_means_of_their_losses(name):
    torch.manual_seed(0)
    model = super_resolved(name, ratios=(2, 4))
    awaken(model.roi_heads.super_resolution)
    model.backbone.eval()
    trained = freeze_all_but(model, SR, "roi_heads.small_")
    losses = {}
    for iteration in (0, 1, 2, 3, None):
        torch.manual_seed(1)
        with nullcontext() if iteration is None else EventStorage(iteration):
            losses[iteration] = model(training_inputs())
    assert reached_by(model, losses[None].values()) == trained
    for player, key in (
        ("generators", "loss_content"),
        ("generators", "loss_generator"),
        ("discriminators", "loss_discriminator"),
    ):
        of_player = {name for name in trained if name.startswith(SR + player)}
        assert reached_by(model, [losses[None][key]]) == of_player
    for key, turns in {
        "loss_content": (1, 3),
        "loss_generator": (1, 3),
        "loss_discriminator": (0, 2),
    }.items():
        first, second = (losses[k][key] for k in turns)
        assert first.item() > 0 and not torch.isclose(first, second)
        torch.testing.assert_close(losses[None][key], (first + second) / 2)


@torch.no_grad()
def test_a_ratio_follows_its_own_twin_or_naively_the_backbone():
    model, naive = (super_resolved("faster_rcnn_c4", s, ratios=(2, 4)) for s in ("atrous", "naive"))
    assert {ratio: twin.ratio for ratio, twin in model._twins.items()} == {2: 2, 4: 4}
    assert naive._twins == {}
    model.eval()
    images = model.preprocess_image(training_inputs())
    own = model.backbone(images.tensor)
    by_ratio = [model.target_features(images, own, ratio)["res4"] for ratio in (2, 4)]
    assert by_ratio[0].shape == by_ratio[1].shape == own["res4"].shape
    assert not torch.allclose(*by_ratio)
    assert naive.target_features(images, own, 4) is own
    # 96 x 128 and 101 x 90 px become 24 x 32 and 26 x 23 px; the stride is 16.
    assert model.low_res_features(training_inputs(), 4)["res4"].shape == (2, 20, 2, 2)


@pytest.mark.parametrize("name", KINDS)
def test_a_downsampler_is_for_its_ratio_alone(name):
    def with_downsampler(factor, ratios):
        return DETECTORS[name](
            kind=lambda **kwargs: SuperResolvedRCNN(downsampler=Bicubic(factor), **kwargs),
            heads_kind=KINDS[name],
            super_resolution=super_resolution(name, ratios=ratios),
        )

    assert with_downsampler(3, (3,)).downsamplers["3"].factor == 3
    for factor, ratios in ((2, (2, 4)), (4, (2,)), ("3/2", (2,))):
        message = rf"factor is {factor}, super_resolution.ratios is \[{ratios[0]}"
        with pytest.raises(ValueError, match=message):
            with_downsampler(factor, ratios)
