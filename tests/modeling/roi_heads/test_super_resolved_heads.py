"""Small and large predictors: their proposals, what is trained, and what evaluation runs."""

import copy
from contextlib import nullcontext

import pytest
import torch
from detectron2.structures import Boxes, Instances
from detectron2.utils.events import EventStorage

from toys.detectors import DETECTORS
from toys.super_resolution import (
    KINDS,
    awaken,
    evaluation_inputs,
    freeze_all_but,
    needs_no_run,
    plain_form,
    super_resolved,
    training_inputs,
)

SR = "roi_heads.super_resolution."
LARGE = ("roi_heads.box_", "roi_heads.res5.")


def assert_same_detections(ours, theirs):
    for a, b in zip(ours, theirs, strict=True):
        a, b = a["instances"], b["instances"]
        torch.testing.assert_close(a.pred_boxes.tensor, b.pred_boxes.tensor, atol=1e-3, rtol=1e-4)
        torch.testing.assert_close(a.scores, b.scores, atol=1e-5, rtol=1e-4)
        assert torch.equal(a.pred_classes, b.pred_classes)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("max_area", [24.0**2, 0.0, 1e9])  # some, none, all proposals are small
@pytest.mark.parametrize("ratios", [(2,), (2, 4)])
@torch.no_grad()
def test_it_starts_as_the_plain_detector_whose_weights_it_takes(name, max_area, ratios):
    torch.manual_seed(0)
    plain = DETECTORS[name]().eval()
    model = super_resolved(name, max_area=max_area, ratios=ratios).eval()
    found = model.load_state_dict(plain.state_dict(), strict=False)
    assert not found.unexpected_keys
    assert all(key.startswith(SR) for key in found.missing_keys)
    assert_same_detections(model(evaluation_inputs()), plain(evaluation_inputs()))


@pytest.mark.parametrize("name", KINDS)
@torch.no_grad()
def test_a_small_predictor_that_a_file_has_is_not_overwritten(name):
    model, other = super_resolved(name), super_resolved(name)
    awaken(model)
    other.load_state_dict(model.state_dict())
    for key, value in model.state_dict().items():
        assert torch.equal(other.state_dict()[key], value), key
    assert any(key.startswith("roi_heads.small_") for key in model.state_dict())
    assert not any("twin" in key for key in model.state_dict())


@pytest.mark.parametrize("name", KINDS)
@torch.no_grad()
def test_each_proposal_goes_to_the_predictor_of_its_size(name):
    torch.manual_seed(0)
    model = super_resolved(name).eval()
    heads = model.roi_heads
    images = model.preprocess_image(evaluation_inputs())
    features = model.backbone(images.tensor)
    sides = ([10.0, 60.0, 23.0, 25.0], [30.0, 12.0])
    proposals = [
        Instances(size, proposal_boxes=Boxes(torch.tensor([[5.0, 5.0, 5 + s, 5 + s] for s in of])))
        for size, of in zip(images.image_sizes, sides, strict=True)
    ]
    stage = 0 if name == "cascade_rcnn" else None
    before = heads._predict(features, proposals, stage)
    predictor = heads.small_box_predictor[0] if stage == 0 else heads.small_box_predictor
    predictor.cls_score.bias += torch.arange(4.0) + 1
    after = heads._predict(features, proposals, stage)
    moved = (after[0] - before[0]).abs().amax(dim=1) > 0.5
    assert moved.tolist() == [True, False, True, False, False, True]
    torch.testing.assert_close(after[1], before[1])
    awaken(heads.super_resolution.generators)
    finer = heads._predict(features, proposals, stage)
    assert ((finer[0] - after[0]).abs().amax(dim=1) > 1e-4).tolist() == moved.tolist()


def gradients(model, iteration=None):
    """Names of parameters that an iteration's losses reach, and the losses; None: no run."""
    model.zero_grad(set_to_none=True)
    with nullcontext() if iteration is None else EventStorage(iteration):
        losses = model(training_inputs())
    sum(losses.values()).backward()
    return {n for n, p in model.named_parameters() if p.grad is not None}, losses


@pytest.mark.parametrize("name", KINDS)
def test_the_base_stage_is_the_plain_detectors_training(name):
    torch.manual_seed(0)
    model = super_resolved(name)
    plain = plain_form(name, model).train()
    trained = freeze_all_but(model, "backbone", "proposal_generator", *LARGE)
    torch.manual_seed(1)
    reached, losses = gradients(model, iteration=0)
    torch.manual_seed(1)
    with EventStorage(0):
        expected = plain(training_inputs())
    assert reached == trained
    assert losses.keys() == expected.keys()
    for key, value in expected.items():
        torch.testing.assert_close(losses[key], value)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("supervision", ["atrous", "naive", "none"])
def test_super_resolution_reaches_generator_and_small_predictor_in_turn(name, supervision):
    torch.manual_seed(0)
    model = super_resolved(name, supervision)
    awaken(model.roi_heads.super_resolution)
    model.backbone.eval()
    trained = freeze_all_but(model, SR, "roi_heads.small_")
    players = {n for n in trained if n.startswith(SR + "discriminators.")}
    reached, losses = gradients(model, iteration=1)
    assert reached == trained - players
    of_small = {key for key in losses if "_small" in key}
    assert of_small
    if supervision == "none":
        assert set(losses) == of_small
        assert gradients(model, iteration=0)[0] == trained
        return
    assert set(losses) == of_small | {"loss_content", "loss_generator"}
    reached, losses = gradients(model, iteration=2)
    assert reached == players
    assert set(losses) == {"loss_discriminator"}


@pytest.mark.parametrize("supervision", ["atrous", "naive"])
def test_without_content_loss_turns_and_all_other_losses_are_the_same(supervision):
    found = {}
    for content_loss in (True, False):
        torch.manual_seed(0)
        model = super_resolved("faster_rcnn_c4", supervision, content_loss=content_loss)
        awaken(model.roi_heads.super_resolution)
        model.backbone.eval()
        freeze_all_but(model, SR, "roi_heads.small_")
        for iteration in range(3):
            torch.manual_seed(1)
            found[content_loss, iteration] = gradients(model, iteration)
    for iteration in range(3):
        (reached, losses), (reached_without, without) = (found[k, iteration] for k in (True, False))
        assert reached_without == reached
        content = {"loss_content"} if iteration % 2 else set()
        assert losses.keys() - without.keys() == content
        for key in without:
            torch.testing.assert_close(without[key], losses[key])


@needs_no_run
@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("supervision", ["atrous", "naive"])
def test_outside_a_run_both_players_train_at_once(name, supervision):
    torch.manual_seed(0)
    model = super_resolved(name, supervision)
    awaken(model.roi_heads.super_resolution)
    model.backbone.eval()
    trained = freeze_all_but(model, SR, "roi_heads.small_")
    assert gradients(model)[0] == trained


@pytest.mark.parametrize("name", KINDS)
def test_the_last_stage_trains_both_predictors_each_on_its_own_proposals(name):
    torch.manual_seed(0)
    model = super_resolved(name)
    awaken(model.roi_heads.super_resolution.generators)
    trained = freeze_all_but(model, "roi_heads.small_", *LARGE)
    with EventStorage(0) as storage:
        losses = model(training_inputs())
        sum(losses.values()).backward()
        names = set(storage.latest())
    assert {n for n, p in model.named_parameters() if p.grad is not None} == trained
    stages = ["_stage0", "_stage1", "_stage2"] if name == "cascade_rcnn" else [""]
    kinds = ("loss_cls", "loss_box_reg", "loss_cls_small", "loss_box_reg_small")
    assert set(losses) == {kind + stage for kind in kinds for stage in stages}
    assert {"small/fast_rcnn/cls_accuracy", "large/fast_rcnn/cls_accuracy"} <= names


@torch.no_grad()
def test_losses_are_those_of_each_predictor_on_its_proposals():
    torch.manual_seed(0)
    model = super_resolved("faster_rcnn_fpn")
    heads = model.roi_heads
    awaken(heads.super_resolution.generators)
    awaken(heads.small_box_predictor)
    images = model.preprocess_image(training_inputs())
    features = model.backbone(images.tensor)
    targets = [x["instances"] for x in training_inputs()]
    with EventStorage(1):
        proposals, _ = model.proposal_generator(images, features, targets)
        sampled = heads.label_and_sample_proposals(proposals, targets)
        losses = heads._forward_box(features, sampled)
    boxes = [p.proposal_boxes for p in sampled]
    masks = [b.area() < 24**2 for b in boxes]
    assert 0 < sum(m.sum() for m in masks) < sum(map(len, masks))
    maps = [features[key] for key in heads.box_in_features]
    for suffix, wanted in (("", [~m for m in masks]), ("_small", masks)):
        mine = [p[m] for p, m in zip(sampled, wanted, strict=True)]
        regions = heads.box_pooler(maps, [p.proposal_boxes for p in mine])
        head, predictor = heads.box_head, heads.box_predictor
        if suffix:
            head, predictor = heads.small_box_head, heads.small_box_predictor
            sub = heads.super_resolution.sub_pooler(
                [features["p2"]], [p.proposal_boxes for p in mine]
            )
            regions = heads.super_resolution.generators["2"](regions, sub)
        with EventStorage(1):
            expected = predictor.losses(predictor(head(regions)), mine)
        for key, value in expected.items():
            torch.testing.assert_close(losses[key + suffix], value)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("max_area", [0.0, 1e9])
@pytest.mark.parametrize("ratios", [(2,), (2, 4)])
def test_batches_of_small_or_large_proposals_alone_train(name, max_area, ratios):
    torch.manual_seed(0)
    model = super_resolved(name, max_area=max_area, ratios=ratios)
    freeze_all_but(model, SR, "roi_heads.small_", *LARGE)
    model.backbone.eval()
    _, losses = gradients(model, iteration=3)  # the turn of the last ratio's generator
    assert all(torch.isfinite(value) for value in losses.values())
    absent = "loss_cls_small" if max_area == 0 else "loss_cls"
    stage = "_stage0" if name == "cascade_rcnn" else ""
    assert losses[absent + stage].item() == 0
    assert (losses["loss_content"].item() == 0) == (max_area == 0)


@torch.no_grad()
def test_evaluation_runs_nothing_that_only_supervises():
    model = super_resolved("faster_rcnn_c4", max_area=1e6).eval()  # every proposal is small
    calls = []
    watched = {
        "discriminator": model.roi_heads.super_resolution.discriminators["2"],
        "downsampler": model.downsamplers["2"],
        "backbone": model.backbone,
        "generator": model.roi_heads.super_resolution.generators["2"],
    }
    for name, module in watched.items():
        module.register_forward_hook(lambda *_, name=name: calls.append(name))
    model._twins = None  # would raise where one was called
    model(evaluation_inputs()[:1])
    assert calls == ["backbone", "generator"]
    fresh = copy.deepcopy(super_resolved("faster_rcnn_c4"))
    assert fresh._twins[2].backbone is fresh.backbone


def test_the_twin_is_built_for_training_with_it_alone():
    assert super_resolved("faster_rcnn_c4", "naive")._twins == {}
    assert list(super_resolved("faster_rcnn_c4", "atrous")._twins) == [2]


def test_teaching_passes_leave_running_statistics_and_modes_alone():
    torch.manual_seed(0)
    model = super_resolved("faster_rcnn_c4")
    freeze_all_but(model, SR, "roi_heads.small_")
    model.backbone.eval()
    model.backbone.stem.train()  # one part in another mode, which is restored
    before = {n: b.clone() for n, b in model.backbone.named_buffers() if "stem" not in n}
    gradients(model, iteration=1)
    assert model.backbone.stem.training and not model.backbone.res2.training
    for name, buffer in model.backbone.named_buffers():
        if name in before:
            assert torch.equal(buffer, before[name]), name
