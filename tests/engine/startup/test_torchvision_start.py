"""What a run warns of that starts from torchvision's weights: pixels and strides."""

from lowres_d2.engine.build import build_datasets, build_model
from lowres_d2.engine.startup.pixels import other_pixels_warning
from lowres_d2.engine.startup.report import StartUp, start_up_report
from lowres_d2.engine.startup.strides import strides_warning
from lowres_d2.modeling.weights import LoadReport
from lowres_d2.recipes.load import build, load_recipe

import pytest
from detectron2.modeling.backbone.resnet import BottleneckBlock
from omegaconf import OmegaConf
from torch import nn

MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]
TORCHVISION = LoadReport("w.pth", 1, torchvision=True)


def recipe(mean, std, **mapper):
    detector = {"pixel_mean": mean, "pixel_std": std}
    train = {"mapper": mapper}
    return OmegaConf.create(
        {"model": {"detector": detector}, "dataloader": {"train": train} if mapper else {}}
    )


@pytest.mark.parametrize(
    "cfg",
    [
        recipe(MEAN, STD),
        recipe(MEAN, STD, image_format="RGB"),
        recipe([255 * m for m in (0.485, 0.456, 0.406)], [255 * s for s in (0.229, 0.224, 0.225)]),
        recipe([110.0], [60.0], image_format="L"),
    ],
)
def test_pixels_as_torchvision_has_them_are_not_warned_of(cfg):
    assert other_pixels_warning(cfg, TORCHVISION) == ""


def test_other_pixels_are_warned_of():
    detectron2 = recipe(MEAN[::-1], [1.0, 1.0, 1.0], image_format="BGR")
    warning = other_pixels_warning(detectron2, TORCHVISION)
    assert warning.startswith("w.pth is a ResNet of torchvision's kind, trained with pixel_mean [1")
    assert (
        "pixel_mean [123.675, 116.28, 103.53], the model has [103.53, 116.28, 123.675]" in warning
    )
    assert "pixel_std [58.395, 57.12, 57.375], the model has [1.0, 1.0, 1.0]" in warning
    assert "image_format RGB, the model has BGR" in warning and "\n" not in warning
    assert other_pixels_warning(detectron2, LoadReport("w.pth", 1)) == ""


def block(stride, in_1x1):
    return BottleneckBlock(8, 16, bottleneck_channels=4, stride=stride, stride_in_1x1=in_1x1)


def test_strides_in_the_first_convolution_are_warned_of():
    model = nn.ModuleDict({"detector": nn.Sequential(block(1, True), block(2, True))})
    warning = strides_warning(model, TORCHVISION)
    assert "strides in the 3x3 convolutions; the model's are in the first 1x1 (1)" in warning
    assert "set stride_in_1x1=False" in warning and "\n" not in warning
    assert strides_warning(model, LoadReport("w.pth", 1)) == ""
    assert strides_warning(nn.Sequential(block(1, True), block(2, False)), TORCHVISION) == ""


def test_a_run_warns_of_both(tmp_path):
    toy = [f"dataloader.{split}.dataset.num_images=4" for split in ("train", "test")]
    own = [f"dataloader.train.dataset.root={tmp_path}", "train.device=cpu", "train.max_iter=2"]
    cfg = load_recipe("configs/quick/full_fcos_small_256_plates.py", [*toy, *own])
    build_datasets(cfg)
    model = build_model(cfg)
    model.detector.branch = block(2, True)
    run = StartUp(cfg, model, build(cfg, "dataloader.evaluator"), "train", TORCHVISION)
    start_up_report(run)
    (pixels,) = [text for text in run.warnings if "see other pixels" in text]
    (strides,) = [text for text in run.warnings if "stride_in_1x1" in text]
    assert pixels.startswith("w.pth") and "branch" in strides
