"""Files with the names of torchvision's ResNets, in detectors with Detectron2's."""

from __future__ import annotations

from lowres_d2.engine.startup.weights import check_used, describe_weights
from lowres_d2.modeling import LowResDetector
from lowres_d2.modeling.backbone import PReLUStem, ShortcutBlock, SmallResNet, TimmBackbone
from lowres_d2.modeling.meta_arch import AnyFactorDetector, ImageClassifier
from lowres_d2.modeling.one_bit import binarized
from lowres_d2.modeling.resample import AnyFactor, Bicubic, Identity
from lowres_d2.modeling.weights import load_weights

import pytest
import timm
import torch
import torchvision
from detectron2.modeling.backbone.fpn import FPN
from detectron2.modeling.backbone.resnet import BasicStem, ResNet
from safetensors.torch import save_file
from torch import nn

from toys.detectors import CHANNELS, PIXELS, faster_rcnn_c4, fcos

STAGES = ["res2", "res3", "res4", "res5"]
WEIGHTS = {18: 100, 50: 265}  # tensors of torchvision's file, without fc and counters


def reference(network):
    """A network with random statistics, scales near 1 and one output map a stage."""
    generator = torch.Generator().manual_seed(1)
    for name, tensor in network.state_dict().items():
        if tensor.dim() == 1 and not name.startswith("fc."):
            scale = name.endswith(("weight", "running_var"))
            low, high = (0.8, 1.2) if scale else (-0.1, 0.1)
            tensor.uniform_(low, high, generator=generator)
    return network.eval()


def torchvision_resnet(depth):
    torch.manual_seed(0)
    return reference(torchvision.models.get_model(f"resnet{depth}", weights=None))


def saved(network, folder):
    torch.save(network.state_dict(), folder / "resnet.pth")
    return folder / "resnet.pth"


def resnet(depth=18, norm="BN", in_channels=3, out_features=STAGES, **of_stages):
    stages = ResNet.make_default_stages(depth, norm=norm, **of_stages)
    return ResNet(BasicStem(in_channels, 64, norm), stages, out_features=list(out_features))


def with_fpn(bottom_up):
    detector = fcos()
    detector.backbone = FPN(bottom_up, STAGES, CHANNELS)
    return detector


def images(channels=3):
    return torch.randn(2, channels, 65, 50, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def features(network, x):
    """Feature maps of torchvision's network, by Detectron2's names."""
    x = network.maxpool(network.relu(network.bn1(network.conv1(x))))
    found = {}
    for number, name in enumerate(STAGES, 1):
        found[name] = x = getattr(network, f"layer{number}")(x)
    return found


@torch.no_grad()
def assert_same(ours, expected):
    assert ours.keys() == expected.keys() and len(ours) > 0
    for name, found in ours.items():
        torch.testing.assert_close(found, expected[name], rtol=1e-5, atol=1e-5)


def ours(network, x):
    with torch.no_grad():
        return network.eval()(x)


@pytest.mark.parametrize("norm", ["BN", "FrozenBN"])
@pytest.mark.parametrize("composed", [False, True])
@pytest.mark.parametrize("depth", [18, 50])
def test_the_network_below_a_pyramid_has_torchvisions_features(tmp_path, depth, composed, norm):
    theirs, detector = torchvision_resnet(depth), with_fpn(resnet(depth, norm))
    model = LowResDetector(detector, Bicubic(2)) if composed else detector
    report = load_weights(model, saved(theirs, tmp_path))
    assert_same(ours(detector.backbone.bottom_up, images()), features(theirs, images()))
    assert report.matched == report.of_file == report.renamed == WEIGHTS[depth]
    assert report.beside_backbone == ["fc.weight", "fc.bias"] and report.torchvision
    assert not report.unexpected and not report.misshapen
    assert not [name for name in report.missing if "bottom_up" in name]
    check_used(report)
    for text in (describe_weights(report), str(report)):
        assert "renamed from torchvision's ResNet" in text and "UNUSED" not in text
    assert f"renamed from torchvision's ResNet: {WEIGHTS[depth]}; left out" in describe_weights(
        report
    )


def test_a_c4_detector_has_the_last_stage_in_its_head(tmp_path):
    theirs, detector = torchvision_resnet(50), faster_rcnn_c4()
    network = resnet(50)
    detector.backbone = resnet(50, out_features=["res4"])
    detector.roi_heads.res5 = nn.Sequential(*network.res5.children())
    report = load_weights(detector, saved(theirs, tmp_path))
    assert report.matched == report.of_file == WEIGHTS[50] and not report.unexpected
    expected, found = features(theirs, images()), ours(detector.backbone, images())
    found["res5"] = ours(detector.roi_heads.res5, found["res4"])
    assert_same(found, {name: expected[name] for name in ("res4", "res5")})


def test_norms_by_factor_and_classifiers_take_them(tmp_path):
    theirs, detector = torchvision_resnet(18), with_fpn(resnet(18))
    AnyFactorDetector(detector, AnyFactor([Identity(), Bicubic(2)], 2))
    report = load_weights(detector, saved(theirs, tmp_path))
    assert_same(ours(detector.backbone.bottom_up, images()), features(theirs, images()))
    assert not report.unexpected

    classifier = ImageClassifier(resnet(18, out_features=["res5"]), 5, **PIXELS)
    head = classifier.classifier.weight.clone()
    report = load_weights(LowResDetector(classifier, Identity()), tmp_path / "resnet.pth")
    expected = features(theirs, images())["res5"]
    assert_same(ours(classifier.backbone, images()), {"res5": expected})
    assert torch.equal(classifier.classifier.weight, head) and len(report.missing) == 2


@pytest.mark.parametrize("one_bit", [False, True])
def test_a_network_with_more_shortcuts_takes_what_has_the_same_names(tmp_path, one_bit):
    stages = ResNet.make_default_stages(18, block_class=ShortcutBlock, norm="BN")
    network = ResNet(PReLUStem(), stages, out_features=STAGES)
    detector, theirs = with_fpn(network), torchvision_resnet(18)
    model = LowResDetector(binarized(detector) if one_bit else detector, Identity())
    report = load_weights(model, saved(theirs, tmp_path))
    assert report.matched == report.of_file == WEIGHTS[18] and not report.unexpected
    network = model.detector.backbone.bottom_up
    for ours, name in (
        (network.stem.conv1.weight, "conv1.weight"),
        (network.stem.conv1.norm.running_var, "bn1.running_var"),
        (network.res2[1].conv2.weight, "layer1.1.conv2.weight"),
        (network.res4[0].shortcut.weight, "layer3.0.downsample.0.weight"),
        (network.res5[0].shortcut.norm.bias, "layer4.0.downsample.1.bias"),
    ):
        assert torch.equal(ours, theirs.state_dict()[name])
    missing = {name.rpartition(".")[0] for name in report.missing if "bottom_up" in name}
    assert any(name.endswith("stem.prelu") for name in missing)
    assert one_bit or all("prelu" in name for name in missing)


def test_files_of_timm_and_of_several_gpus(tmp_path):
    theirs = reference(timm.create_model("resnet18", pretrained=False))
    save_file(theirs.state_dict(), tmp_path / "model.safetensors")
    torch.save({"state_dict": nn.DataParallel(theirs).state_dict()}, tmp_path / "gpus.pth.tar")
    with torch.no_grad():
        expected = dict(zip(STAGES, theirs.forward_intermediates(images())[1][1:], strict=True))
    # A query that asks for other rules is not needed, and does no harm.
    for name in ("model.safetensors", "gpus.pth.tar", "gpus.pth.tar?matching_heuristics=True"):
        detector = with_fpn(resnet(18))
        report = load_weights(detector, tmp_path / name)
        assert_same(ours(detector.backbone.bottom_up, images()), expected)
        left = {name.removeprefix("module.") for name in report.beside_backbone}
        assert left == {"fc.weight", "fc.bias"} and report.of_file == report.renamed == 100


def test_the_first_convolution_is_refitted_to_other_channels(tmp_path):
    theirs, detector = torchvision_resnet(18), with_fpn(resnet(18, in_channels=1))
    detector.register_buffer("pixel_mean", torch.zeros(1, 1, 1), False)
    report = load_weights(detector, saved(theirs, tmp_path))
    expected = features(theirs, images(1).expand(-1, 3, -1, -1))
    assert_same(ours(detector.backbone.bottom_up, images(1)), expected)
    assert report.refitted == ["backbone.bottom_up.stem.conv1.weight from 3 channels"]
    check_used(report)


@pytest.mark.parametrize("files, models", [(50, 18), (18, 50), (34, 18)])
def test_a_file_of_another_depth_is_an_error(tmp_path, files, models):
    network = torchvision_resnet(files)
    report = load_weights(with_fpn(resnet(models)), saved(network, tmp_path))
    assert report.unexpected or report.misshapen
    with pytest.raises(ValueError, match="tensors have no place in the model") as error:
        check_used(report)
    assert "\n" not in str(error.value)
    if files == 34:  # in the words of the file
        assert "layer1.2.conv1.weight" in str(error.value)


def test_layers_that_a_file_of_less_depth_has_not_are_reported(tmp_path):
    report = load_weights(with_fpn(resnet(34)), saved(torchvision_resnet(18), tmp_path))
    left = [name for name in report.missing if "bottom_up" in name]
    assert len(left) == 80 and "left as initialized" in describe_weights(report)
    assert "backbone.bottom_up 80" in describe_weights(report)


def test_stages_that_the_model_has_not_are_an_error(tmp_path):
    detector = faster_rcnn_c4()
    detector.backbone = resnet(18, out_features=["res4"])  # its head has another res5
    report = load_weights(detector, saved(torchvision_resnet(18), tmp_path))
    with pytest.raises(ValueError, match="no place in the model"):
        check_used(report)


def test_models_without_a_resnet_of_detectron2s_are_as_before(tmp_path):
    path = saved(torchvision_resnet(18), tmp_path)
    detector = fcos()
    names = ["layer1", "layer2", "layer3", "layer4"]
    detector.backbone = FPN(TimmBackbone("resnet18", names), names, CHANNELS)
    report = load_weights(detector, f"{path}?matching_heuristics=True")
    assert report.matched >= 100 and report.renamed == 0
    with pytest.raises(ValueError, match="these weights belong to another model"):
        load_weights(detector, path)


def test_names_of_other_networks_are_not_renamed(tmp_path):
    deep = timm.create_model("resnet18d", pretrained=False)  # has three convolutions as its stem
    with pytest.raises(ValueError, match="these weights belong to another model"):
        load_weights(with_fpn(resnet(18)), saved(deep, tmp_path))
    own = with_fpn(resnet(18))
    report = load_weights(with_fpn(resnet(18)), saved(own, tmp_path))
    assert report.matched == report.total and report.renamed == 0 and not report.torchvision
    assert "torchvision" not in str(report) + describe_weights(report)


def test_a_network_of_other_widths_is_refused_in_one_line(tmp_path):
    path = saved(torchvision_resnet(18), tmp_path)
    with pytest.raises(ValueError, match="is not the model's") as error:
        load_weights(with_fpn(SmallResNet((8, 12, 16, 20, 24))), path)
    assert "\n" not in str(error.value)


def test_a_detector_that_is_evaluated_or_teaches_needs_more(tmp_path):
    path = saved(torchvision_resnet(18), tmp_path)
    with pytest.raises(ValueError, match="all of them are needed"):
        load_weights(with_fpn(resnet(18)), path, complete=True)


def test_files_that_detectron2_has_renamed_are_of_torchvision(tmp_path):
    contents = {"model": resnet(18).state_dict(), "matching_heuristics": True}
    torch.save(contents | {"__author__": "torchvision"}, tmp_path / "zoo.pth")
    report = load_weights(with_fpn(resnet(18)), tmp_path / "zoo.pth")
    assert report.matched == 100 and report.torchvision and report.renamed == 0
