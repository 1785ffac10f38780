from __future__ import annotations

from lowres_d2.engine.build import check_classes
from lowres_d2.modeling.backbone import TimmBackbone
from lowres_d2.modeling.meta_arch import ImageClassifier

import pytest
import timm
import torch

NARROW = "mobilenetv3_small_050"


def test_feature_maps_are_timms():
    torch.manual_seed(0)
    network = TimmBackbone(NARROW, ["blocks.3", "blocks.0"]).eval()
    whole = timm.create_model(NARROW, features_only=True).eval()
    whole.load_state_dict(network.network.state_dict(), strict=False)
    x = torch.randn(1, 3, 64, 96)
    found, expected = network(x), dict(zip(whole.feature_info.module_name(), whole(x), strict=True))
    assert list(found) == ["blocks.0", "blocks.3"]
    shapes = network.output_shape()
    for name, features in found.items():
        torch.testing.assert_close(features, expected[name])
        assert shapes[name].channels == features.shape[1]
        assert shapes[name].stride == 64 // features.shape[2]


def test_layers_behind_the_last_feature_map_are_left_out():
    last, earlier = TimmBackbone("resnet10t"), TimmBackbone("resnet10t", ["layer2"])
    assert list(last.output_shape()) == ["layer4"]
    assert len(earlier.state_dict()) < 0.7 * len(last.state_dict())


@pytest.mark.parametrize("name", ["resnet10t", "vit_tiny_patch16_224"])
def test_it_is_a_classifiers_backbone(name):
    options = {"img_size": 32} if "vit" in name else {}
    backbone = TimmBackbone(name, in_channels=1, options=options)
    model = ImageClassifier(backbone, 4, pixel_mean=[110.0], pixel_std=[50.0])
    check_classes(model, ["a", "b", "c", "d"])
    images = [{"image": torch.zeros(1, 32, 32), "label": k} for k in range(2)]
    assert model(images)["loss_cls"].item() > 0
    assert model.eval()(images)[0]["scores"].shape == (4,)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("resnet10x",), "timm has no network 'resnet10x'"),
        ((NARROW, ["res5"]), "expected some of bn1, blocks.0, blocks.1"),
        ((NARROW, []), "expected some of bn1"),
        ((NARROW, None, 3, {"no_such": 1}), "gives no feature maps here"),
    ],
)
def test_what_timm_does_not_have_is_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        TimmBackbone(*arguments)
