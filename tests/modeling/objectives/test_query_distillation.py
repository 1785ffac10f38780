"""Distillation of queries against formulas and brute force."""

from __future__ import annotations

import itertools
from fractions import Fraction
from pathlib import Path

from lowres_d2.modeling import LowResDetector
from lowres_d2.modeling.objectives import QueryLogitDistillation
from lowres_d2.modeling.resample import Bicubic, Identity
from lowres_d2.modeling.teacher import Tap, Teacher
from lowres_d2.structures import ObjectiveContext, low_res_size

import numpy as np
import pytest
import torch
from detectron2.config import LazyCall as L
from detectron2.config import LazyConfig, instantiate
from detectron2.utils.events import EventStorage
from torch import nn
from torchvision.ops import box_convert, generalized_box_iou

from toys.detectors import training_input

MODELS = Path(__file__).parents[3] / "configs/common/models"
SIZES = ((64, 80), (33, 47))


def _predictions(queries=6, classes=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(len(SIZES), queries, classes, generator=generator) * 2
    boxes = torch.rand(len(SIZES), queries, 4, generator=generator) * 0.4 + 0.2
    return logits, boxes


def _captured(predictions):
    places = ("pred_logits", "pred_boxes")
    return {Tap(place, 0): [value] for place, value in zip(places, predictions, strict=True)}


def _context(student, teacher, factor=Fraction(4)):
    return ObjectiveContext(
        images=[torch.empty(3, *size) for size in SIZES],
        low_res_images=[torch.empty(3, *low_res_size(size, factor)) for size in SIZES],
        ground_truth=[],
        factor=factor,
        student_taps=_captured(student),
        teacher_taps=_captured(teacher),
    )


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))


def _softmax(x):
    return np.exp(x) / np.exp(x).sum(axis=-1, keepdims=True)


@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize("temperature", [1.0, 2.0])
@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
def test_softmax_is_equations_6_and_7_over_the_kept_queries(temperature, activation, squared):
    student, teacher = _predictions(seed=0), _predictions(seed=1)
    objective = QueryLogitDistillation(
        temperature=temperature,
        activation=activation,
        threshold=0.7,
        times_squared_temperature=squared,
    )
    loss = objective(_context(student, teacher))["cls"].item()
    s, t = student[0].double().numpy(), teacher[0].double().numpy()
    best = (_sigmoid(t) if activation == "sigmoid" else _softmax(t)).max(axis=-1)
    kept = best > 0.7
    assert 0 < kept.sum() < kept.size
    p, q = _softmax(t / temperature)[kept], _softmax(s / temperature)[kept]
    expected = (p * np.log(p / q)).sum() / kept.sum()
    if squared:  # not in Eq. 7
        expected *= temperature**2
    assert loss == pytest.approx(expected, rel=1e-5)


def test_sigmoid_is_a_divergence_for_each_class():
    student, teacher = _predictions(seed=0), _predictions(seed=1)
    loss = QueryLogitDistillation(form="sigmoid")(_context(student, teacher))["cls"].item()
    p, q = (_sigmoid(x[0].double().numpy()) for x in (teacher, student))
    kept = p.max(axis=-1) > 0.5
    divergence = p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))
    assert loss == pytest.approx(divergence.sum(axis=-1)[kept].mean(), rel=1e-5)


@pytest.mark.parametrize("pairing", ["index", "hungarian"])
@pytest.mark.parametrize("form", ["softmax", "sigmoid"])
def test_no_kept_query_gives_zero_and_a_zero_gradient(pairing, form):
    student, teacher = _predictions(), _predictions(seed=1)
    for tensor in student:
        tensor.requires_grad_()
    objective = QueryLogitDistillation(form=form, pairing=pairing, learn_boxes=True, threshold=1.0)
    losses = objective(_context(student, teacher))
    assert set(losses) == {"cls", "l1", "giou"}
    assert all(loss == 0 for loss in losses.values())
    sum(losses.values()).backward()
    assert all(tensor.grad.count_nonzero() == 0 for tensor in student)


@pytest.mark.parametrize("learn_boxes", [False, True])
def test_hungarian_pairing_undoes_a_permutation(learn_boxes):
    teacher = _predictions()
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    student = tuple(x[:, order] for x in teacher)
    common = dict(learn_boxes=learn_boxes, form="sigmoid")
    context = _context(student, teacher, Fraction(1))
    matched = QueryLogitDistillation(pairing="hungarian", **common)(context)
    assert all(abs(loss) < 1e-5 for loss in matched.values())
    assert QueryLogitDistillation(**common)(context)["cls"] > 0.1


def test_hungarian_pairing_is_the_cheapest_of_all():
    """Fewer teacher queries kept than students': every assignment is tried."""
    student, teacher = _predictions(7, seed=0), _predictions(5, seed=1)
    objective = QueryLogitDistillation(form="sigmoid", pairing="hungarian", threshold=0.5)
    loss = objective(_context(student, teacher, Fraction(1)))["cls"].item()
    divergences = []
    for i in range(len(SIZES)):
        kept = (teacher[0][i].sigmoid().amax(1) > 0.5).nonzero()[:, 0].tolist()
        assert 0 < len(kept) < 7
        p = student[0][i].sigmoid()
        focal = 0.25 * (1 - p) ** 2 * -p.log() + 0.75 * p**2 * (1 - p).log()
        corners = [box_convert(x[1][i], "cxcywh", "xyxy") for x in (student, teacher)]
        cost = (
            2 * focal[:, teacher[0][i].argmax(dim=1)]
            + 5 * (student[1][i][:, None] - teacher[1][i][None]).abs().sum(dim=2)
            - 2 * generalized_box_iou(*corners)
        )
        best = min(
            itertools.permutations(range(7), len(kept)),
            key=lambda own: sum(cost[q, t].item() for q, t in zip(own, kept, strict=True)),
        )
        for q, t in zip(best, kept, strict=True):
            a, b = (_sigmoid(x[0][i, k].double().numpy()) for x, k in ((teacher, t), (student, q)))
            divergences.append((a * np.log(a / b) + (1 - a) * np.log((1 - a) / (1 - b))).sum())
    assert loss == pytest.approx(np.mean(divergences), rel=1e-5)


def test_boxes_are_compared_relative_to_the_full_image():
    """33x47 at 4x makes a low-resolution image of 9x12, which covers 36x48 pixels."""
    logits, boxes = _predictions()
    sides = torch.tensor([[80, 64, 80, 64], [47, 33, 47, 33.0]])
    covered = torch.tensor([[80, 64, 80, 64], [48, 36, 48, 36.0]])
    student = logits, boxes * (sides / covered)[:, None]
    objective = QueryLogitDistillation(learn_boxes=True)
    losses = objective(_context(student, (logits, boxes)))
    assert losses["l1"] < 1e-6 and losses["giou"] < 1e-5
    moved = _context((student[0], student[1] + torch.tensor([0.1, 0, 0, 0])), (logits, boxes))
    kept = logits.sigmoid().amax(2) > 0.5
    expected = (0.1 * (covered / sides)[:, 0]).repeat_interleave(kept.sum(dim=1)).mean()
    torch.testing.assert_close(objective(moved)["l1"], expected)


def test_boxes_of_a_tiny_object_can_be_equal():
    """A pixel of an 800 x 1120 image covers 1e-6 of it."""
    logits, boxes = _predictions()
    boxes[..., 2:] = torch.tensor([1 / 1120, 1 / 800])
    objective = QueryLogitDistillation(learn_boxes=True)
    assert objective(_context((logits, boxes), (logits, boxes), Fraction(1)))["giou"] < 1e-3


@pytest.mark.parametrize("pairing", ["index", "hungarian"])
def test_a_batch_is_the_mean_of_its_queries(pairing):
    student, teacher = _predictions(seed=0), _predictions(seed=1)
    objective = QueryLogitDistillation(pairing=pairing, threshold=0.0)
    whole = _context(student, teacher)
    parts = [
        ObjectiveContext(
            images=whole.images[i : i + 1],
            low_res_images=whole.low_res_images[i : i + 1],
            ground_truth=[],
            factor=whole.factor,
            student_taps={k: [v[0][i : i + 1]] for k, v in whole.student_taps.items()},
            teacher_taps={k: [v[0][i : i + 1]] for k, v in whole.teacher_taps.items()},
        )
        for i in range(2)
    ]
    torch.testing.assert_close(
        objective(whole)["cls"], sum(objective(part)["cls"] for part in parts) / 2
    )


def test_gradients_reach_the_kept_queries_alone():
    student, teacher = _predictions(), _predictions(seed=1)
    for tensor in student:
        tensor.requires_grad_()
    losses = QueryLogitDistillation(learn_boxes=True)(_context(student, teacher))
    sum(losses.values()).backward()
    kept = teacher[0].sigmoid().amax(2) > 0.5
    for tensor in student:
        assert torch.equal(tensor.grad.abs().sum(dim=2) > 0, kept)


@pytest.mark.parametrize(
    ("student", "teacher", "message"),
    [
        ((6, 3), (6, 4), "has 3 classes, the teacher's pred_logits 4: both need the same"),
        ((5, 3), (6, 3), "has 5 queries, the teacher's pred_logits 6: use pairing='hungarian'"),
        ((6, 1), (6, 1), "always zero"),
    ],
)
def test_a_mismatch_of_student_and_teacher_is_named(student, teacher, message):
    with pytest.raises(ValueError, match=message):
        QueryLogitDistillation()(_context(_predictions(*student), _predictions(*teacher)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(form="focal"), "form='focal': expected one of softmax, sigmoid"),
        (dict(pairing="nearest"), "pairing='nearest'"),
        (dict(activation="tanh"), "activation='tanh'"),
    ],
)
def test_bad_values_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        QueryLogitDistillation(**arguments)


def test_only_matching_and_boxes_need_the_box_taps():
    assert len(QueryLogitDistillation().student_taps) == 1
    assert len(QueryLogitDistillation(pairing="hungarian").teacher_taps) == 2
    other = QueryLogitDistillation(teacher_path="a", teacher_box_path="b", learn_boxes=True)
    assert other.teacher_taps == (Tap("a", 0), Tap("b", 0))


def _detr(resampler, **arguments):
    """A recipe with the small Deformable DETR as student and as teacher."""
    torch.manual_seed(0)
    detector = LazyConfig.load(str(MODELS / "deformable_detr_small.py")).model
    model = instantiate(
        L(LowResDetector)(
            detector=detector,
            resampler=resampler,
            teacher=L(Teacher)(model=detector),
            objectives=[L(QueryLogitDistillation)(**arguments)],
            loss_weights={"logit/*": 0.5},
        )
    )
    for head in model.teacher.model.class_heads:
        nn.init.normal_(head.weight, std=1.0)
    return model.train()


def _distilled(model):
    with EventStorage():
        losses = model([training_input(64, 80), training_input(49, 57, seed=1)])
    return {k: v for k, v in losses.items() if k.startswith("loss_logit_")}


@pytest.mark.parametrize("pairing", ["index", "hungarian"])
def test_deformable_detr_learns_from_a_deformable_detr(pairing):
    model = _detr(L(Bicubic)(factor=4), pairing=pairing, learn_boxes=True)
    losses = _distilled(model)
    assert len(losses) == 3 and all(loss > 0 for loss in losses.values())
    sum(losses.values()).backward()
    for name in ("class_heads.0.weight", "box_heads.0.layers.2.weight"):
        gradient = model.detector.get_parameter(name).grad
        assert torch.isfinite(gradient).all() and gradient.abs().sum() > 0
    assert all(p.grad is None for p in model.teacher.model.parameters())


def test_a_deformable_detr_equal_to_its_teacher_has_nothing_to_learn():
    model = _detr(L(Identity)(), form="sigmoid", learn_boxes=True)
    model.detector.load_state_dict(model.teacher.model.state_dict())
    for module in model.detector.modules():
        if isinstance(module, (nn.BatchNorm2d, nn.Dropout, nn.MultiheadAttention)):
            module.eval()  # the teacher's are
    assert all(abs(loss) < 1e-4 for loss in _distilled(model).values())
