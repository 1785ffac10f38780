"""One checkpoint, any factor: shared weights, norms by factor, and the factor in use."""

import copy
from collections import Counter
from fractions import Fraction

from lowres_d2.layers.norm_by_factor import NormByFactor, weights_for_factor
from lowres_d2.modeling import LowResDetector
from lowres_d2.modeling.meta_arch import AnyFactorDetector, AtFactor
from lowres_d2.modeling.objectives import MomentMatching
from lowres_d2.modeling.resample import AnyFactor, Bicubic, Identity, LearnedDownsampler

import pytest
import torch
from detectron2.utils.events import EventStorage

from toys.deformable_detr import SMALL, deformable_detr
from toys.detectors import DETECTORS, random_image, training_input

KINDS = {**DETECTORS, "deformable_detr": lambda: deformable_detr(SMALL)}
FACTORS = ("1", "3/2", "2", "4")


def resamplers(shares=None):
    parts = [Identity(), Bicubic("3/2"), LearnedDownsampler(2), Bicubic(4)]
    return AnyFactor(parts, factor=4, shares=shares)


def any_factor(kind="fcos", **kwargs):
    torch.manual_seed(0)
    return AnyFactorDetector(KINDS[kind](), resamplers(), **kwargs)


def make_norms_differ(model):
    """Different affine weights for each factor, as after training."""
    generator = torch.Generator().manual_seed(1)
    for module in model.modules():
        if isinstance(module, NormByFactor):
            for norm in module.by_factor.values():
                if norm.weight is not None:
                    norm.weight.data *= 1 + 0.2 * torch.rand(norm.weight.shape, generator=generator)


def found(outputs):
    instances = outputs[0]["instances"]
    return instances.pred_boxes.tensor, instances.scores


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
def test_at_each_factor_it_equals_the_plain_detector_with_that_factors_weights(kind):
    model = any_factor(kind).eval()
    make_norms_differ(model)
    inputs = [{"image": random_image(291, 349), "height": 211, "width": 307}]
    results = []
    for factor in FACTORS:
        state = weights_for_factor(model.detector.state_dict(), factor)
        plain = KINDS[kind]()
        plain.load_state_dict(state)
        expected = LowResDetector(plain, resamplers().by_factor[factor]).eval()(inputs)
        results.append(found(AtFactor(model, factor)(inputs)))
        for ours, theirs in zip(results[-1], found(expected), strict=True):
            assert len(theirs) > 0 and torch.equal(ours, theirs)
    assert not torch.equal(results[0][0][:5], results[3][0][:5])


def test_an_iteration_trains_the_shared_weights_and_the_norms_of_its_factor():
    model = any_factor(objectives=[MomentMatching()]).train()
    with EventStorage(0):
        sum(model([training_input(199, 256)]).values()).backward()
    drawn = str(model.resampler.factor)
    learned = {name for name, p in model.named_parameters() if p.grad is not None}
    of_norms = {name for name, _ in model.named_parameters() if ".by_factor." in name}
    of_norms -= {name for name in of_norms if name.startswith("resampler")}
    own = {name for name in of_norms if f".by_factor.{drawn}." in name}
    assert own and learned & of_norms == own
    shared = {name for name, _ in model.named_parameters() if name.startswith("detector")}
    assert shared - of_norms <= learned
    counted = [b.item() for n, b in model.named_buffers() if "num_batches_tracked" in n]
    assert sum(counted) == len(counted) // len(FACTORS)


def test_the_factor_depends_only_on_the_iteration_and_all_are_drawn_equally_often():
    model = any_factor().train()
    draws = []
    for _ in range(2):
        torch.manual_seed(len(draws))
        draws.append([])
        for iteration in range(400):
            with EventStorage(iteration):
                draws[-1].append(model._drawn_factor())
    assert draws[0] == draws[1]
    counts = Counter(map(str, draws[0]))
    assert set(counts) == set(FACTORS) and min(counts.values()) > 75
    assert {str(model._drawn_factor()) for _ in range(60)} == set(FACTORS)  # outside a run


def test_shares_are_the_frequencies_of_the_factors():
    model = AnyFactorDetector(KINDS["fcos"](), resamplers(shares=[1, 1, 2, 6])).train()
    draws = Counter()
    for iteration in range(1000):
        with EventStorage(iteration):
            draws[str(model._drawn_factor())] += 1
    expected = {"1": 100, "3/2": 100, "2": 200, "4": 600}
    assert all(abs(draws[factor] - number) < 45 for factor, number in expected.items())


def test_while_the_detector_is_frozen_only_trainable_resamplers_are_drawn():
    model = any_factor(objectives=[MomentMatching()]).train()
    model.detector.requires_grad_(False)
    for iteration in range(8):
        with EventStorage(iteration):
            assert model._drawn_factor() == 2
    model.loss_terms.active = ["moments"]
    with EventStorage(0):
        sum(model([training_input(64, 64)]).values()).backward()
    assert all(p.grad is not None for p in model.resampler.parameters())


@torch.no_grad()
def test_evaluation_uses_the_recipes_factor_whatever_was_drawn():
    model = any_factor().train()
    model.use_factor("3/2")
    inputs = [{"image": random_image(64, 64)}]
    model.eval()(inputs)
    assert model.resampler.factor == 4
    assert all(n.factor == 4 for n in model.modules() if isinstance(n, NormByFactor))
    other = copy.deepcopy(model)
    other.use_factor(1)
    assert model.resampler.factor == 4 and model._norms[0].factor == 4
    assert other._norms[0] in list(other.modules()) and other._norms[0].factor == 1


def test_unknown_or_duplicate_factors_are_refused():
    with pytest.raises(ValueError, match="factor=3: expected one of 1, 3/2, 2, 4"):
        AtFactor(any_factor(), 3)
    with pytest.raises(ValueError, match="factor=3: expected one of 1, 2"):
        AnyFactor([Identity(), Bicubic(2)], factor=3)
    with pytest.raises(ValueError, match="2, 2: each needs a factor of its own"):
        AnyFactor([Bicubic(2), LearnedDownsampler(2)], factor=2)
    for shares in ([1, 2], [1, 1, 0, 1]):
        with pytest.raises(ValueError, match=r"shares=.*expected 4 positive numbers"):
            resamplers(shares)
    assert AnyFactor([Bicubic("3/2")], factor=1.5).factor == Fraction(3, 2)
