"""The backbone of a trained classifier in detectors of all kinds, loaded from a file."""

from lowres_d2.modeling import LowResDetector
from lowres_d2.modeling.backbone import (
    HRFPN,
    HRNet,
    MobileNetV2,
    MobileNetV2Stage,
    SmallResNet,
    TimmBackbone,
    bottom_heavy,
)
from lowres_d2.modeling.meta_arch import AnyFactorDetector, ImageClassifier
from lowres_d2.modeling.resample import AnyFactor, Bicubic, Identity
from lowres_d2.modeling.weights import load_weights

import pytest
import torch
from detectron2.layers import FrozenBatchNorm2d
from detectron2.modeling.backbone.fpn import FPN
from detectron2.modeling.backbone.resnet import BasicStem, ResNet
from safetensors.torch import save_file
from torch import nn

from toys.deformable_detr import SMALL, bottleneck_stages, deformable_detr
from toys.detectors import CHANNELS, DETECTORS, PIXELS, faster_rcnn_c4, fcos, retinanet

WIDTHS = (8, 12, 16, 20, 24)  # of the toy detectors' backbones
HEAD = {f"{layer}.{kind}" for layer in ("hidden.0", "classifier") for kind in ("weight", "bias")}


def classifier(backbone, feature="res5", seed=1):
    """A classifier with random weights and statistics, two layers as its head."""
    model = ImageClassifier(backbone, 5, **PIXELS, feature=feature, hidden=[6])
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d | FrozenBatchNorm2d):
            for tensor in (module.weight, module.bias, module.running_mean, module.running_var):
                tensor.data.uniform_(0.5, 1.5, generator=generator)
    return model.eval()


def saved(model, folder):
    torch.save({"model": model.state_dict(), "classes": list("abcde")}, folder / "model_final.pth")
    return folder


def images():
    return torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def features(network, names):
    found = network.eval()(images())
    return [found[name] for name in names]


def assert_same(features, expected):
    assert all(torch.equal(a, b) for a, b in zip(features, expected, strict=True))
    assert len({tuple(f.shape) for f in features}) == len(expected) > 0


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("composed", [False, True])
@pytest.mark.parametrize("name", ["faster_rcnn_fpn", "cascade_rcnn", "retinanet", "fcos"])
def test_an_fpn_has_the_classifiers_features(tmp_path, name, composed, wrapped):
    torch.manual_seed(0)
    trained, detector = classifier(SmallResNet(WIDTHS)), DETECTORS[name]()
    model = LowResDetector(detector, Bicubic(2)) if composed else detector
    kept = {n: t.clone() for n, t in detector.state_dict().items() if "bottom_up" not in n}
    report = load_weights(
        model, saved(LowResDetector(trained, Identity()) if wrapped else trained, tmp_path)
    )
    stages = ["res2", "res3", "res4", "res5"]
    assert_same(features(detector.backbone.bottom_up, stages), features(trained.backbone, stages))
    before = "detector." if wrapped else ""
    assert set(report.beside_backbone) == {before + name for name in HEAD}
    assert not report.unexpected and not report.misshapen and report.classes == []
    assert not any("bottom_up" in name for name in report.missing)
    assert all(torch.equal(detector.state_dict()[n], tensor) for n, tensor in kept.items())


def test_the_head_of_a_c4_detector_is_the_classifiers_last_stage(tmp_path):
    trained, detector = classifier(SmallResNet(WIDTHS)), faster_rcnn_c4()
    report = load_weights(detector, saved(trained, tmp_path))
    assert not report.unexpected
    (res5,) = features(trained.backbone, ["res5"])
    res4 = features(detector.backbone, ["res4"])
    assert_same(res4, features(trained.backbone, ["res4"]))
    with torch.no_grad():
        assert torch.equal(detector.roi_heads.res5.eval()(res4[0]), res5)


def test_a_c4_detector_takes_a_bottom_heavy_classifier(tmp_path):
    trained = classifier(bottom_heavy(SmallResNet(WIDTHS, (1, 1, 2, 1)), blocks=[2, 1, 1, 1]))
    detector = faster_rcnn_c4()
    start = SmallResNet(WIDTHS[:4], (1, 1, 2), out_features=["res2", "res4"])
    detector.backbone = bottom_heavy(start, blocks=[2, 1, 1])
    report = load_weights(detector, saved(trained, tmp_path))
    assert not report.unexpected and not report.misshapen
    res4 = features(detector.backbone, ["res4"])
    assert_same(res4, features(trained.backbone, ["res4"]))
    with torch.no_grad():
        assert_same([detector.roi_heads.res5.eval()(res4[0])], features(trained.backbone, ["res5"]))


def test_a_c4_detector_on_an_hrnet_takes_all_but_its_head(tmp_path):
    """Of which an HRNet has no stage: its branches end together."""
    few = dict(width=5, stages=((1, 1), (1, 1), (1, 1)))
    trained = classifier(HRFPN(HRNet(**few), ["res2", "res3", "res4", "res5"], 8, 1), "p2")
    detector = faster_rcnn_c4()
    detector.backbone = HRNet(out_features=["res4"], **few)
    report = load_weights(detector, saved(trained, tmp_path))
    assert_same(
        features(detector.backbone, ["res4"]), features(trained.backbone.bottom_up, ["res4"])
    )
    assert {name.split(".")[1] for name in report.unexpected} == {"reduce", "outputs"}
    assert any(name.startswith("roi_heads.res5.") for name in report.missing)
    assert not any(name.startswith("backbone.") for name in report.missing)


def test_a_stage_of_a_mobilenet_is_found_in_the_head(tmp_path):
    trained = classifier(MobileNetV2(["res4", "res5"], width_mult=0.25))
    detector = faster_rcnn_c4()
    detector.backbone = MobileNetV2(["res4"], width_mult=0.25)
    detector.roi_heads.res5 = MobileNetV2Stage("res5", width_mult=0.25)
    report = load_weights(detector, saved(trained, tmp_path))
    assert not report.unexpected
    (res4,) = features(detector.backbone, ["res4"])
    with torch.no_grad():
        found = detector.roi_heads.res5.eval()(res4)
    assert_same([found], features(trained.backbone, ["res5"]))


def test_deformable_detr_takes_a_resnet_whose_norms_were_trained(tmp_path):
    widths = SMALL["widths"]
    stages = bottleneck_stages(SMALL, "BN")
    trained = classifier(
        ResNet(BasicStem(3, widths[0], norm="BN"), stages, out_features=["res3", "res4", "res5"])
    )
    detector = deformable_detr(SMALL)
    report = load_weights(detector, saved(trained, tmp_path))
    names = ["res3", "res4", "res5"]
    assert_same(features(detector.backbone, names), features(trained.backbone, names))
    assert all(name.endswith("num_batches_tracked") for name in report.unexpected)


def test_networks_of_timm_and_files_of_safetensors(tmp_path):
    layers = ["layer1", "layer2"]
    trained = classifier(TimmBackbone("resnet10t", layers), "layer2")
    save_file(trained.state_dict(), tmp_path / "w.safetensors")
    detector = retinanet()
    detector.backbone = FPN(TimmBackbone("resnet10t", layers), layers, CHANNELS)
    load_weights(detector, tmp_path / "w.safetensors")
    assert_same(features(detector.backbone.bottom_up, layers), features(trained.backbone, layers))


def test_an_fpn_that_was_trained_in_a_classifier_is_taken_whole_or_without_its_top(tmp_path):
    trained = classifier(fcos().backbone, "p5")
    detector = fcos()
    load_weights(detector, saved(trained, tmp_path))
    assert_same(features(detector.backbone, ["p2"]), features(trained.backbone, ["p2"]))
    plain = faster_rcnn_c4()
    report = load_weights(plain, tmp_path)
    assert_same(features(plain.backbone, ["res4"]), features(trained.backbone.bottom_up, ["res4"]))
    assert {name.split(".")[1] for name in report.unexpected} == {
        f"fpn_{kind}{k}" for kind in ("lateral", "output") for k in (2, 3, 4, 5)
    }


def test_norms_by_factor_start_from_the_classifiers(tmp_path):
    trained = classifier(SmallResNet(WIDTHS))
    model = AnyFactorDetector(retinanet(), AnyFactor([Identity(), Bicubic(2)], 2))
    report = load_weights(model, saved(trained, tmp_path))
    assert not report.unexpected
    names = ["res2", "res5"]
    assert_same(
        features(model.detector.backbone.bottom_up, names), features(trained.backbone, names)
    )


def test_a_classifier_with_other_classes_starts_with_all_but_the_last_layer(tmp_path):
    trained = classifier(SmallResNet(WIDTHS))
    other = ImageClassifier(SmallResNet(WIDTHS), 3, **PIXELS, feature="res5", hidden=[6])
    report = load_weights(other, saved(trained, tmp_path))
    assert report.misshapen == ["classifier.weight", "classifier.bias"]
    assert report.beside_backbone == [] and report.classes == list("abcde")
    assert torch.equal(other.hidden[0].weight, trained.hidden[0].weight)


def test_a_backbone_that_fits_nothing_is_refused_in_one_line(tmp_path):
    layers = ["layer1", "layer2"]
    saved(classifier(TimmBackbone("resnet10t", layers), "layer2"), tmp_path)
    with pytest.raises(ValueError, match="backbone of this classifier is not the model's") as error:
        load_weights(LowResDetector(fcos(), Identity()), tmp_path)
    assert "\n" not in str(error.value) and "4 beside a classifier's" in str(error.value)


def test_a_detector_that_is_evaluated_or_teaches_needs_more_than_a_backbone(tmp_path):
    saved(classifier(SmallResNet(WIDTHS)), tmp_path)
    with pytest.raises(ValueError, match="all of them are needed"):
        load_weights(fcos(), tmp_path, complete=True)
