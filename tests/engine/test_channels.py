"""Models of one or many channels follow their images, or the mismatch is one line at the start."""

import copy
import logging

from lowres_d2.engine.build import build_model
from lowres_d2.engine.channels import check_channels, expected_channels
from lowres_d2.modeling.channels import input_channels
from lowres_d2.modeling.resample import Resampler
from lowres_d2.programs.train import main
from lowres_d2.recipes.load import load_recipe

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from toys.data import ToyData
from toys.runs import PLAIN

FORMAT = "dataloader.train.mapper.image_format="
FULL = "configs/quick/full_fcos_small_256_plates.py"
LEARNED = "projects/ThumbDet/configs/quick/thumbdet4_fcos_small_64_plates.py"
STEM = "model.detector.backbone.bottom_up.in_channels="
RECIPES = {
    "fcos": FULL,
    "thumbnails, with a teacher": LEARNED,
    "any factor": "projects/ThumbDet/configs/quick/any_factor_fcos_small_256_plates.py",
    "super-resolved": "projects/FeatureSR/configs/quick/feature_sr_faster_rcnn_small_256_plates.py",
}


def built(recipe, *changes):
    cfg = load_recipe(recipe, ["train.device=cpu", *changes])
    return cfg, build_model(cfg)


def networks(model):
    teacher = getattr(model, "teacher", None)
    yield getattr(model, "detector", model)
    if teacher is not None:
        yield teacher.model


@pytest.mark.parametrize("name", RECIPES)
def test_grey_images_make_a_model_of_one_channel(name, caplog):
    caplog.set_level(logging.INFO)
    _, model = built(RECIPES[name], f"{FORMAT}L")
    for network in networks(model):
        assert (len(network.pixel_mean), len(network.pixel_std)) == (1, 1)
        assert network.pixel_mean.item() == 115
        assert input_channels(network.backbone) == 1
    assert expected_channels(model) == 1
    assert "1, with pixel_mean [115.0] and pixel_std [64.0]" in caplog.text
    image = torch.randint(0, 256, (1, 64, 64), dtype=torch.uint8)
    with torch.no_grad():
        assert "instances" in model.eval()([{"image": image}])[0]


@pytest.mark.parametrize("recipe", [FULL, LEARNED])
def test_many_channels_follow_the_stem(recipe):
    cfg, model = built(recipe, f"{FORMAT}null", f"{STEM}5")
    for network in networks(model):
        assert len(network.pixel_mean) == input_channels(network.backbone) == 5
    assert expected_channels(model) == 5
    # Every image must have as many.
    assert cfg.dataloader.train.mapper.channels == cfg.dataloader.test.mapper.channels == 5
    image = torch.rand(5, 64, 64) * 255
    with torch.no_grad():
        assert "instances" in model.eval()([{"image": image}])[0]


def test_the_statistics_that_a_recipe_sets_stay():
    _, model = built(
        FULL, f"{FORMAT}L", "model.detector.pixel_mean=[110]", "model.detector.pixel_std=[50]"
    )
    assert (model.detector.pixel_mean.item(), model.detector.pixel_std.item()) == (110, 50)


def test_colours_change_nothing():
    cfg, model = built(FULL)
    assert model.detector.pixel_mean.flatten().tolist() == [115] * 3
    assert cfg.dataloader.train.mapper.channels is None


def test_a_run_on_infrared_arrays_trains_and_evaluates(tmp_path):
    data = ToyData(tmp_path / "data", number=2)
    for entry in data.content["images"]:
        name = entry["file_name"]
        pixels = np.asarray(Image.open(data.images / name)).astype(np.uint16) * 10 + 7000
        entry["file_name"] = name.replace(".png", ".npy")
        np.save(data.images / entry["file_name"], np.concatenate([pixels, pixels[..., :1]], axis=2))
    data.write()
    main(
        [
            "--config-file",
            PLAIN,
            *data.overrides(),
            f"{FORMAT}null",
            "dataloader.train.mapper.value_range=[7000,9550]",
            f"{STEM}4",
            f"train.output_dir={tmp_path / 'run'}",
        ]
    )
    weights = torch.load(tmp_path / "run" / "model_final.pth", weights_only=True)["model"]
    stem = next(w for name, w in weights.items() if name.endswith("stem.conv1.weight"))
    assert stem.shape[1] == 4


WIDE = [f"{STEM}12", "+model.resampler.out_channels=12", "model.teacher=null"]


def test_a_detector_behind_wide_thumbnails_follows_them_and_not_the_image():
    _, model = built("projects/ThumbDet/configs/quick/learned4_fcos_small_64_plates.py", *WIDE)
    assert len(model.detector.pixel_mean) == 12
    assert expected_channels(model) == 3


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ([f"{STEM}5"], ["images have 3 channels", "image_format=RGB", "model.detector", "has 5"]),
        (["model.detector.pixel_mean=[110]"], ["images have 3 channels", "has 1"]),
        (
            [f"{FORMAT}L", "model.detector.pixel_mean=[110,110]"],
            ["images have 1 channels", "image_format=L", "has 2"],
        ),
        (
            [f"{STEM}5", "model.detector.pixel_mean=[1,2]"],
            ["contradict each other", "pixel_mean 2", "in_channels 5"],
        ),
        ([f"{FORMAT}GRB"], ["image_format='GRB'", "RGB, BGR, L"]),
        (["dataloader.test.mapper.image_format=L"], ["dataloader.test.mapper.image_format=L"]),
    ],
)
def test_what_does_not_fit_is_one_line_before_anything_else(changes, words):
    with pytest.raises(ValueError) as caught:
        built(FULL, *changes)
    text = str(caught.value)
    assert "\n" not in text and all(word in text for word in words), text


def test_a_resampler_of_other_channels_is_named():
    with pytest.raises(ValueError, match=r"images have 3 channels, .*resampler takes 4"):
        built(
            "projects/ThumbDet/configs/quick/learned4_fcos_small_64_plates.py",
            "+model.resampler.in_channels=4",
        )


def test_the_first_convolution_is_found_by_running_to_it():
    late = nn.ModuleDict({"late": nn.Conv2d(8, 4, 1), "first": nn.Conv2d(6, 8, 3)})
    late.forward = lambda image: late["late"](late["first"](image))
    assert input_channels(late) == 6
    assert not any(module._forward_pre_hooks for module in late.modules())
    assert input_channels(nn.Linear(3, 3)) is None


class Normalized(Resampler):
    """A resampler of a user's own."""

    def __init__(self, factor):
        super().__init__(factor)
        self.norm = nn.BatchNorm2d(3)
        self.convolution = nn.Conv2d(3, 12, factor, factor)

    def resample(self, images):
        return self.convolution(self.norm(images))


@pytest.mark.parametrize("factor", [2, 65, 128])
def test_the_channels_of_a_resampler_are_found_without_changing_it(factor):
    cfg, model = built("projects/ThumbDet/configs/quick/learned4_fcos_small_64_plates.py", *WIDE)
    model.resampler = Normalized(factor).train()
    model.resampler.convolution.eval()  # a frozen part
    before = copy.deepcopy(model.resampler.state_dict())
    check_channels(cfg, model)
    assert model.resampler.state_dict().keys() == before.keys()
    for name, value in model.resampler.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert model.resampler.norm.training and not model.resampler.convolution.training
