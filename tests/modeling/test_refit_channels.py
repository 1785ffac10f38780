"""Weights made for colours, in networks for images of other channels."""

from lowres_d2.engine.startup.weights import check_used, describe_weights
from lowres_d2.modeling import LowResDetector
from lowres_d2.modeling.backbone import MobileNetV2
from lowres_d2.modeling.resample import LearnedDownsampler
from lowres_d2.modeling.weights import load_weights

import pytest
import torch
from torch import nn


class Detector(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.stem = nn.Conv2d(channels, 4, 3, padding=1)
        self.head = nn.Conv2d(4, 2, 3)
        self.register_buffer("pixel_mean", torch.zeros(channels, 1, 1), False)

    def forward(self, image):
        return self.head(self.stem(image))


@pytest.fixture
def colours(tmp_path):
    model = Detector(3)
    path = tmp_path / "colours.pth"
    torch.save({"model": model.state_dict()}, path)
    return model, path


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_grey_gives_the_same_features_in_any_number_of_channels(colours, channels):
    original, path = colours
    model = Detector(channels)
    report = load_weights(model, path)
    grey = torch.rand(1, 1, 8, 8)
    expected = original(grey.expand(1, 3, 8, 8))
    assert torch.allclose(model(grey.expand(1, channels, 8, 8)), expected, atol=1e-6)
    assert report.refitted == ["stem.weight from 3 channels"]
    assert (report.matched, report.misshapen, report.missing) == (4, [], [])
    check_used(report)
    assert "stem.weight from 3 channels" in describe_weights(report)
    assert "stem.weight from 3 channels" in str(report)


def test_names_matched_by_rules_are_refitted_too(colours):
    original, path = colours
    model = LowResDetector(Detector(1), LearnedDownsampler(4, 2, in_channels=1))
    report = load_weights(model, f"{path}?matching_heuristics=True")
    assert report.refitted == ["detector.stem.weight from 3 channels"]
    summed = original.stem.weight.sum(dim=1, keepdim=True)
    assert torch.allclose(model.detector.stem.weight, summed)


def test_one_channel_goes_into_three(tmp_path):
    grey, model = Detector(1), Detector(3)
    torch.save({"model": grey.state_dict()}, tmp_path / "grey.pth")
    load_weights(model, tmp_path / "grey.pth")
    image = torch.rand(1, 1, 8, 8)
    assert torch.allclose(model(image.expand(1, 3, 8, 8)), grey(image), atol=1e-6)


def test_channels_beyond_the_colours_of_wide_thumbnails_start_at_zero(colours):
    original, path = colours
    model = LowResDetector(Detector(6), LearnedDownsampler(4, 2, out_channels=6))
    load_weights(model, path)
    weight = model.detector.stem.weight
    assert torch.equal(weight[:, :3], original.stem.weight)
    assert not weight[:, 3:].any()


def test_where_all_weights_are_needed_nothing_is_refitted(colours):
    with pytest.raises(ValueError, match=r"of another shape \(stem.weight\).*all of them"):
        load_weights(Detector(1), colours[1], complete=True)


def test_only_a_first_convolution_is_refitted(tmp_path):
    weights = Detector(3).state_dict() | {"head.weight": torch.zeros(2, 3, 3, 3)}
    torch.save({"model": weights}, tmp_path / "other.pth")
    report = load_weights(Detector(3), tmp_path / "other.pth")
    assert (report.refitted, report.misshapen) == ([], ["head.weight"])


def test_mobilenet_takes_other_channels():
    network = MobileNetV2(["res2"], in_channels=4)
    assert network(torch.rand(1, 4, 32, 32))["res2"].shape[-1] == 8
