"""Distillation of dense heads against plain loops in numpy."""

from __future__ import annotations

import itertools
from fractions import Fraction

from lowres_d2.modeling import LowResDetector
from lowres_d2.modeling.meta_arch import NearestPointFCOS
from lowres_d2.modeling.objectives import DenseBoxDistillation, DenseLogitDistillation
from lowres_d2.modeling.objectives.dense.levels import levels_by_scale
from lowres_d2.modeling.resample import Bicubic, Identity
from lowres_d2.modeling.teacher import Tap, Teacher
from lowres_d2.structures import ObjectiveContext, low_res_size

import numpy as np
import pytest
import torch
from detectron2.modeling.box_regression import Box2BoxTransform, Box2BoxTransformLinear
from detectron2.structures import Boxes, pairwise_iou
from detectron2.utils.events import EventStorage
from torch import nn

from toys.detectors import STRIDES, fcos, retinanet, training_input

SIZES = ((40, 64), (64, 49))
FORMS = ["softmax", "sigmoid", "focal"]


def _maps(sizes, strides, channels, seed, extra=1):
    """Random feature maps for a batch of images of these sizes, random in the padding, too."""
    generator = torch.Generator().manual_seed(seed)
    height, width = (max(size[axis] for size in sizes) for axis in (0, 1))
    return [
        torch.randn(
            len(sizes), channels, -(-height // s) + extra, -(-width // s) + extra,
            generator=generator,
        ) * 2
        for s in strides
    ]  # fmt: skip


def _context(objective, student, teacher, factor=Fraction(4), sizes=SIZES, **more):
    return ObjectiveContext(
        images=[torch.empty(3, *size) for size in sizes],
        low_res_images=[],
        ground_truth=[],
        factor=factor,
        student_taps={Tap("head.cls_score", k): [m] for k, m in enumerate(student)}
        | more.get("student_taps", {}),
        teacher_taps={Tap("head.cls_score", k): [m] for k, m in enumerate(teacher)}
        | more.get("teacher_taps", {}),
    )


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))


def _covered(centre, width, cells, stride, offset):
    """Cells in a square around the centre on one axis, or else the nearest."""
    at = [(k + offset) * stride for k in range(cells)]
    inside = [k for k, x in enumerate(at) if centre - width / 2 <= x < centre + width / 2]
    return inside or [int(np.argmin([abs(x - centre) for x in at]))]


def _matches(student, teacher, strides, factor, pairs, offset, anchors, sizes):
    """(image, level, anchor, row, column, teacher's (level, row, column), confidence)."""
    found = []
    for n, (height, width) in enumerate(sizes):
        for level, own in enumerate(student):
            stride = strides[level] * factor
            for y, x in np.ndindex(*own.shape[-2:]):
                centre = [(k + offset) * stride for k in (y, x)]
                if centre[0] >= height or centre[1] >= width:
                    continue
                for a in range(anchors):
                    best = None
                    for other in [t for s, t in pairs if s == level]:
                        logits = teacher[other].unflatten(1, (anchors, -1))[n, a].numpy()
                        step = strides[other]
                        rows, columns = (
                            _covered(c, stride, cells, step, offset)
                            for c, cells in zip(centre, logits.shape[-2:], strict=True)
                        )
                        for v, u in itertools.product(rows, columns):
                            if (v + offset) * step >= height or (u + offset) * step >= width:
                                continue
                            score = _sigmoid(logits[:, v, u].max())
                            if best is None or score > best[1]:
                                best = (other, v, u), score
                    if best is not None:
                        found.append((n, level, a, y, x, *best))
    return found


def _distance(form, s, t):
    p, q = _sigmoid(t), _sigmoid(s)
    if form == "softmax":
        p, q = (np.exp(z) / np.exp(z).sum() for z in (t, s))
        return (p * np.log(p / q)).sum()
    cross = -p * np.log(q) - (1 - p) * np.log(1 - q)
    if form == "sigmoid":
        return (cross + p * np.log(p) + (1 - p) * np.log(1 - p)).sum()
    return ((p - q) ** 2 * cross).sum()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("factor", "pairs", "offset", "anchors"),
    [
        ("4", [(0, 0), (0, 1), (0, 2)], 0.5, 1),
        ("2", [(0, 0), (0, 1), (1, 2)], 0.0, 2),
        ("3", [(0, 0), (0, 1), (0, 2)], 0.5, 2),
        ("1", [(0, 0), (1, 1), (2, 2)], 0.5, 1),
    ],
)
def test_logits_equal_plain_loops(form, factor, pairs, offset, anchors):
    factor, strides, threshold = Fraction(factor), (4, 8, 16), 0.985
    low_sizes = [low_res_size(size, factor) for size in SIZES]
    student = _maps(low_sizes, strides, 3 * anchors, seed=0)
    teacher = _maps(SIZES, strides, 3 * anchors, seed=1)
    assert sorted(levels_by_scale(strides, strides, factor)) == pairs
    objective = DenseLogitDistillation(
        strides, form=form, anchor_offset=offset, num_anchors=anchors, threshold=threshold
    )
    loss = objective(_context(objective, student, teacher, factor))["cls"]

    distances, confidences = [], []
    matches = _matches(student, teacher, strides, float(factor), pairs, offset, anchors, SIZES)
    for n, level, a, y, x, (other, v, u), confidence in matches:
        s = student[level].unflatten(1, (anchors, -1))[n, a, :, y, x].double().numpy()
        t = teacher[other].unflatten(1, (anchors, -1))[n, a, :, v, u].double().numpy()
        if confidence > threshold or form == "focal":
            distances.append(_distance(form, s, t))
        if confidence > threshold:
            confidences.append(confidence)
    assert 5 < len(confidences) < len(matches)
    norm = max(sum(confidences), 1) if form == "focal" else len(distances)
    assert loss.item() == pytest.approx(sum(distances) / norm, rel=1e-4)


@pytest.mark.parametrize("form", FORMS)
def test_a_constant_student_is_compared_at_each_of_the_teachers_cells(form):
    student = [torch.tensor([2.0, -1.0, 0.5])[None, :, None, None].repeat(2, 1, 6, 6)]
    teacher = _maps(SIZES, (4,), 3, seed=1)
    objective = DenseLogitDistillation((4,), form=form, sample="student")
    loss = objective(_context(objective, student, teacher))["cls"].item()
    cells = torch.cat(
        [
            teacher[0][i, :, : round(h / 4), : round(w / 4)].flatten(1)
            for i, (h, w) in enumerate(SIZES)
        ],
        dim=1,
    ).double().numpy()  # fmt: skip
    kept = _sigmoid(cells.max(axis=0)) > 0.5
    distances = np.array([_distance(form, np.array([2.0, -1.0, 0.5]), t) for t in cells.T])
    expected = distances[kept].mean()
    if form == "focal":
        expected = distances.sum() / _sigmoid(cells.max(axis=0))[kept].sum()
    assert loss == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("sample", ["teacher", "student"])
@pytest.mark.parametrize("form", FORMS)
def test_without_a_confident_teacher_the_loss_is_zero(form, sample):
    student = _maps([(10, 16), (16, 13)], (4,), 3, seed=0)
    student[0].requires_grad_()
    teacher = [torch.full((2, 3, 17, 17), -200.0)]
    objective = DenseLogitDistillation((4,), form=form, sample=sample)
    loss = objective(_context(objective, student, teacher))["cls"]
    loss.backward()
    assert torch.isfinite(student[0].grad).all()
    if form != "focal":
        assert loss == 0 and student[0].grad.count_nonzero() == 0


@pytest.mark.parametrize("form", FORMS)
def test_the_gradient_is_that_of_finite_differences(form):
    torch.manual_seed(0)
    student = [torch.randn(1, 3, 2, 2, requires_grad=True)]
    teacher = [torch.randn(1, 3, 8, 8)]
    objective = DenseLogitDistillation((4,), form=form)

    def loss():
        return objective(_context(objective, student, teacher, sizes=((32, 32),)))["cls"]

    loss().backward()
    step = torch.randn_like(student[0]) * 1e-2
    with torch.no_grad():
        student[0].add_(step)
        after = loss()
        student[0].sub_(2 * step)
        before = loss()
    torch.testing.assert_close(
        (after - before) / 2, (student[0].grad * step).sum(), rtol=1e-3, atol=1e-6
    )


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_softmax_ignores_a_shift_of_all_logits(temperature):
    student = _maps([(10, 16), (16, 13)], (4,), 3, seed=0)
    teacher = _maps(SIZES, (4,), 3, seed=1)
    objective = DenseLogitDistillation((4,), temperature=temperature)
    plain = objective(_context(objective, student, teacher))["cls"]
    shifted = objective(_context(objective, [student[0] + 5], teacher))["cls"]
    torch.testing.assert_close(shifted, plain)


def test_a_batch_is_the_mean_of_its_points():
    sizes = ((32, 48), (32, 48))
    student, teacher = _maps(sizes, (4,), 3, seed=0), _maps(sizes, (4,), 3, seed=1)
    objective = DenseLogitDistillation((4,), form="sigmoid", threshold=0.0)
    context = _context(objective, student, teacher, Fraction(1), sizes)
    alone = [
        objective(
            _context(
                objective, [student[0][i : i + 1]], [teacher[0][i : i + 1]], Fraction(1), sizes[:1]
            )
        )["cls"]
        for i in range(2)
    ]
    torch.testing.assert_close(objective(context)["cls"], sum(alone) / 2)


def test_levels_are_paired_by_scale():
    strides = (8, 16, 32, 64, 128)
    assert levels_by_scale(strides, strides, Fraction(1)) == [(k, k) for k in range(5)]
    assert levels_by_scale(strides, strides, Fraction(4)) == [
        (0, 0), (0, 1), (0, 2), (1, 3), (2, 4)
    ]  # fmt: skip
    assert levels_by_scale((4, 8), (8, 16, 32), Fraction(2)) == [(0, 0), (1, 1), (1, 2)]


def test_explicit_pairs_leave_the_other_levels_out():
    sizes = ((32, 32),)
    student, teacher = _maps(sizes, (4, 8), 3, 0, 0), _maps(sizes, (4, 8), 3, 1, 0)
    both = DenseLogitDistillation((4, 8), pairs=[[0, 0], [1, 1]], threshold=0.0, form="sigmoid")
    one = DenseLogitDistillation((4, 8), pairs=[[1, 1]], threshold=0.0, form="sigmoid")
    losses = [o(_context(o, student, teacher, Fraction(1), sizes))["cls"] for o in (both, one)]
    fine = DenseLogitDistillation((4,), threshold=0.0, form="sigmoid")
    losses.append(fine(_context(fine, student[:1], teacher[:1], Fraction(1), sizes))["cls"])
    torch.testing.assert_close(losses[0] * 80, losses[1] * 16 + losses[2] * 64)


TRANSFORMS = {
    "linear": (Box2BoxTransformLinear(), fcos, 1, 0.5),
    "centre": (Box2BoxTransform((1.0, 1.0, 1.0, 1.0)), lambda: fcos(NearestPointFCOS), 1, 0.5),
    "anchors": (Box2BoxTransform((1.0, 1.0, 1.0, 1.0)), retinanet, 3, 0.0),
}


def _distilled(kind, make_objectives, resampler=None):
    """A toy student with a toy teacher that is confident in some cells."""
    torch.manual_seed(0)
    transform, build, anchors, offset = TRANSFORMS[kind]
    teacher, student = build(), build()
    nn.init.normal_(teacher.head.cls_score.weight, std=4.0)
    geometry = dict(strides=STRIDES, anchor_offset=offset, num_anchors=anchors)
    objectives = make_objectives(transform, geometry)
    return LowResDetector(student, resampler or Bicubic(4), Teacher(teacher), objectives)


def _all_objectives(transform, geometry):
    return [
        *(DenseLogitDistillation(form=form, name=form, **geometry) for form in FORMS),
        *(
            DenseBoxDistillation(
                box2box_transform=transform, distance=distance, name=distance, **geometry
            )
            for distance in ("giou", "l1")
        ),
    ]


LOSSES = [f"loss_{form}_cls" for form in FORMS] + ["loss_giou_reg", "loss_l1_reg"]


@pytest.mark.parametrize("kind", TRANSFORMS)
@pytest.mark.parametrize("cross_head", [False, True])
def test_a_student_learns_from_its_teacher_and_the_teacher_does_not(kind, cross_head):
    model = _distilled(
        kind, lambda transform, geometry: _all_objectives(
            transform, geometry | {"cross_head": cross_head}
        )
    )  # fmt: skip
    with EventStorage():
        losses = model([training_input(64, 80), training_input(49, 57, seed=1)])
        assert all(losses[name] > 0 for name in LOSSES)
        sum(losses[name] for name in LOSSES).backward()
    gradients = {n: p.grad for n, p in model.detector.named_parameters() if p.grad is not None}
    last = {f"head.{name}.weight" for name in ("cls_score", "bbox_pred")}
    assert last & gradients.keys() == (set() if cross_head else last)
    for name in ("head.cls_subnet.0.weight", "head.bbox_subnet.0.weight"):
        assert gradients[name].abs().sum() > 0
    assert all(torch.isfinite(g).all() for g in gradients.values())
    assert all(p.grad is None for p in model.teacher.model.parameters())


def test_across_heads_the_students_own_last_convolution_has_no_effect():
    def objectives(_, geometry):
        return [
            DenseLogitDistillation(form="sigmoid", cross_head=cross, name=name, **geometry)
            for cross, name in ((False, "own"), (True, "cross"))
        ]

    model = _distilled("linear", objectives)
    results = []
    for _ in range(2):
        with EventStorage():
            losses = model([training_input(64, 80), training_input(49, 57, seed=1)])
        results.append([losses[f"loss_{name}_cls"].item() for name in ("own", "cross")])
        model.detector.head.cls_score.load_state_dict(
            model.teacher.model.head.cls_score.state_dict()
        )
    assert results[0][0] != pytest.approx(results[0][1], rel=1e-3)
    assert results[1] == pytest.approx([results[0][1]] * 2)


def test_towers_of_other_widths_cannot_cross():
    model = _distilled("linear", lambda _, g: [DenseLogitDistillation(cross_head=True, **g)])
    model.teacher.model.head.cls_score = nn.Conv2d(24, 3, 3)
    with pytest.raises(ValueError, match=r"gets 16 channels.*takes 24: leave out cross_head"):
        model.objectives["logit"].predicted(
            ObjectiveContext(
                [], [], [], Fraction(4),
                {Tap("head.cls_score", 0, "input"): [torch.zeros(1, 16, 2, 2)]}, {},
                model.teacher.model,
            ),
            Tap("head.cls_score", 0, "input"),
            Tap("head.cls_score", 0),
        )  # fmt: skip


@pytest.mark.parametrize("kind", TRANSFORMS)
def test_a_student_equal_to_its_teacher_has_nothing_to_learn(kind):
    model = _distilled(kind, _all_objectives, Identity())
    model.detector.load_state_dict(model.teacher.model.state_dict())
    model.train()
    for module in model.detector.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()  # the teacher's are
    with EventStorage():
        losses = model([training_input(64, 80), training_input(49, 57)])
    for form in FORMS:
        assert abs(losses[f"loss_{form}_cls"]) < 1e-6
    assert losses["loss_giou_reg"] < 1e-3 and losses["loss_l1_reg"] < 1e-5


@pytest.mark.parametrize("distance", ["giou", "l1"])
def test_boxes_are_compared_in_the_full_resolution_frame(distance):
    """One cell, one confident teacher cell; the student's box is the teacher's but for a shift."""
    transform = Box2BoxTransformLinear(normalize_by_size=False)
    objective = DenseBoxDistillation((4,), transform, distance)
    anchors, box, cls = objective.anchors, Tap("head.bbox_pred", 0), Tap("head.cls_score", 0)
    confident = torch.full((1, 2, 4, 4), -9.0)
    confident[0, 1, 1, 2] = 3.0  # at (10, 6) of the full image
    reach = torch.tensor([4.0, 2.0, 6.0, 6.0])  # box 6, 4, 16, 12
    student_reach = torch.tensor([0.5, 1.0, 2.0, 1.5])  # from (2, 2): 1.5, 1, 4, 3.5, times 4
    context = ObjectiveContext(
        images=[torch.empty(3, 16, 16)],
        low_res_images=[],
        ground_truth=[],
        factor=Fraction(4),
        student_taps={
            cls: [torch.zeros(1, 2, 1, 1)],
            box: [student_reach.reshape(1, 4, 1, 1)],
            anchors: [[Boxes(torch.tensor([[0.0, 0.0, 4.0, 4.0]]))]],
        },
        teacher_taps={
            cls: [confident],
            box: [reach.reshape(1, 4, 1, 1).expand(1, 4, 4, 4)],
        },
    )
    ours, theirs = torch.tensor([[6.0, 4.0, 16.0, 14.0]]), torch.tensor([[6.0, 4.0, 16.0, 12.0]])
    expected = 1 - pairwise_iou(Boxes(ours), Boxes(theirs)).item()  # GIoU: one box in the other
    if distance == "l1":
        expected = 2 / 8 / 4
    assert objective(context)["reg"].item() == pytest.approx(expected, rel=1e-5)


def test_without_confident_cells_boxes_get_no_gradient():
    transform = Box2BoxTransformLinear()
    model = _distilled(
        "linear",
        lambda _, geometry: [
            DenseBoxDistillation(box2box_transform=transform, threshold=1.0, **geometry)
        ],
    )
    with EventStorage():
        loss = model([training_input(64, 64), training_input(64, 80)])["loss_box_reg"]
    loss.backward()
    gradient = model.detector.head.bbox_pred.weight.grad
    assert loss == 0 and gradient.count_nonzero() == 0


def test_class_counts_that_differ_are_named():
    objective = DenseLogitDistillation((4,))
    context = _context(objective, [torch.zeros(2, 8, 5, 5)], [torch.zeros(2, 80, 17, 17)])
    with pytest.raises(ValueError, match=r"8 class logits.*80 at the teacher's.*same classes"):
        objective(context)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(form="hard"), "form='hard'"),
        (dict(temperature=0), "temperature=0"),
        (dict(sample="both"), "sample='both'"),
        (dict(pairs=[(0, 3)]), r"pair \(0, 3\) of levels"),
    ],
)
def test_bad_values_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        DenseLogitDistillation((4, 8), **arguments)


def test_softmax_over_one_class_is_refused():
    objective = DenseLogitDistillation((4,))
    with pytest.raises(ValueError, match="always zero"):
        objective(_context(objective, [torch.zeros(2, 1, 5, 5)], [torch.zeros(2, 1, 17, 17)]))
