"""Weights of runs at another resolution than they are used at."""

import lowres_d2  # noqa: F401
from lowres_d2.engine.identity import recipe_text
from lowres_d2.engine.startup.resolution import other_low_res_warning, other_resampler_warning
from lowres_d2.modeling import LowResDetector
from lowres_d2.modeling.meta_arch import SuperResolver
from lowres_d2.modeling.resample import (
    AnyFactor,
    Bicubic,
    Downsampled,
    DownUp,
    Identity,
    LearnedDownsampler,
    SuperResolved,
)
from lowres_d2.modeling.super_resolution import ESPCN
from lowres_d2.modeling.teacher import Teacher
from lowres_d2.modeling.weights import LoadReport

import pytest
from detectron2.config import LazyCall as L
from omegaconf import OmegaConf
from torch import nn

from toys.labelled import LabelledToys


def recipe(resampler=None):
    """A recipe of a composition with this resampler; None: of a bare detector."""
    detector = L(nn.Identity)()
    if resampler is None:
        return OmegaConf.create({"model": detector})
    return OmegaConf.create({"model": L(LowResDetector)(detector=detector, resampler=resampler)})


def trained(cfg):
    """The report of weights of a run with this recipe."""
    return LoadReport("run/model_final.pth", 1, recipe=recipe_text(cfg))


SAME = [
    (L(Identity)(), L(Identity)()),
    (None, L(Identity)()),
    (L(DownUp)(factor=4), L(DownUp)(factor=4.0, interpolation="bicubic")),
    (L(Bicubic)(factor="3/2"), L(Downsampled)(factor=1.5)),
    (L(LearnedDownsampler)(), L(LearnedDownsampler)(factor=4, layers=2)),
    (L(AnyFactor)(resamplers=[], factor=2), L(AnyFactor)(resamplers=[], factor=4)),
]
OTHER = [
    (L(DownUp)(factor=4), L(DownUp)(factor=2)),
    (L(DownUp)(factor=4), L(DownUp)(factor=4, interpolation="box")),
    (L(DownUp)(factor=4), L(Bicubic)(factor=4)),
    (L(Bicubic)(factor=4), L(Identity)()),
    (None, L(DownUp)(factor=2)),
    (L(LearnedDownsampler)(factor=2), L(LearnedDownsampler)()),
]


@pytest.mark.parametrize(("theirs", "ours"), SAME)
def test_the_same_resampler_is_not_warned_of(theirs, ours):
    for a, b in ((theirs, ours), (ours, theirs)):
        assert other_resampler_warning(recipe(a), "model", trained(recipe(b)), "this") == ""


@pytest.mark.parametrize(("theirs", "ours"), OTHER)
def test_another_resampler_is_warned_of(theirs, ours):
    for a, b in ((theirs, ours), (ours, theirs)):
        warning = other_resampler_warning(recipe(a), "model", trained(recipe(b)), "this")
        assert warning.startswith("run/model_final.pth was trained with the resampler ")


def test_a_teacher_of_low_resolution_is_warned_of():
    cfg = recipe(L(DownUp)(factor=4))
    cfg.model.teacher = L(Teacher)(model="${..detector}", checkpoint="run")
    key, who = "model.teacher.model", "the teacher here"
    assert other_resampler_warning(cfg, key, trained(recipe(L(Identity)())), who) == ""
    assert other_resampler_warning(cfg, key, trained(recipe(L(DownUp)(factor=4))), who) == (
        "run/model_final.pth was trained with the resampler DownUp(factor=4, "
        "interpolation=bicubic), the teacher here gets images of full resolution: give weights of "
        "a run at that resolution, unless this is intended"
    )


@pytest.mark.parametrize("saved", ["", "a: [", "[1]", "model: '${nowhere}'", "model: 3", "x: 1"])
def test_files_that_do_not_say_their_resolution_are_not_warned_of(saved):
    report = LoadReport("w.pth", 1, recipe=saved)
    assert other_resampler_warning(recipe(L(DownUp)(factor=2)), "model", report, "this") == ""
    module = SuperResolved(ESPCN(), None)
    module.report = report
    assert other_low_res_warning(recipe(), module) == ""


def super_resolved(trained_with, **arguments):
    """A network's resampler whose weights are of a run with such a ``SuperResolver``."""
    cfg = recipe(L(Identity)())
    cfg.model.detector = L(SuperResolver)(network=L(ESPCN)(), **trained_with)
    cfg.dataloader = {"train": {"dataset": L(LabelledToys)()}}
    module = SuperResolved(ESPCN(), None, **arguments)
    module.report = trained(cfg)
    return module


def used_on(dataset):
    return OmegaConf.create(
        {"dataloader": {"train": {"dataset": dataset}}}, flags={"allow_objects": True}
    )


def test_a_super_resolution_network_is_warned_of_other_low_resolution():
    here = used_on(LabelledToys())
    assert other_low_res_warning(here, super_resolved({})) == ""
    assert other_low_res_warning(here, super_resolved({"low_factor": 4.0})) == ""
    warning = other_low_res_warning(here, super_resolved({}, low_factor=2))
    assert warning.startswith(
        "the super-resolution network of run/model_final.pth was trained with low_factor 4, here "
        "it gets 2: make them equal"
    )
    box = super_resolved({"interpolation": "box"}, low_factor=2)
    assert "low_factor 4, here it gets 2; interpolation box, here it gets bicubic" in (
        other_low_res_warning(here, box)
    )


def test_a_super_resolution_network_is_warned_of_other_data():
    class OtherImages(LabelledToys):
        pass

    warning = other_low_res_warning(used_on(OtherImages()), super_resolved({}))
    assert "trained with data LabelledToys, here it gets OtherImages" in warning
