"""Deformable DETR against `transformers` (pip install lowres-d2[test]): weights, outputs, losses.

All weights of their model are random, also those of offsets, attention and boxes, which start at 0.
"""

import lowres_d2  # noqa: F401
from lowres_d2.modeling.deformable_detr.convert import convert_deformable_detr
from lowres_d2.modeling.deformable_detr.criterion import SetCriterion
from lowres_d2.modeling.deformable_detr.matcher import HungarianMatcher
from lowres_d2.programs.convert_deformable_detr import convert
from lowres_d2.recipes.load import build, load_recipe
from lowres_d2.weight_files import read_weight_file

import pytest
import torch
from detectron2.data.datasets.builtin_meta import COCO_CATEGORIES

from toys.deformable_detr import SMALL, VARIANTS, deformable_detr
from toys.detectors import random_image

transformers = pytest.importorskip("transformers", reason="needs transformers: extra `test`")


FULL = dict(
    widths=(64, 256, 512, 1024, 2048),
    depths=(3, 4, 6, 3),
    channels=256,
    heads=8,
    layers=(6, 6),
    feedforward=1024,
    queries=300,
    classes=91,
)
IMAGENET_MEAN, IMAGENET_STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
RECIPE = "projects/ThumbDet/configs/coco/full_deformable_detr_r50_800_coco_50ep.py"


def theirs(size, **variant):
    """Their model with random weights and batch-norm statistics."""
    torch.manual_seed(0)
    backbone = transformers.ResNetConfig(
        embedding_size=size["widths"][0],
        hidden_sizes=list(size["widths"][1:]),
        depths=list(size["depths"]),
        layer_type="bottleneck",
        out_features=["stage2", "stage3", "stage4"],
    )
    config = transformers.DeformableDetrConfig(
        backbone=None,
        use_timm_backbone=False,
        use_pretrained_backbone=False,
        backbone_config=backbone,
        d_model=size["channels"],
        encoder_layers=size["layers"][0],
        decoder_layers=size["layers"][1],
        encoder_attention_heads=size["heads"],
        decoder_attention_heads=size["heads"],
        encoder_ffn_dim=size["feedforward"],
        decoder_ffn_dim=size["feedforward"],
        num_queries=size["queries"],
        two_stage_num_proposals=size["queries"],
        num_labels=size["classes"],
        auxiliary_loss=True,
        class_cost=2,
        **variant,
    )
    model = transformers.DeformableDetrForObjectDetection(config).eval()
    for parameter in model.parameters():
        if parameter.dim() < 4:
            scale = parameter.shape[1] ** -0.5 if parameter.dim() == 2 else 0.1
            parameter.data += scale * torch.randn_like(parameter)
    for name, buffer in model.named_buffers():
        if name.endswith("running_var"):
            buffer.uniform_(0.5, 1.5)
        elif name.endswith("running_mean"):
            buffer.normal_(0, 0.1)
    return model


def converted(model, size, weights=None, **variant):
    """Ours with their weights."""
    mine = deformable_detr(size, **variant)
    weights = model.state_dict() if weights is None else weights
    mine.load_state_dict(convert_deformable_detr(weights, mine), strict=True)
    return mine


def images(*sizes):
    generator = torch.Generator().manual_seed(3)
    return [{"image": torch.randn(3, *size, generator=generator)} for size in sizes]


def padded(inputs):
    """Their images and mask."""
    height = max(x["image"].shape[1] for x in inputs)
    width = max(x["image"].shape[2] for x in inputs)
    batch = torch.zeros(len(inputs), 3, height, width)
    mask = torch.zeros(len(inputs), height, width, dtype=torch.long)
    for i, x in enumerate(inputs):
        _, h, w = x["image"].shape
        batch[i, :, :h, :w], mask[i, :h, :w] = x["image"], 1
    return dict(pixel_values=batch, pixel_mask=mask)


def assert_close(found, expected):
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def assert_equal_outputs(model, mine, inputs):
    expected = model(**padded(inputs))
    found = mine.predict(mine.preprocess_image(inputs))
    assert found["pred_logits"].std() > 0.05 and found["pred_boxes"].std() > 0.01
    assert_close(found["pred_logits"], expected.logits)
    assert_close(found["pred_boxes"], expected.pred_boxes)


@pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS)
@pytest.mark.parametrize("sizes", [[(128, 160)], [(96, 128), (128, 75), (61, 130)]], ids=str)
def test_same_weights_give_the_same_outputs(variant, sizes):
    model = theirs(SMALL, **variant)
    assert_equal_outputs(model, converted(model, SMALL, **variant), images(*sizes))


@pytest.mark.slow
@torch.no_grad()
@pytest.mark.parametrize("name", ["plain", "two_stage"])
def test_the_recipe_with_converted_weights_gives_the_same_outputs(name, tmp_path):
    model = theirs(FULL, **VARIANTS[name])
    model.save_pretrained(tmp_path)
    changes = [f"model.detector.{key}={value}" for key, value in VARIANTS[name].items()]
    convert(RECIPE, tmp_path / "model.safetensors", tmp_path / "ours.pth", True, changes)
    mine = build(load_recipe(RECIPE, changes), "model").detector.eval()
    mine.load_state_dict(read_weight_file(tmp_path / "ours.pth")["model"])
    pixels = [random_image(160, 192), random_image(120, 192, seed=1)]
    found = mine.predict(mine.preprocess_image([{"image": x} for x in pixels]))
    mean, std = (torch.tensor(x).view(3, 1, 1) for x in (IMAGENET_MEAN, IMAGENET_STD))
    expected = model(**padded([{"image": (x / 255 - mean) / std} for x in pixels]))
    ids = [x["id"] for x in COCO_CATEGORIES if x.get("isthing", 1)]
    assert len(ids) == 80 and found["pred_boxes"].std() > 0.01
    assert_close(found["pred_logits"], expected.logits[..., ids])
    assert_close(found["pred_boxes"], expected.pred_boxes)


@pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS)
def test_files_that_transformers_writes_are_read(variant, tmp_path):
    model = theirs(SMALL, **variant)
    model.save_pretrained(tmp_path)
    weights = read_weight_file(tmp_path / "model.safetensors")["model"]
    mine = converted(model, SMALL, weights, **variant)
    assert_equal_outputs(model, mine, images((128, 128)))


@pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS)
def test_same_outputs_give_the_same_losses(variant):
    model = theirs(SMALL, **variant)
    generator = torch.Generator().manual_seed(1)
    targets = [
        {
            "labels": torch.randint(0, SMALL["classes"], (count,), generator=generator),
            "boxes": torch.rand(count, 4, generator=generator) * 0.4 + 0.1,
        }
        for count in (4, 2, 1)
    ]
    labels = [{"class_labels": t["labels"], "boxes": t["boxes"]} for t in targets]
    result = model(**padded(images((96, 128), (128, 75), (61, 130))), labels=labels)
    outputs = {
        "pred_logits": result.logits,
        "pred_boxes": result.pred_boxes,
        "aux_outputs": [
            {"pred_logits": x["logits"], "pred_boxes": x["pred_boxes"]}
            for x in result.auxiliary_outputs
        ],
    }
    found = SetCriterion(SMALL["classes"], HungarianMatcher())(outputs, targets)
    weights = {"loss_class": 2, "loss_bbox": 5, "loss_giou": 2}  # theirs are raw
    expected = {
        name: factor * result.loss_dict[name.replace("class", "ce")].item()
        for prefix, factor in weights.items()
        for name in (prefix, f"{prefix}_0", f"{prefix}_1")
    }
    assert {k: v.item() for k, v in found.items()} == pytest.approx(expected, rel=1e-4)
