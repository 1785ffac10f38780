from __future__ import annotations

from lowres_d2.modeling import LowResDetector
from lowres_d2.modeling.backbone import CifarAlexNet, CifarResNet18, CifarVGG16, SmallResNet
from lowres_d2.modeling.meta_arch import ImageClassifier
from lowres_d2.modeling.resample import Bicubic, Identity
from lowres_d2.modeling.teacher import Tap, TapRecorder

import pytest
import torch
from detectron2.layers import ShapeSpec
from torch import nn

from toys.detectors import random_image

PIXELS = dict(pixel_mean=[110.0, 115.0, 120.0], pixel_std=[58.0, 57.0, 56.0])


class Channels(nn.Module):
    """The image itself as feature map."""

    def forward(self, x):
        return {"pixels": x, "halves": x[..., ::2, ::2]}

    def output_shape(self):
        return {name: ShapeSpec(channels=3, stride=k) for k, name in ((1, "pixels"), (2, "halves"))}


def inputs(number=3, side=32):
    return [{"image": random_image(side, side, seed=k), "label": k % 5} for k in range(number)]


def classifier(width=4, **arguments):
    return ImageClassifier(CifarResNet18(width), num_classes=5, **PIXELS, **arguments)


def test_scores_and_loss_are_those_of_the_formulas():
    torch.manual_seed(0)
    model = ImageClassifier(
        Channels(), 5, [10.0, 20.0, 30.0], [2.0, 4.0, 8.0], feature="pixels", hidden=[7]
    )
    images, labels = inputs(), torch.tensor([x["label"] for x in inputs()])
    x = torch.stack([i["image"].double() for i in images])
    x = (x - torch.tensor([10.0, 20, 30]).view(3, 1, 1)) / torch.tensor([2.0, 4, 8]).view(3, 1, 1)
    weights = [p.double() for p in (*model.hidden[0].parameters(), *model.classifier.parameters())]
    features = (x.mean((2, 3)) @ weights[0].T + weights[1]).clamp(min=0)
    logits = features @ weights[2].T + weights[3]
    probabilities = logits.exp() / logits.exp().sum(1, keepdim=True)
    expected = -probabilities[torch.arange(3), labels].log().mean()
    assert model(images)["loss_cls"].item() == pytest.approx(expected.item(), rel=1e-5)
    scores = torch.stack([output["scores"] for output in model.eval()(images)])
    torch.testing.assert_close(scores.double(), probabilities.detach(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("hidden", "norm"), [((), False), ((6,), False), ((6,), True)])
def test_features_are_after_relu_and_before_dropout(hidden, norm):
    torch.manual_seed(0)
    model = classifier(hidden=hidden, dropout=0.5, hidden_norm=norm)
    recorder = TapRecorder(model, [tap := Tap("features", call=0)])
    with recorder.recording([tap]) as taken:
        model(inputs())
    pixels = torch.stack([x["image"] for x in inputs()])
    normalized = (pixels - model.pixel_mean) / model.pixel_std
    expected = model.backbone(normalized)["res5"].mean((2, 3))
    for layer in model.hidden:
        expected = layer(expected).clamp(min=0)
    torch.testing.assert_close(taken[tap], [expected])
    assert model.classifier.in_features == expected.shape[1]


def test_batch_norm_of_no_hidden_layer_is_refused():
    with pytest.raises(ValueError, match="hidden_norm=True: there are no hidden layers"):
        classifier(hidden=(), hidden_norm=True)


def test_hidden_layers_with_batch_norm_have_no_bias():
    model = classifier(hidden=(6, 7), hidden_norm=True)
    inputs_of_relu = []
    for layer in model.hidden:
        layer.register_forward_hook(lambda module, args, output: inputs_of_relu.append(output))
    model(inputs(number=5))
    for channels in inputs_of_relu:
        assert channels.mean(0).abs().max() < 1e-5  # of the batch
    names = {name for name, _ in model.hidden.named_parameters()}
    assert names == {f"{k}.{name}" for k in (0, 1) for name in ("0.weight", "1.weight", "1.bias")}


def test_dropout_acts_on_the_last_layers_input_in_training_alone():
    model = classifier(dropout=0.99)
    seen = []
    model.classifier.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    model.features.register_forward_hook(lambda module, args, output: seen.append(output))
    model(inputs())
    features, dropped = seen
    assert features.ne(0).sum() > 4 * dropped.ne(0).sum()
    seen.clear()
    model.eval()(inputs())
    assert torch.equal(*seen)


def test_no_dropout_before_the_first_hidden_layer_of_two():
    model = classifier(hidden=(6, 7), dropout=0.999)
    seen = []
    for layer in model.hidden:
        layer.register_forward_pre_hook(lambda module, args: seen.append(args[0].ne(0).sum()))
    model(inputs())
    assert seen[0] > 50
    assert seen[1] < 3


def test_cells_of_the_feature_map_are_kept_where_asked_for():
    assert classifier().classifier.in_features == 32
    model = classifier(pooled_size=2)
    assert model.classifier.in_features == 32 * 4
    assert model.eval()(inputs())[0]["scores"].shape == (5,)
    assert model(inputs(side=64))[0]["scores"].sum().item() == pytest.approx(1)


@pytest.mark.parametrize("backbone", [CifarAlexNet, CifarVGG16, CifarResNet18, SmallResNet])
def test_it_learns_three_images(backbone):
    torch.manual_seed(0)
    network = backbone(out_features=["res5"]) if backbone is SmallResNet else backbone(width=8)
    model = ImageClassifier(network, 5, **PIXELS)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for _ in range(20):
        optimizer.zero_grad()
        loss = model(inputs())["loss_cls"]
        loss.backward()
        optimizer.step()
    assert loss < 0.1
    assert all(p.grad is not None for p in model.parameters())


def test_in_the_composition_it_sees_the_downsampled_image():
    torch.manual_seed(0)
    model = classifier().eval()
    composed = LowResDetector(model, Bicubic(2)).eval()
    images = inputs()
    halves = composed.resampler([x["image"] / 255 for x in images])
    expected = model([{"image": 255 * half} for half in halves])
    for ours, theirs in zip(composed(images), expected, strict=True):
        torch.testing.assert_close(ours["scores"], theirs["scores"])
    same = LowResDetector(model, Identity()).eval()
    for ours, theirs in zip(same(images), model(images), strict=True):
        assert torch.equal(ours["scores"], theirs["scores"])
    losses = composed.train()(images)
    assert list(losses) == ["loss_cls"]


def test_images_of_a_batch_have_one_size():
    batch = [{"image": random_image(32, 32)}, {"image": random_image(24, 32), "file_name": "b.png"}]
    with pytest.raises(ValueError, match=r"differ in size \(32x32, 32x24 b\.png\)"):
        classifier().eval()(batch)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"file_name": "a.png"}, "a.png: label None, expected a number from 0 to 4"),
        ({"image_id": 7, "label": 5}, "image 7: label 5, expected"),
        ({"label": -1}, "image: label -1"),
    ],
)
def test_labels_outside_of_the_classes_are_refused(more, words):
    with pytest.raises(ValueError, match=words):
        classifier()([{"image": random_image(32, 32), **more}] * 2)


@pytest.mark.parametrize("feature", [None, "res5"])
def test_the_feature_map_is_named_where_there_are_several(feature):
    with pytest.raises(ValueError, match="expected one of the backbone's feature maps, pixels, ha"):
        ImageClassifier(Channels(), 5, **PIXELS, feature=feature)
