"""Deformable DETR: size, cost, padding, initialisation, and its interface to Detectron2."""

import math
from itertools import pairwise
from pathlib import Path

import lowres_d2  # noqa: F401
from lowres_d2.engine.lr_factors import LearningRateFactors
from lowres_d2.modeling.deformable_detr.encoder import Encoder
from lowres_d2.modeling.deformable_detr.geometry import PyramidGeometry
from lowres_d2.modeling.deformable_detr.heads import BoxHead
from lowres_d2.modeling.deformable_detr.neck import LevelProjection
from lowres_d2.modeling.deformable_detr.position import sine_features
from lowres_d2.modeling.deformable_detr.proposals import TwoStageQueries
from lowres_d2.modeling.teacher import Tap, TapRecorder
from lowres_d2.modeling.without_values import without_values

import pytest
import torch
from detectron2.config import LazyConfig, instantiate
from detectron2.layers import ShapeSpec
from detectron2.structures import ImageList
from torch.utils.flop_counter import FlopCounterMode

from toys.detectors import random_image, training_input

CONFIGS = Path(__file__).parents[3] / "configs/common"
VARIANTS = {
    "plain": {},
    "refine": {"with_box_refine": True},
    "two_stage": {"with_box_refine": True, "two_stage": True},
}
# MACs of the paper's model: G by height and width.
PAPER = {(800, 1120): 171.0, (400, 560): 44.80, (200, 280): 13.22}


def recipe(name="deformable_detr", **changes):
    model = LazyConfig.load(str(CONFIGS / f"models/{name}.py")).model
    for key, value in changes.items():
        model[key] = value
    return model


def small(**changes):
    torch.manual_seed(0)
    return instantiate(recipe("deformable_detr_small", dropout=0.0, **changes))


@pytest.fixture(scope="module")
def on_meta():
    with without_values():
        return instantiate(recipe(num_classes=91))


def macs(model, height, width):
    with FlopCounterMode(display=False) as counter, torch.no_grad(), torch.device("meta"):
        model.predict(ImageList(torch.empty(1, 3, height, width), [(height, width)]))
    return counter.get_total_flops() / 2e9


@pytest.mark.parametrize("classes, parameters", [(91, 40_069_665), (80, 40_066_838)])
def test_plain_variant_has_40_07_million_parameters(classes, parameters):
    with without_values():
        model = instantiate(recipe(num_classes=classes))
    assert sum(p.numel() for p in model.parameters()) == parameters
    assert round(parameters / 1e6, 2) == 40.07


@pytest.mark.parametrize("size", PAPER)
def test_macs_with_the_heads_of_every_layer_are_those_of_the_paper(on_meta, size):
    assert macs(on_meta.train(), *size) == pytest.approx(PAPER[size], rel=0.002)


def test_evaluation_skips_the_heads_of_earlier_layers(on_meta):
    size = (200, 280)
    spared = 5 * 300 * (256 * 91 + 2 * 256 * 256 + 256 * 4) / 1e9
    assert macs(on_meta.eval(), *size) == pytest.approx(macs(on_meta.train(), *size) - spared)


def test_sine_features_are_waves_of_geometric_periods():
    features = sine_features(torch.tensor([0.3]), 4)[0]
    angles = [0.3 * 2 * math.pi, 0.3 * 2 * math.pi / 100]
    expected = [wave(angle) for angle in angles for wave in (math.sin, math.cos)]
    torch.testing.assert_close(features, torch.tensor(expected))


def test_cells_of_images_of_different_sizes_are_in_the_frame_of_their_image():
    maps = [torch.empty(2, 1, 4, 6), torch.empty(2, 1, 2, 3)]
    geometry = PyramidGeometry.of(maps, (32, 48), [(32, 48), (20, 16)])
    assert geometry.valid.tolist() == [[[6, 4], [3, 2]], [[2, 3], [1, 2]]]
    inside = (~geometry.padding[1]).nonzero().flatten().tolist()
    assert inside == [0, 1, 6, 7, 12, 13, 24, 27]
    centres = geometry.centres()
    assert centres[0, 7].tolist() == pytest.approx([1.5 / 6, 1.5 / 4])
    assert centres[1, 7].tolist() == pytest.approx([1.5 / 2, 1.5 / 3])
    on_maps = geometry.to_maps(centres)
    assert on_maps[1, 7].tolist() == [pytest.approx([0.25, 0.375]), pytest.approx([0.25, 0.5])]
    halves = [level.half() for level in maps]
    alike = PyramidGeometry.of(halves, (32, 48), [(32, 48)] * 2)
    assert alike.padding is None
    assert alike.centres().dtype == torch.float32


def test_encoder_output_of_a_padded_image_is_that_of_the_image_alone():
    torch.manual_seed(0)
    encoder = Encoder(2, 2, channels=16, num_heads=4, feedforward=24, dropout=0.0)
    maps = [torch.randn(1, 16, 6, 4), torch.randn(1, 16, 3, 2)]
    padded = [torch.randn(2, 16, 8, 8), torch.randn(2, 16, 4, 4)]
    for whole, part in zip(padded, maps, strict=True):
        whole[1:, :, : part.shape[2], : part.shape[3]] = part

    def encode(levels, size, sizes):
        geometry = PyramidGeometry.of(levels, size, sizes)
        cells = torch.cat([level.flatten(2).transpose(1, 2) for level in levels], 1)
        position = torch.cat(geometry.position_features(16), 1)
        return encoder(cells, position, geometry), geometry

    alone, _ = encode(maps, (48, 32), [(48, 32)])
    batch, geometry = encode(padded, (64, 64), [(64, 64), (48, 32)])
    torch.testing.assert_close(batch[1][~geometry.padding[1]], alone[0])


def test_levels_coarser_than_the_backbones_are_computed_from_its_last_feature_map():
    shapes = {"a": ShapeSpec(channels=4, stride=8), "b": ShapeSpec(channels=6, stride=16)}
    neck = LevelProjection(shapes, ["a", "b"], 32, num_levels=4)
    levels = neck({"a": torch.randn(1, 4, 9, 9), "b": torch.randn(1, 6, 5, 5)})
    assert [tuple(level.shape) for level in levels] == [(1, 32, s, s) for s in (9, 5, 3, 2)]
    assert [convolution.in_channels for convolution in neck.below] == [6, 32]
    with pytest.raises(ValueError, match="expected 1 to 4 of the backbone's feature maps"):
        LevelProjection(shapes, ["a", "c"])


def test_boxes_start_at_their_references():
    reference = torch.tensor([[0.2, 0.7], [0.5, 0.1]])
    boxes = BoxHead(8, size_bias=-2.0)(torch.randn(2, 8), reference)
    size = 1 / (1 + math.exp(2))
    torch.testing.assert_close(boxes, torch.cat([reference, torch.full((2, 2), size)], 1))
    torch.testing.assert_close(BoxHead(8)(torch.randn(2, 8), boxes), boxes)


def test_class_scores_start_at_one_percent():
    model = small()
    prior = model.class_heads[0].bias.detach().sigmoid()
    torch.testing.assert_close(prior, torch.full_like(prior, 0.01))


@pytest.mark.parametrize("variant", VARIANTS)
def test_training_reaches_every_parameter_and_names_its_losses(variant):
    model = small(**VARIANTS[variant])
    losses = model([training_input(64, 96), training_input(70, 50, seed=1)])
    names = {f"loss_{kind}{i}" for kind in ("class", "bbox", "giou") for i in ("", "_0")}
    if variant == "two_stage":
        names |= {f"loss_{kind}_enc" for kind in ("class", "bbox", "giou")}
    assert set(losses) == names
    sum(losses.values()).backward()
    assert not [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]


@pytest.mark.parametrize("variant", VARIANTS)
def test_detections_of_equal_images_do_not_depend_on_the_batch(variant):
    model = small(**VARIANTS[variant], test_topk=7).eval()
    inputs = [{"image": random_image(64, 96, seed), "height": 128, "width": 192} for seed in (0, 1)]
    with torch.no_grad():
        batch, alone = model(inputs)[1]["instances"], model(inputs[1:])[0]["instances"]
    assert batch.image_size == (128, 192)
    assert 0 < len(batch) <= 7
    assert (batch.scores[:-1] >= batch.scores[1:]).all()
    torch.testing.assert_close(batch.pred_boxes.tensor, alone.pred_boxes.tensor, rtol=0, atol=1e-3)
    assert torch.equal(batch.pred_classes, alone.pred_classes)


def test_detections_are_the_best_pairs_of_query_and_class_in_pixels():
    model = small(test_topk=2)
    logits = torch.full((1, 3, 8), -9.0)
    logits[0, 2, 5], logits[0, 2, 1] = 2.0, 1.0
    boxes = torch.tensor([[[0.5, 0.5, 0.1, 0.1]] * 2 + [[0.25, 0.5, 0.5, 0.2]]])
    (found,) = model.inference({"pred_logits": logits, "pred_boxes": boxes}, [(100, 200)])
    assert found.pred_classes.tolist() == [5, 1]
    torch.testing.assert_close(found.scores, torch.tensor([2.0, 1.0]).sigmoid())
    expected = torch.tensor([[0.0, 40.0, 100.0, 60.0]] * 2)
    torch.testing.assert_close(found.pred_boxes.tensor, expected)


def test_ground_truth_is_normalised_by_the_unpadded_image():
    model = small()
    x = training_input(40, 80)
    (target,) = model.targets([x])
    left, top, right, bottom = x["instances"].gt_boxes.tensor[0].tolist()
    expected = [(left + right) / 160, (top + bottom) / 80, (right - left) / 80, (bottom - top) / 40]
    assert target["boxes"][0].tolist() == pytest.approx(expected)
    with pytest.raises(KeyError, match="training needs 'instances'"):
        model.targets([{"image": x["image"]}])


@pytest.mark.parametrize("training", [True, False])
def test_taps_record_the_last_layers_predictions_once(training):
    model = small().train(training)
    taps = [Tap("pred_logits"), Tap("pred_boxes")]
    recorder = TapRecorder(model, taps)
    images = model.preprocess_image([{"image": random_image(64, 96)}])
    with torch.no_grad(), recorder.recording(taps) as caught:
        outputs = model.predict(images)
    for tap in taps:
        assert len(caught[tap]) == 1
        assert torch.equal(caught[tap][0], outputs[tap.path])
    assert ("aux_outputs" in outputs) == training


def test_refinement_updates_references_layer_by_layer():
    model = small(with_box_refine=True, decoder_layers=3)
    for head in model.box_heads:
        torch.nn.init.constant_(head.layers[-1].bias, 0.5)
    outputs = model.predict(model.preprocess_image([{"image": random_image(64, 96)}]))
    layers = [*outputs["aux_outputs"], outputs]
    for before, after in pairwise(layers):
        moved = (before["pred_boxes"].logit() + 0.5).sigmoid()
        torch.testing.assert_close(after["pred_boxes"], moved, atol=1e-5, rtol=0)


def test_two_stage_queries_are_the_best_cells_inside_the_image():
    torch.manual_seed(0)
    queries = TwoStageQueries(3, 8, num_classes=2)
    maps = [torch.randn(2, 8, 4, 4)]
    geometry = PyramidGeometry.of(maps, (32, 32), [(32, 32), (32, 16)])
    found = queries(maps[0].flatten(2).transpose(1, 2), geometry)
    logits, boxes = found.proposals["pred_logits"], found.proposals["pred_boxes"]
    best = logits[..., 0].topk(3, dim=1).indices
    torch.testing.assert_close(found.reference, boxes.gather(1, best[..., None].expand(-1, -1, 4)))
    assert not found.reference.requires_grad
    # An untrained box head proposes a square of 0.05 at each cell, and nothing in the padding.
    torch.testing.assert_close(boxes[0, 5], torch.tensor([0.375, 0.375, 0.05, 0.05]))
    torch.testing.assert_close(boxes[1, 5], torch.tensor([0.75, 0.375, 0.05, 0.05]))
    assert (boxes[1, 6] == 1).all()


def test_learning_rates_of_backbone_offsets_and_references():
    factors = LearningRateFactors({"backbone": 0.1, "sampling_offsets": 0.2})
    assert factors("detector.backbone.res3.0.conv1.weight") == 0.1
    assert factors("decoder.layers.0.attention.sampling_offsets.bias") == 0.2
    assert factors("my_backbone.weight") == 1.0
    model = small()
    optimizer = LazyConfig.load(str(CONFIGS / "optim_detr.py")).AdamW
    optimizer.params.model = model
    groups = instantiate(optimizer).param_groups
    rates = {id(p): group["lr"] for group in groups for p in group["params"]}
    assert {group["weight_decay"] for group in groups} == {1e-4}
    for name, parameter in model.named_parameters():
        slow = any(part in name for part in ("backbone", "sampling_offsets", "reference_points"))
        assert rates[id(parameter)] == pytest.approx(2e-5 if slow else 2e-4), name
