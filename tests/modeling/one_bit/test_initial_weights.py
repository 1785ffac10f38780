"""Where a 1-bit detector starts: from its real-valued twin, and from a classifier's backbone."""

from __future__ import annotations

from lowres_d2.layers.one_bit import BinaryWeights
from lowres_d2.modeling import LowResDetector
from lowres_d2.modeling.backbone import SmallShortcutResNet
from lowres_d2.modeling.meta_arch import ImageClassifier
from lowres_d2.modeling.objectives import WeightReconstruction
from lowres_d2.modeling.one_bit import binarized
from lowres_d2.modeling.resample import Identity
from lowres_d2.modeling.weights import load_weights

import pytest
import torch

from toys.detectors import PIXELS, fcos, random_image


def composed(**arguments):
    detector = fcos()
    detector.backbone.bottom_up = SmallShortcutResNet(channels=(8, 12, 16, 20, 24))
    return LowResDetector(binarized(detector, **arguments), Identity())


def classifier(**arguments):
    network = SmallShortcutResNet(channels=(8, 12, 16, 20, 24), out_features=["res5"])
    model = ImageClassifier(network, num_classes=5, **PIXELS)
    return LowResDetector(binarized(model, **arguments), Identity())


def stored(model, folder):
    torch.save({"model": model.state_dict()}, folder / "weights.pth")
    return folder / "weights.pth"


@pytest.mark.parametrize("scale", ["mean", "learned"])
def test_a_detector_starts_from_its_real_valued_twin(scale, tmp_path):
    twin, model = composed(quantizer="none"), composed(scale=scale)
    report = load_weights(model, stored(twin, tmp_path))
    assert not report.unexpected and not report.misshapen
    assert all(name.endswith("log_gain") for name in report.missing)
    assert bool(report.missing) == (scale == "learned")
    theirs = dict(twin.named_modules())
    for path, layer in model.named_modules():
        if isinstance(layer, BinaryWeights):
            size = theirs[path].weight.abs().flatten(1).mean(dim=1)
            torch.testing.assert_close(layer.output_scale(), size)


def test_a_backbone_starts_from_a_classifier_in_1_bit(tmp_path):
    source, model = classifier(), composed()
    for name, parameter in source.named_parameters():
        if name.endswith("log_gain"):
            torch.nn.init.normal_(parameter)  # as trained
    report = load_weights(model, stored(source, tmp_path))
    assert report.beside_backbone == ["detector.classifier.weight", "detector.classifier.bias"]
    assert not report.unexpected
    assert not [name for name in report.missing if "bottom_up" in name]
    theirs = source.detector.backbone.state_dict()
    for name, tensor in model.detector.backbone.bottom_up.state_dict().items():
        assert torch.equal(tensor, theirs[name]), name


@pytest.mark.parametrize("quantizer", ["sign", "shifted_sign", "learned_step"])
def test_a_classifier_of_few_bits_overfits(quantizer):
    """Noise of eight images in four classes, with Eq. 3 where there are signs."""
    torch.manual_seed(0)
    of_signs = quantizer != "learned_step"
    model = LowResDetector(
        classifier(quantizer=quantizer).detector,
        Identity(),
        objectives=[WeightReconstruction()] if of_signs else [],
        loss_weights={"binary/*": 1e-4} if of_signs else {},
    ).train()
    images = [{"image": random_image(32, 32, seed), "label": seed % 4} for seed in range(8)]
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    losses = []
    for _ in range(40):
        parts = model(images)
        optimizer.zero_grad()
        sum(parts.values()).backward()
        optimizer.step()
        losses.append(parts["loss_cls"].item())
    assert losses[0] > 1 and losses[-1] < 0.1
