"""Objectives: weights, switches, logging, and feature distillation at the same image points."""

from __future__ import annotations

from fractions import Fraction

from lowres_d2.modeling import LowResDetector
from lowres_d2.modeling.objectives import FeatureDistillation, FeaturePair, Objective
from lowres_d2.modeling.resample import Bicubic, Identity
from lowres_d2.modeling.teacher import Tap, Teacher
from lowres_d2.structures import ObjectiveContext, low_res_size

import pytest
import torch
import torch.nn.functional as F
from detectron2.config import LazyCall as L
from detectron2.config import instantiate
from detectron2.utils.events import EventStorage
from torch import nn

from toys.detectors import retinanet, training_input

RES3 = "backbone.bottom_up.res3"


class Counting(nn.Module):
    """A detector with two losses that counts its calls."""

    def __init__(self):
        super().__init__()
        self.body = nn.Conv2d(3, 1, 1)
        self.calls = 0

    def forward(self, inputs):
        self.calls += 1
        total = sum(self.body(x["image"]).sum() * 0 for x in inputs)
        return {"loss_cls": total + 2, "loss_box": total + 3}


class Brightness(Objective):
    """Reads images only."""

    def __init__(self, name="brightness"):
        super().__init__(name)
        self.scale = nn.Parameter(torch.ones(()))
        self.context = None

    def forward(self, context):
        self.context = context
        means = [low.mean() for low in context.low_res_images]
        return {"mean": self.scale * torch.stack(means).mean(), "one": self.scale * 1}


class Tapped(Objective):
    """Reads the detector."""

    def __init__(self):
        super().__init__("tapped")
        self.student_taps = (Tap("body"),)

    def forward(self, context):
        return {"size": torch.tensor(float(len(context.student_taps[Tap("body")])))}


def _model(**kwargs):
    return LowResDetector(Counting(), Bicubic(2), objectives=[Brightness(), Tapped()], **kwargs)


def test_losses_are_weighted_in_one_place_and_logged_raw():
    model = _model(loss_weights={"brightness/one": 5, "brightness": 0.5, "detector/loss_box": 2})
    with EventStorage() as storage:
        losses = model([training_input(16, 16), training_input(18, 12)])
    values = {name: round(value.item(), 5) for name, value in losses.items()}
    raw = {name: value for name, (value, _) in storage.latest().items()}
    mean = raw["[metric]brightness/mean"]
    assert values == {
        "loss_cls": 2,
        "loss_box": 6,
        "loss_brightness_mean": pytest.approx(mean / 2, abs=1e-5),
        "loss_brightness_one": 5,
        "loss_tapped_size": 2,
    }
    assert raw == {
        "[metric]brightness/mean": mean,
        "[metric]brightness/one": 1,
        "[metric]detector/loss_box": 3,
        "[metric]tapped/size": 2,
    }


def test_training_works_without_an_event_storage():
    assert _model(loss_weights={"*": 2})([training_input(16, 16)])["loss_cls"] == 4


def test_parameters_of_objectives_are_stored_under_their_names():
    model = _model()
    assert "objectives.brightness.scale" in model.state_dict()
    sum(model([training_input(16, 16)]).values()).backward()
    assert model.objectives["brightness"].scale.grad is not None


def test_the_context_is_in_the_full_resolution_frame():
    model = _model(min_box_size=1)
    inputs = [training_input(32, 40), training_input(33, 41, seed=1)]
    model(inputs)
    context = model.objectives["brightness"].context
    assert context.sizes == ((32, 40), (33, 41)) and context.factor == 2
    assert [tuple(low.shape) for low in context.low_res_images] == [(3, 16, 20), (3, 17, 21)]
    assert torch.equal(context.images[0], inputs[0]["image"].float() / 255)
    assert context.ground_truth[1].image_size == (33, 41)


def test_the_context_has_the_objects_that_the_detector_got():
    model = _model(min_box_size=4)
    (original,) = inputs = [training_input(32, 40)]
    original["instances"].gt_boxes.tensor[0] = torch.tensor([1.0, 1.0, 8.0, 30.0])
    model(inputs)
    truth = model.objectives["brightness"].context.ground_truth[0]
    assert 0 < len(truth) < 4 and 0 not in truth.gt_classes[:1].tolist()


@pytest.mark.parametrize(
    ("active", "expected", "calls"),
    [
        (["*"], ["loss_box", "loss_brightness_mean", "loss_brightness_one", "loss_cls",
                 "loss_tapped_size"], 1),
        (["brightness"], ["loss_brightness_mean", "loss_brightness_one"], 0),
        (["brightness/mean"], ["loss_brightness_mean"], 0),
        (["tapped/*"], ["loss_tapped_size"], 1),
        (["detector/loss_c*"], ["loss_cls"], 1),
        (["detector", "brightness/one"], ["loss_box", "loss_brightness_one", "loss_cls"], 1),
    ],
)  # fmt: skip
def test_a_stage_switches_losses_by_pattern(active, expected, calls):
    model = _model()
    model.loss_terms.active = active
    assert sorted(model([training_input(16, 16)])) == expected
    assert model.detector.calls == calls


@pytest.mark.parametrize("patterns", [["brightnes/mean"], ["loss_cls"], "detector"])
def test_a_pattern_that_can_fit_nothing_is_an_error(patterns):
    with pytest.raises(ValueError, match="loss pattern"):
        _model().loss_terms.active = patterns


def test_a_misspelt_weight_comes_with_the_nearest_group():
    with pytest.raises(ValueError, match=r"'brightnes/mean'.*nearest: brightness"):
        _model(loss_weights={"brightnes/mean": 1})


@pytest.mark.parametrize("weight", [-2, -1e-9, float("nan"), float("inf"), "2", True, None])
def test_a_weight_that_makes_no_loss_is_refused_by_its_key(weight):
    with pytest.raises(
        ValueError, match=r"^model\.loss_weights\.brightness=.* 0 or more"
    ) as caught:
        _model(loss_weights={"*/loss_cls": 0, "brightness": weight})
    assert "\n" not in str(caught.value)


def test_no_active_loss_is_an_error():
    model = _model()
    model.loss_terms.active = ["detector/loss_mask"]
    with pytest.raises(ValueError, match=r"no loss is active.*detector/loss_cls"):
        model([training_input(16, 16)])


@pytest.mark.parametrize(
    "objectives", [[Brightness(), Brightness()], [Brightness("detector")]], ids=["same", "taken"]
)
def test_objective_names_are_unique(objectives):
    with pytest.raises(ValueError, match="each needs a `name` of its own"):
        LowResDetector(Counting(), Identity(), objectives=objectives)


def test_an_objective_name_is_an_identifier():
    with pytest.raises(ValueError, match=r"'a\.b'"):
        Brightness("a.b")


def _ramp(size, scale=1.0):
    """Plane a + b x + c y over pixel centres, in full-resolution coordinates."""
    rows, columns = ((torch.arange(side, dtype=torch.float64) + 0.5) * scale for side in size)
    return torch.stack([columns.expand(size), rows[:, None].expand(size), rows[:, None] + columns])


def _averaged(image, stride, canvas):
    """Features of two averaging 3x3 convolutions padded by 1, with 1e6 in the batch's padding.

    Their padding continues the ramp, which zeros would break at the borders.
    """
    extended = F.pad(image[None], (2, 2, 2, 2))
    for dim in (-1, -2):
        side = extended.shape[dim]
        first, second = (extended.narrow(dim, i, 1) for i in (2, 3))
        last, before = (extended.narrow(dim, side - i, 1) for i in (3, 4))
        for step in (1, 2):
            extended.narrow(dim, 2 - step, 1).copy_(first + (first - second) * step)
            extended.narrow(dim, side - 3 + step, 1).copy_(last + (last - before) * step)
    # A 3x3 average of stride s1 and another of stride s2: the centre of cell k is pixel s1 s2 k.
    features = F.avg_pool2d(F.avg_pool2d(extended, 3, 1), 3, stride)
    full = torch.full((1, 3, *canvas), 1e6, dtype=torch.float64)
    full[..., : features.shape[-2], : features.shape[-1]] = features
    return full


@pytest.mark.parametrize("factor", ["2", "3", "4", "3/2"])
@pytest.mark.parametrize(("stride", "teacher_stride"), [(2, 4), (4, 4), (4, 8)])
def test_a_linear_ramp_through_averaging_convolutions_has_no_error(factor, stride, teacher_stride):
    factor = Fraction(factor)
    sizes = [(101, 133), (97, 64), (128, 128)]
    pair = FeaturePair("s", stride, "t", teacher_stride)
    objective = FeatureDistillation([pair])
    low_sizes = [low_res_size(size, factor) for size in sizes]
    student = [_averaged(_ramp(s, float(factor)), stride, (72, 96)) for s in low_sizes]
    teacher = [_averaged(_ramp(s), teacher_stride, (64, 64)) for s in sizes]
    context = ObjectiveContext(
        images=[torch.empty(3, *size) for size in sizes],
        low_res_images=[torch.empty(3, *size) for size in low_sizes],
        ground_truth=[],
        factor=factor,
        student_taps={objective.student_taps[0]: [torch.cat(student)]},
        teacher_taps={objective.teacher_taps[0]: [torch.cat(teacher)]},
    )
    assert objective(context)["s"] < 1e-8  # coordinates up to 266, in float32
    if factor > 2:
        stretched = FeatureDistillation([pair], alignment="interpolate")
        assert stretched(context)["s"] > 1


def test_layers_are_averaged_as_in_equation_8():
    generator = torch.Generator().manual_seed(0)
    shapes = {"a": (2, 4, 8, 8), "b": (2, 6, 4, 4)}
    ours, theirs = (
        {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
        for _ in range(2)
    )
    pairs = [FeaturePair("a", 4), FeaturePair("b", 8)]

    def losses(**arguments):
        objective = FeatureDistillation(pairs, **arguments)
        context = ObjectiveContext(
            images=[torch.zeros(3, 32, 32)] * 2,
            low_res_images=[torch.zeros(3, 32, 32)] * 2,
            ground_truth=[],
            factor=Fraction(1),
            student_taps={tap: [ours[tap.path]] for tap in objective.student_taps},
            teacher_taps={tap: [theirs[tap.path]] for tap in objective.teacher_taps},
        )
        return {name: loss.item() for name, loss in objective(context).items()}

    # Eq. 8: 1 / (L C H W), for each image; here also the mean over images.
    layers = {name: ((ours[name] - theirs[name]).numpy() ** 2).mean() for name in shapes}
    assert losses() == pytest.approx({name: value / 2 for name, value in layers.items()}, rel=1e-5)
    assert losses(reduction="sum") == pytest.approx(layers, rel=1e-5)
    with pytest.raises(ValueError, match="expected 'mean' or 'sum'"):
        losses(reduction="max")


def _distilled(pair, detector=None, **kwargs):
    torch.manual_seed(0)
    detector = detector or retinanet()
    objective = FeatureDistillation([pair], **kwargs)
    return LowResDetector(detector, Identity(), Teacher(retinanet()), [objective])


def test_a_student_equal_to_its_teacher_has_no_feature_loss():
    model = _distilled(FeaturePair(RES3, 8))
    model.teacher.model.load_state_dict(model.detector.state_dict())
    model.train()
    for module in model.detector.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()  # the teacher's are
    with EventStorage():
        losses = model([training_input(64, 80), training_input(49, 57)])
    assert losses["loss_feature_res3"] == 0


def test_feature_loss_of_one_image_equals_the_formula():
    model = _distilled(FeaturePair(RES3, 8), name="kd")
    with EventStorage():
        loss = model([training_input(64, 64)])["loss_kd_res3"]
    recorded = {}
    for who, network in (("student", model.detector), ("teacher", model.teacher.model)):
        images = network.preprocess_image([training_input(64, 64)]).tensor
        recorded[who] = network.backbone.bottom_up(images)["res3"]
    torch.testing.assert_close(loss, F.mse_loss(recorded["student"], recorded["teacher"]))


def test_an_adapter_bridges_different_channels_and_is_trained():
    pair = FeaturePair(RES3, 8, "backbone.bottom_up.res4", 16, channels=(16, 20))
    model = _distilled(FeaturePair(RES3, 8, "backbone.bottom_up.res4", 16))
    with pytest.raises(ValueError, match="differ in channels"), EventStorage():
        model([training_input(64, 64)])
    model = _distilled(pair)
    with EventStorage():
        model([training_input(64, 64)])["loss_feature_res3"].backward()
    assert model.objectives["feature"].adapters[0].weight.grad.abs().sum() > 0


def test_a_recipe_can_configure_objectives_and_weights():
    model = instantiate(
        L(LowResDetector)(
            detector=L(retinanet)(),
            resampler=L(Bicubic)(factor="3/2"),
            teacher=L(Teacher)(model=L(retinanet)()),
            objectives=[
                L(FeatureDistillation)(
                    pairs=[
                        L(FeaturePair)(student=RES3, student_stride=8, channels=[16, 16]),
                        L(FeaturePair)(
                            student=L(Tap)(path="head.cls_score", call=1), student_stride=8
                        ),
                    ]
                )
            ],
            loss_weights={"feature/*": 0.5, "detector/loss_cls": 2},
        )
    )
    with EventStorage():
        losses = model([training_input(96, 64)])
    assert {"loss_feature_res3", "loss_feature_cls_score_1", "loss_cls"} <= losses.keys()


def test_bad_feature_pairs_are_named():
    with pytest.raises(ValueError, match="would have the same name"):
        FeatureDistillation([FeaturePair("a.res3", 8), FeaturePair("b.res3", 8)])
    with pytest.raises(ValueError, match="needs one call"):
        FeatureDistillation([FeaturePair(Tap("head"), 8)])
    with pytest.raises(ValueError, match="alignment="):
        FeatureDistillation([], alignment="stretch")
