"""The teacher scores the student's sampled proposals, scaled to the full-resolution frame."""

from __future__ import annotations

from lowres_d2.modeling import LowResDetector
from lowres_d2.modeling.objectives import ProposalLogitDistillation
from lowres_d2.modeling.objectives.proposal_distillation import teacher_predictions
from lowres_d2.modeling.resample import Bicubic, Identity
from lowres_d2.modeling.teacher import Teacher

import pytest
import torch
from detectron2.structures import Boxes, Instances
from detectron2.utils.events import EventStorage
from torch import nn

from toys.detectors import (
    NUM_CLASSES,
    cascade_rcnn,
    faster_rcnn_c4,
    faster_rcnn_fpn,
    training_input,
)

KINDS = {
    "fpn": (faster_rcnn_fpn, dict()),
    "c4": (faster_rcnn_c4, dict(pooler="roi_heads.pooler")),
    "cascade": (cascade_rcnn, dict(stages=[0, 1, 2])),
}
INPUTS = [training_input(64, 80), training_input(49, 57, seed=1)]


class Spying(ProposalLogitDistillation):
    """Keeps its context."""

    def forward(self, context):
        self.context = context
        return super().forward(context)


def _confident(detector):
    """Make an untrained head confident, of objects and of background."""
    predictors = detector.roi_heads.box_predictor
    for predictor in predictors if isinstance(predictors, nn.ModuleList) else [predictors]:
        nn.init.normal_(predictor.cls_score.weight, std=3.0)
    return detector


def _model(kind, resampler=None, student=None, **kwargs):
    torch.manual_seed(0)
    build, arguments = KINDS[kind]
    teacher = Teacher(_confident(build()))
    objective = Spying(**arguments, **kwargs)
    return LowResDetector(student or build(), resampler or Bicubic(2), teacher, [objective])


def _losses(model, inputs=INPUTS):
    torch.manual_seed(1)
    with EventStorage():
        losses = model(inputs)
    return {k: v for k, v in losses.items() if k.startswith("loss_logit_")}


def _names(kind, *losses):
    stages = ["_stage0", "_stage1", "_stage2"] if kind == "cascade" else [""]
    return {f"loss_logit_{loss}{stage}" for loss in losses for stage in stages}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", ["softmax", "sigmoid"])
def test_a_student_learns_from_its_teacher_and_the_teacher_does_not(kind, form):
    model = _model(kind, learn_boxes=True, form=form)
    losses = _losses(model)
    assert losses.keys() == _names(kind, "cls", "box") and all(x > 0 for x in losses.values())
    sum(losses.values()).backward()
    gradients = [p.grad for p in model.detector.parameters() if p.grad is not None]
    assert all(torch.isfinite(g).all() for g in gradients)
    assert sum(g.abs().sum() for g in gradients) > 0
    assert all(p.grad is None for p in model.teacher.model.parameters())
    assert not model.teacher.model.training


@pytest.mark.parametrize("kind", ["fpn", "c4"])
def test_the_loss_is_the_formula_over_the_teachers_predictions_for_these_proposals(kind):
    model = _model(kind, learn_boxes=True)
    _losses(model)
    objective = model.objectives["logit"]
    context = objective.context
    _, sampled = context.student_taps[objective.boxes[0]][0]
    student, deltas = context.student_taps[objective.predictions[0]][0]

    teacher, predicted = model.teacher.model, []
    teacher.proposal_generator = None  # it takes those of its inputs
    teacher.roi_heads.box_predictor.register_forward_hook(lambda *x: predicted.append(x[-1]))
    inputs = [
        x | {"proposals": Instances(x["image"].shape[1:], proposal_boxes=Boxes(boxes.tensor * 2))}
        for x, boxes in zip(INPUTS, sampled, strict=True)
    ]
    teacher(inputs)
    goal_deltas, p = predicted[0][1], predicted[0][0].softmax(dim=1)
    confidence = p[:, :-1].amax(dim=1)
    middle = confidence.sort().values[len(confidence) // 2 :][:2]
    objective.threshold = middle.mean().item()
    kept = confidence > objective.threshold
    assert 0 < kept.sum() < len(kept) and student.shape == (len(kept), NUM_CLASSES + 1)

    losses = objective(context)
    expected = (p * (p.log() - student.log_softmax(dim=1))).sum(dim=1)[kept].mean()
    torch.testing.assert_close(losses["cls"], expected)
    columns = p[:, :-1].argmax(dim=1)[:, None] * 4 + torch.arange(4)
    away = (deltas - goal_deltas).gather(1, columns).abs().sum(dim=1)
    torch.testing.assert_close(losses["box"], away[kept].mean())


@pytest.mark.parametrize("kind", KINDS)
def test_a_student_equal_to_its_teacher_has_nothing_to_learn(kind):
    model = _model(kind, Identity(), learn_boxes=True)
    model.detector.load_state_dict(model.teacher.model.state_dict())
    for module in model.detector.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()  # the teacher's are
    assert all(abs(loss) < 1e-4 for loss in _losses(model).values())


@pytest.mark.parametrize("kind", KINDS)
def test_no_confident_box_gives_zero_and_a_zero_gradient(kind):
    model = _model(kind, threshold=1.0, learn_boxes=True)
    losses = _losses(model)
    assert all(loss == 0 for loss in losses.values())
    sum(losses.values()).backward()
    gradients = [p.grad for p in model.detector.parameters() if p.grad is not None]
    assert gradients and all(g.count_nonzero() == 0 for g in gradients)


def test_the_first_stage_of_a_cascade_can_be_distilled_alone():
    torch.manual_seed(0)
    objective = ProposalLogitDistillation(stages=[0])
    teacher = Teacher(_confident(cascade_rcnn()))
    model = LowResDetector(cascade_rcnn(), Bicubic(2), teacher, [objective])
    assert _losses(model).keys() == {"loss_logit_cls_stage0"}


def test_the_teachers_backbone_runs_once_and_its_proposals_never():
    model = _model("fpn")
    calls = []
    for name in ("backbone", "proposal_generator"):
        module = getattr(model.teacher.model, name)
        module.register_forward_pre_hook(lambda *_, name=name: calls.append(name))
    _losses(model)
    assert calls == ["backbone"]


def test_scores_of_the_same_regions_do_not_depend_on_the_batch():
    heads = _confident(faster_rcnn_fpn()).eval().roi_heads
    features = {f"p{k}": torch.randn(2, 16, 64 >> k, 64 >> k) for k in range(2, 6)}
    boxes = [Boxes(torch.tensor([[3.0, 4, 30, 41], [8, 8, 24, 20]])), Boxes(torch.ones(0, 4))]
    both = teacher_predictions(heads, features, boxes)
    alone = teacher_predictions(heads, {k: v[:1] for k, v in features.items()}, boxes[:1])
    for a, b in zip(both, alone, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("kind", ["fpn", "c4"])
def test_features_of_a_teacher_at_reduced_precision_are_pooled_exactly(kind):
    torch.manual_seed(0)
    heads = KINDS[kind][0]().eval().roi_heads
    shapes = dict(p2=(16, 256), p3=(16, 128), p4=(16, 64), p5=(16, 32), res4=(20, 64))
    features = {
        name: torch.randn(1, channels, cells, cells).bfloat16()
        for name, (channels, cells) in shapes.items()
        if name in heads.in_features
    }
    boxes = [Boxes(torch.tensor([[1003.3, 1006.7, 1014.1, 1017.9]]))]
    exact = teacher_predictions(heads, {k: v.float() for k, v in features.items()}, boxes)
    reduced = teacher_predictions(heads, features, boxes)
    for a, b in zip(reduced, exact, strict=True):
        assert a.dtype == torch.float32
        torch.testing.assert_close(a, b, rtol=0.02, atol=0.002)


def test_class_counts_that_differ_are_named():
    model = _model("fpn")
    heads = model.teacher.model.roi_heads
    heads.box_predictor.cls_score = nn.Linear(32, 81)
    with pytest.raises(ValueError, match="student scores 3 classes, the teacher 80"):
        _losses(model)


def test_only_filtered_forms_are_accepted():
    with pytest.raises(ValueError, match="form='focal': expected one of softmax, sigmoid"):
        ProposalLogitDistillation(form="focal")
