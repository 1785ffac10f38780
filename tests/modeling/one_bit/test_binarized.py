"""Detectors converted to 1 bit: which layers, with which names, and what they get to see."""

from __future__ import annotations

import logging
from collections import OrderedDict
from functools import partial

from lowres_d2.layers.k_bit import KBitWeights
from lowres_d2.layers.one_bit import (
    BinaryConv2d,
    BinaryLinear,
    BinaryWeights,
    ShiftedPReLU,
    ShiftedSign,
    Sign,
)
from lowres_d2.modeling.backbone import PReLUStem, ShortcutBlock, SmallShortcutResNet
from lowres_d2.modeling.meta_arch import ImageClassifier
from lowres_d2.modeling.one_bit import binarized, layers_with_one_signed_input
from lowres_d2.modeling.without_values import without_values

import pytest
import torch
import torch.nn.functional as F
from detectron2.layers import Conv2d
from detectron2.modeling.backbone.fpn import LastLevelP6P7
from detectron2.utils.events import EventStorage
from torch import nn
from torch.nn.utils import parametrizations, prune, spectral_norm, weight_norm

from toys.detectors import DETECTORS, PIXELS, random_image, training_input


def random_pruned(layer):
    prune.random_unstructured(layer, "weight", 0.5)


def parametrized(layer):
    parametrizations.spectral_norm(layer)


def classifier():
    return ImageClassifier(
        SmallShortcutResNet(channels=(8, 12, 16), depths=(1, 1), out_features=["res3"]),
        num_classes=3,
        **PIXELS,
    )


def detector(name):
    """A toy detector, or a classifier, whose backbone has shortcuts and PReLUs."""
    torch.manual_seed(0)
    if name == "classifier":
        return classifier()
    model = DETECTORS[name]()
    if name == "faster_rcnn_c4":
        names = ["res2", "res4"]
        model.backbone = SmallShortcutResNet((8, 12, 16, 20), (1, 1, 1), out_features=names)
        model.roi_heads.res5 = nn.Sequential(ShortcutBlock(20, 24, stride=2))
    else:
        model.backbone.bottom_up = SmallShortcutResNet(channels=(8, 12, 16, 20, 24))
    return model


def paths_of(model, kind):
    return {path for path, module in model.named_modules() if isinstance(module, kind)}


NAMES = [*DETECTORS, "classifier"]
LAST = {
    "retinanet": {"head.cls_score", "head.bbox_pred"},
    "fcos": {"head.cls_score", "head.bbox_pred", "head.ctrness"},
    "faster_rcnn_c4": {"roi_heads.box_predictor.cls_score", "roi_heads.box_predictor.bbox_pred"},
    "faster_rcnn_fpn": {"roi_heads.box_predictor.cls_score", "roi_heads.box_predictor.bbox_pred"},
    "cascade_rcnn": {
        f"roi_heads.box_predictor.{k}.{part}"
        for k in range(3)
        for part in ("cls_score", "bbox_pred")
    },
    "classifier": {"classifier"},
}
for name in NAMES:
    if "rcnn" in name:
        LAST[name] |= {
            f"proposal_generator.rpn_head.{part}" for part in ("objectness_logits", "anchor_deltas")
        }


@pytest.mark.parametrize("name", NAMES)
def test_all_but_first_last_and_shortcuts_are_converted_and_see_both_signs(name):
    real, model = detector(name), binarized(detector(name))
    layers = paths_of(real, (nn.Conv2d, nn.Linear))
    kept = {path for path in layers if "stem." in path or path.endswith(".shortcut")} | LAST[name]
    assert kept < layers
    assert paths_of(model, BinaryWeights) == layers - kept
    assert not paths_of(model, nn.ReLU)
    assert layers_with_one_signed_input(model) == []
    # Nor in training, on an image.
    lowest = {}
    for path, module in model.named_modules():
        if isinstance(module, BinaryWeights):
            module.register_forward_pre_hook(partial(_record, lowest, path))
    inputs = {"label": 1} if name == "classifier" else {}
    with EventStorage():
        losses = model.train()([training_input(64, 96) | inputs])
    sum(losses.values()).backward()
    assert lowest.keys() == layers - kept
    assert all(low < 0 for low in lowest.values())


def _record(lowest, path, module, inputs):
    lowest[path] = min(lowest.get(path, 1.0), inputs[0].min().item())


@pytest.mark.parametrize("name", NAMES)
def test_weights_of_the_real_valued_network_load(name):
    real, model = detector(name), binarized(detector(name))
    twin = binarized(detector(name), quantizer="none")
    assert not paths_of(twin, BinaryWeights)
    # The twin lacks the scales, the plain detector the slopes behind its ReLUs, too.
    scales = {key for key in model.state_dict() if key.endswith("log_gain")}
    assert model.state_dict().keys() - twin.state_dict().keys() == scales
    found = model.load_state_dict(twin.state_dict(), strict=False)
    assert set(found.missing_keys) == scales and not found.unexpected_keys
    found = model.load_state_dict(real.state_dict(), strict=False)
    assert not found.unexpected_keys
    slopes = {f"{path}.weight" for path in paths_of(model, nn.PReLU)}
    assert set(found.missing_keys) <= scales | slopes
    for path, layer in real.named_modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            assert torch.equal(model.get_submodule(path).weight, layer.weight), path


@pytest.mark.parametrize("name", NAMES)
def test_a_seed_gives_the_same_detections_and_conversion_changes_no_random_number(name):
    outputs = []
    for _ in range(2):
        model = binarized(detector(name)).eval()
        number = torch.rand(1)
        output = model([{"image": random_image(64, 64)}])[0]
        outputs.append((number, output.get("scores", output.get("instances"))))
    (one, first), (other, second) = outputs
    assert torch.equal(one, other)
    if name != "classifier":
        first, second = first.scores, second.scores
    assert len(first) and torch.equal(first, second)


def test_rules_are_groups_and_patterns():
    rules = ["first", "shortcuts", "pyramid", "*.rpn_head.conv", "roi_heads.box_predictor"]
    model = binarized(detector("faster_rcnn_fpn"), real_layers=rules)
    binary = paths_of(model, BinaryWeights)
    outside = {path for path in binary if "bottom_up" not in path}
    # The RPN's convolution is real-valued, and what reads it is not: its ReLU had to go.
    assert outside == {
        "proposal_generator.rpn_head.objectness_logits",
        "proposal_generator.rpn_head.anchor_deltas",
        "roi_heads.box_head.fc1",
    }
    assert isinstance(model.proposal_generator.rpn_head.conv.activation, nn.PReLU)
    model = binarized(detector("fcos"), real_layers=["first", "shortcuts", "head"])
    assert not {path for path in paths_of(model, BinaryWeights) if path.startswith("head")}
    assert paths_of(model, nn.ReLU) == {"head.cls_subnet.1", "head.bbox_subnet.1"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            dict(real_layers=["first", "head.cls_scores"]),
            r"'head.cls_scores' fits no .* nearest: hea",
        ),
        (dict(real_layers=["frist"]), r"'frist' fits no .*groups: first, shortcuts, last, pyramid"),
        (dict(real_layers="first"), "real_layers='first': expected a list"),
        (dict(real_layers=["*"]), "all 26 layers stay real-valued"),
        (dict(quantizer="binary"), "quantizer='binary': expected one of sign, shifted_si"),
        (dict(gradient="tanh"), "gradient='tanh'"),
        (dict(scale="max"), "scale='max'"),
        (dict(activation="relu"), "activation='relu': expected one of prelu, shifted_prelu"),
        (dict(quantizer="learned_step", bits=1), "bits=1: expected 2 or more"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        binarized(detector("fcos"), **arguments)


def test_a_network_without_a_group_s_layers_names_them():
    plain = nn.Sequential(nn.Conv2d(3, 4, 3), nn.PReLU(), nn.Conv2d(4, 4, 3))
    with pytest.raises(ValueError, match=r"'first' \(\*stem, .*\) fits no .* nearest: "):
        binarized(plain)
    model = binarized(plain, real_layers=["0", "shortcuts"])
    assert paths_of(model, BinaryWeights) == {"2"}


@pytest.mark.parametrize("name", DETECTORS)
def test_a_relu_that_is_called_as_a_function_is_refused(name):
    place = "backbone.res2" if name == "faster_rcnn_c4" else "backbone.bottom_up.res2"
    with pytest.raises(ValueError, match=rf"{place}.0.conv1 \(and that of \d+ more\) is never neg"):
        binarized(DETECTORS[name]())


def test_p7_behind_a_relu_is_refused_and_can_stay_real_valued():
    def with_p7():
        model = detector("retinanet")
        model.backbone.top_block = LastLevelP6P7(24, 16)
        model.head_in_features = [*model.head_in_features, "p6", "p7"]
        model.backbone._out_features = model.head_in_features
        return model.backbone

    with pytest.raises(ValueError, match=r"of the 1-bit layer top_block\.p7 is never negative"):
        binarized(with_p7(), real_layers=["first", "shortcuts"])
    model = binarized(with_p7(), real_layers=["first", "shortcuts", "top_block.p7"])
    assert isinstance(model.top_block.p6, BinaryConv2d)


def test_an_activation_that_is_a_function_becomes_a_module():
    layers = [Conv2d(3, 4, 3, activation=function) for function in (F.relu, F.relu_, torch.relu)]
    network = nn.Sequential(Conv2d(3, 3, 1), *layers[:1], nn.Conv2d(4, 2, 1))
    model = binarized(network, real_layers=["0"])
    assert isinstance(model[1].activation, nn.PReLU) and model[1].activation.num_parameters == 4
    for layer in layers[1:]:
        pair = nn.Sequential(layer, nn.Conv2d(4, 2, 1))
        assert isinstance(binarized(pair, real_layers=["0"])[0].activation, nn.PReLU)


def test_plain_lists_of_layers_follow():
    """As those through which upstream's ``FPN`` calls its convolutions."""

    class Lists(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.lateral = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1)
            self.calls = [self.stem, self.lateral]
            self.pair = (self.lateral, 1)

        def forward(self, x):
            for layer in self.calls:
                x = layer(x)
            return x

    model = binarized(Lists(), real_layers=["first"])
    assert model.calls == [model.stem, model.lateral] and model.pair == (model.lateral, 1)
    assert isinstance(model.lateral, BinaryConv2d)


def test_dictionaries_and_nested_lists_of_layers_follow():
    class Nested(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.second, self.third = (nn.Conv2d(3, 3, 1) for _ in range(3))
            self.calls = {"second": self.second, "rest": [(self.third, 1)], "number": 1}
            object.__setattr__(self, "hidden", self.second)

        def forward(self, x):
            return self.calls["rest"][0][0](self.calls["second"](self.stem(x)))

    model = binarized(Nested(), real_layers=["first"])
    assert model.calls == {"second": model.second, "rest": [(model.third, 1)], "number": 1}
    assert model.hidden is model.second and "hidden" not in model._modules
    assert isinstance(model.second, BinaryConv2d) and isinstance(model.third, BinaryConv2d)


@pytest.mark.parametrize("change", [weight_norm, spectral_norm, random_pruned, parametrized])
@pytest.mark.parametrize("quantizer", ["sign", "learned_step"])
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_layer_whose_weights_are_computed_is_named_or_stays(change, quantizer):
    def network():
        layers = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1))
        change(layers[1])
        return layers

    with pytest.raises(ValueError, match=r"^1: has hooks \(of weight_norm, .* to real_layers$"):
        binarized(network(), real_layers=["0"], quantizer=quantizer)
    model = binarized(network(), real_layers=["0", "1"], quantizer=quantizer)
    assert paths_of(model, (BinaryWeights, KBitWeights)) == {"2"}
    kept = binarized(network(), real_layers=["0"], quantizer="none")
    assert not paths_of(kept, (BinaryWeights, KBitWeights))


def test_a_backbone_has_no_last_layers_and_a_detector_has():
    model = binarized(detector("retinanet").backbone)
    assert {"fpn_lateral3", "fpn_output3"} <= paths_of(model, BinaryWeights)
    with pytest.raises(ValueError, match=r"'last' .* fits no convolution"):
        binarized(nn.Sequential(OrderedDict(stem=nn.Conv2d(3, 4, 1), other=nn.Conv2d(4, 4, 1))))


@pytest.mark.parametrize(
    "arguments",
    [
        dict(),
        dict(quantizer="shifted_sign", activation="shifted_prelu"),
        dict(quantizer="learned_step"),
    ],
)
def test_what_is_frozen_stays_so(arguments):
    def network():
        layers = nn.Sequential(
            Conv2d(3, 4, 1, activation=F.relu),
            nn.Sequential(Conv2d(4, 4, 3), nn.ReLU(), Conv2d(4, 4, 3, activation=F.relu)),
            nn.PReLU(4),
            Conv2d(4, 4, 3, activation=F.relu),
            nn.ReLU(),
        )
        layers[:3].requires_grad_(False)
        return layers

    model = binarized(network(), real_layers=["0"], **arguments)
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert trained == {name for name, _ in model.named_parameters() if name[0] in "34"}
    assert {"3.weight", "3.bias"} < trained
    before = {name: p.clone() for name, p in model.named_parameters() if name not in trained}
    model.train()(torch.randn(2, 3, 16, 16)).square().mean().backward()
    assert all(model.get_parameter(name).grad is None for name in before)


class TransformerClassifier(nn.Module):
    """In torch's own layers, which in evaluation compute with the weights of their parts."""

    def __init__(self, activation):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 8, stride=8)
        layer = nn.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=True, activation=activation)
        self.encoder = nn.TransformerEncoder(layer, 2)
        self.classifier = nn.Linear(8, 2)

    def forward(self, x):
        return self.classifier(self.encoder(self.stem(x).flatten(2).mT))


@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize("quantizer", ["sign", "learned_step"])
def test_layers_in_torchs_encoders_are_quantized_in_evaluation_too(activation, quantizer):
    torch.manual_seed(0)
    rules = ["first", "last"]
    model = binarized(TransformerClassifier(activation), rules, quantizer=quantizer)
    converted = paths_of(model, (BinaryWeights, KBitWeights))
    assert converted == {f"encoder.layers.{i}.linear{k}" for i in (0, 1) for k in (1, 2)}
    x = torch.randn(2, 3, 16, 16)
    expected = model(x)  # in training, where torch calls them
    with torch.no_grad():
        found = model.eval()(x)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("quantizer", ["sign", "learned_step"])
def test_a_layer_whose_weights_others_read_is_named_and_can_stay(quantizer):
    class Functional(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.called, self.read = (nn.Conv2d(3, 3, 1) for _ in range(3))

        def forward(self, x):
            x = self.called(self.stem(x) + self.read.weight.new_zeros(1))
            return F.conv2d(x, self.read.weight.to(x.dtype), self.read.bias)

    with pytest.raises(ValueError, match=r"^the weights of read are read by a module around it"):
        binarized(Functional(), real_layers=["first"], quantizer=quantizer)
    model = binarized(Functional(), real_layers=["first", "read"], quantizer=quantizer)
    assert paths_of(model, (BinaryWeights, KBitWeights)) == {"called"}


@pytest.mark.parametrize("activation", [nn.ReLU6(), nn.Sigmoid(), nn.Softplus()])
def test_other_activations_without_negative_values_are_not_called_a_relu(activation):
    network = nn.Sequential(nn.Conv2d(3, 3, 1), activation, nn.Conv2d(3, 3, 1))
    with pytest.raises(ValueError, match=r"layer 2 is never negative.*another activation without"):
        binarized(network, real_layers=["0"])


def test_a_layer_in_two_places_is_converted_once():
    shared = nn.Conv2d(4, 4, 1)
    network = nn.Sequential(nn.Conv2d(3, 4, 1), shared, nn.PReLU(), shared)
    model = binarized(network, real_layers=["0"])
    assert model[1] is model[3] and isinstance(model[1], BinaryConv2d)
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1), shared, nn.PReLU(), shared)
    model = binarized(network, real_layers=["0", "4"])
    assert type(model[2]) is nn.Conv2d


@pytest.mark.parametrize(("quantizer", "kind"), [("sign", Sign), ("shifted_sign", ShiftedSign)])
def test_quantizers_gradients_and_scales_reach_the_layers(quantizer, kind):
    model = binarized(
        detector("faster_rcnn_fpn"), quantizer=quantizer, gradient="clip", scale="mean"
    )
    layers = [m for m in model.modules() if isinstance(m, BinaryWeights)]
    assert all(type(x.input_quantizer) is kind for x in layers)
    assert all(x.input_quantizer.gradient == "clip" and x.scale == "mean" for x in layers)
    if kind is ShiftedSign:
        linear = next(x for x in layers if isinstance(x, BinaryLinear))
        assert (linear.input_quantizer.axis, len(linear.input_quantizer.threshold)) == (-1, 16 * 16)


def test_shifted_activations_take_the_place_of_relus_and_prelus():
    torch.manual_seed(0)
    model = binarized(detector("fcos"), quantizer="shifted_sign", activation="shifted_prelu")
    assert paths_of(model, nn.PReLU) == {"backbone.bottom_up.stem.prelu"}  # real-valued
    stages = {f"backbone.bottom_up.res{k}.0.prelu{i}" for k in range(2, 6) for i in (1, 2)}
    assert paths_of(model, ShiftedPReLU) == stages | {"head.cls_subnet.1", "head.bbox_subnet.1"}
    plain = binarized(detector("fcos"))
    found = model.load_state_dict(plain.state_dict(), strict=False)
    assert not found.unexpected_keys
    images = [{"image": random_image(64, 64)}]
    ours, theirs = (m.eval()(images)[0]["instances"] for m in (model, plain))
    torch.testing.assert_close(ours.scores, theirs.scores)  # before training, they do the same


@pytest.mark.parametrize("name", DETECTORS)
def test_layers_of_several_bits(name):
    """Of a plain detector, whose ReLUs stay."""
    real, model = DETECTORS[name](), binarized(DETECTORS[name](), quantizer="learned_step")
    layers = paths_of(real, (nn.Conv2d, nn.Linear))
    kept = {path for path in layers if "stem." in path or path.endswith(".shortcut")} | LAST[name]
    assert paths_of(model, KBitWeights) == layers - kept
    assert paths_of(model, nn.ReLU) == paths_of(real, nn.ReLU)
    assert not model.load_state_dict(real.state_dict(), strict=False).unexpected_keys
    with EventStorage():
        losses = model.train()([training_input(64, 96)])
    sum(losses.values()).backward()
    for path, layer in model.named_modules():
        if isinstance(layer, KBitWeights):
            assert layer.weight_quantizer.step > 0, path
            # Behind a ReLU all 16 values are positive; the pyramid's inputs have both signs.
            if path.endswith("res2.0.conv2"):
                assert not layer.input_quantizer.has_negative
            if path.endswith("fpn_output3"):
                assert layer.input_quantizer.has_negative


def test_structure_alone_has_no_values_to_check():
    with without_values():
        model = binarized(detector("fcos"))
    assert all(p.is_meta for p in model.parameters())
    assert isinstance(model.head.cls_subnet[0], BinaryConv2d)


def test_a_network_that_takes_no_images_of_64_pixels_is_converted_and_said(caplog):
    class Picky(nn.Sequential):
        def forward(self, x):
            raise RuntimeError("expected 32 pixels\nexactly")

    with caplog.at_level(logging.WARNING):
        model = binarized(Picky(PReLUStem(3, 4), nn.Conv2d(4, 4, 1)), real_layers=["0"])
    assert isinstance(model[1], BinaryConv2d)
    assert "not checked for both signs: expected 32 pixels exactly" in caplog.text
