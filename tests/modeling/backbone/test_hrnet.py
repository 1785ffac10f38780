"""HRNet, its bottom-heavy twin and HRFPN: costs of Table 4, timm's weights, shapes."""

from __future__ import annotations

import copy

from lowres_d2.analysis.cost.complexity import counted
from lowres_d2.analysis.cost.counting_rules import MMCV
from lowres_d2.engine.build import check_classes
from lowres_d2.engine.startup.weights import check_used
from lowres_d2.modeling import LowResDetector
from lowres_d2.modeling.backbone import HRFPN, BottomHeavyHRNet, HRNet
from lowres_d2.modeling.backbone.cell_offsets import cell_offsets
from lowres_d2.modeling.meta_arch import ImageClassifier
from lowres_d2.modeling.resample import Identity
from lowres_d2.modeling.weights import load_weights
from lowres_d2.modeling.without_values import without_values

import pytest
import timm
import torch
from detectron2.layers import FrozenBatchNorm2d, ShapeSpec
from safetensors.torch import save_file
from torch import nn

NAMES = ["res2", "res3", "res4", "res5"]
FEW = ((1, 1), (1, 1), (1, 1))  # modules and blocks of a toy


@pytest.mark.parametrize(
    ("kind", "width", "as_printed", "giga", "millions", "within"),
    [
        (HRNet, 32, None, 51.93, 29.31, 0.001),
        (HRNet, 18, None, 21.71, 9.56, 0.001),
        (BottomHeavyHRNet, 32, False, 51.89, 12.36, 0.01),
        (BottomHeavyHRNet, 18, False, 21.66, 5.85, 0.01),
        # Not what the table prints: the parameters are counted here.
        (BottomHeavyHRNet, 32, True, 30.4, 11.93, 0.001),
        (BottomHeavyHRNet, 18, True, 15.3, 5.80, 0.001),
    ],
)
def test_table_4_has_their_costs(kind, width, as_printed, giga, millions, within):
    options = {} if as_printed is None else {"as_printed": as_printed}
    with without_values():
        network = kind(width, **options).to("meta").eval()
    with counted(MMCV) as count:
        found = network(torch.empty(1, 3, 512, 640, device="meta"))
    assert count() / 1e9 == pytest.approx(giga, rel=within)
    assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(millions, rel=within)
    assert {n: f.shape[1:] for n, f in found.items()} == {
        n: (width * 2**k, 128 // 2**k, 160 // 2**k) for k, n in enumerate(NAMES)
    }


def test_downsampling_comes_later_than_in_the_standard_twin():
    def sides(network):
        """Width of each feature map that a layer of the stem or stage 1 makes, of 64 pixels."""
        found = []
        for name in ("conv1", "conv2", "layer1.0", "layer1.3"):
            module = network.network.get_submodule(name)
            module.register_forward_hook(lambda *call: found.append(call[-1].shape[-1]))
        network.eval()(torch.zeros(1, 3, 64, 64))
        return found

    assert sides(HRNet(4, stages=FEW)) == [32, 16, 16, 16]
    assert sides(BottomHeavyHRNet(4, stages=FEW)) == [64, 32, 32, 32]
    assert sides(BottomHeavyHRNet(4, stages=FEW, as_printed=True)) == [64, 32, 16, 16]


def test_timms_weights_load_and_give_timms_features(tmp_path):
    torch.manual_seed(0)
    whole = timm.create_model(
        "hrnet_w18", features_only=True, feature_location="", out_indices=(1, 2, 3, 4)
    ).eval()
    file = tmp_path / "model.safetensors"
    save_file(whole.state_dict() | {"classifier.bias": torch.zeros(1000)}, file)
    network = nn.ModuleDict({"backbone": HRNet(18)})
    report = load_weights(network, f"{file}?matching_heuristics=True")
    assert not report.missing and not report.misshapen
    assert report.unexpected == ["classifier.bias"]
    x = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        found = network.eval()["backbone"](x)
        for features, expected in zip(found.values(), whole(x), strict=True):
            torch.testing.assert_close(features, expected)


@pytest.mark.parametrize("width", [18, 32])
def test_a_detector_starts_from_timms_weights_as_published(width, tmp_path):
    with without_values():
        published = timm.create_model(f"hrnet_w{width}").state_dict()
        detector = nn.ModuleDict({"backbone": HRFPN(HRNet(width, norm="FrozenBN"), NAMES, 8)})
    detector.to_empty(device="cpu")
    for tensor in detector.state_dict().values():
        tensor.zero_()
    file = tmp_path / "model.safetensors"
    save_file({name: torch.zeros(tensor.shape) for name, tensor in published.items()}, file)
    report = load_weights(detector, f"{file}?matching_heuristics=True")
    check_used(report)
    assert {name.split(".")[1] for name in report.missing} == {"reduce", "outputs"}
    assert {name.split(".")[0] for name in report.beside_backbone} == {
        "incre_modules", "downsamp_modules", "final_layer"
    }  # fmt: skip


def test_as_a_classifier_it_is_timms_with_timms_weights(tmp_path):
    torch.manual_seed(0)
    published = timm.create_model("hrnet_w18_small", num_classes=5).eval()
    backbone = HRNet(16, ["final"], stages=[(1, 2)] * 3)
    # Of this variant alone stage 1 is narrower.
    backbone.network.layer1 = copy.deepcopy(published.layer1)
    backbone.network.transition1 = copy.deepcopy(published.transition1)
    model = ImageClassifier(backbone, 5, [0.0] * 3, [1.0] * 3, feature="final").eval()
    file = tmp_path / "model.safetensors"
    save_file(published.state_dict(), file)
    report = load_weights(model, f"{file}?matching_heuristics=True", complete=True)
    assert report.beside_backbone == [] and report.unexpected == []
    x = torch.rand(2, 3, 64, 96)
    with torch.no_grad():
        found = torch.stack([f["scores"] for f in model([{"image": image} for image in x])])
        torch.testing.assert_close(found, published(x).softmax(dim=1))
    assert model.backbone.output_shape()["final"] == ShapeSpec(channels=2048, stride=32)


@pytest.mark.parametrize("kind", [HRNet, BottomHeavyHRNet])
@pytest.mark.parametrize("composed", [False, True])
def test_detectors_leave_out_the_classifiers_head(kind, composed, tmp_path):
    torch.manual_seed(0)
    trained = ImageClassifier(kind(4, ["final"], stages=FEW), 5, [0.0] * 3, [1.0] * 3)
    file = tmp_path / "model.pth"
    saved = LowResDetector(trained, Identity()) if composed else trained
    torch.save({"model": saved.state_dict(), "classes": list("abcde")}, file)
    for backbone in (HRFPN(kind(4, stages=FEW), NAMES, 8), kind(4, stages=FEW, norm="FrozenBN")):
        report = load_weights(nn.ModuleDict({"backbone": backbone}), file)
        check_used(report)
        trunk = getattr(backbone, "bottom_up", backbone).network.state_dict()
        for name, tensor in trunk.items():
            assert torch.equal(tensor, trained.backbone.network.state_dict()[name]), name
        assert report.unexpected == [] and report.classes == []
        assert {n.removeprefix("detector.").split(".")[0] for n in report.beside_backbone} == {
            "backbone", "classifier"
        }  # fmt: skip
        assert not [name for name in report.missing if ".network." in name]


def test_all_of_the_head_is_trained_and_frozen_norms_are_its_too():
    network = HRNet(4, ["final"], stages=FEW, norm="FrozenBN")
    assert not [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    network = BottomHeavyHRNet(4, ["final"], stages=FEW)
    network(torch.rand(2, 3, 64, 64))["final"].square().sum().backward()
    assert not [n for n, p in network.named_parameters() if p.grad is None]
    frozen = HRNet(4, ["final"], stages=FEW, freeze_at=5).named_parameters()
    trained = {n.split(".")[1] for n, p in frozen if p.requires_grad}
    assert trained == {"incre_modules", "downsamp_modules", "final_layer"}


def test_it_gives_the_branches_that_are_asked_for_and_is_a_classifiers_backbone():
    network = BottomHeavyHRNet(4, ["res5", "res3"], in_channels=1, stages=FEW)
    found = network.eval()(torch.zeros(1, 1, 32, 64))
    shapes = network.output_shape()
    assert list(found) == list(shapes) == ["res3", "res5"]
    for name, features in found.items():
        assert (shapes[name].channels, 64 // shapes[name].stride) == features.shape[1::2]
    assert cell_offsets(network, 1) == {"res3": 0.5, "res5": 0.5}
    model = ImageClassifier(network, 4, pixel_mean=[110.0], pixel_std=[50.0], feature="res5")
    check_classes(model, ["a", "b", "c", "d"])
    assert model.eval()([{"image": torch.zeros(1, 32, 32)}])[0]["scores"].shape == (4,)


@pytest.mark.parametrize(
    ("kind", "freeze_at", "frozen"),
    [
        (HRNet, 0, set()),
        (HRNet, 1, {"conv1", "bn1", "conv2", "bn2"}),
        (BottomHeavyHRNet, 2, {"conv1", "bn1", "conv2", "bn2", "layer1"}),
        (BottomHeavyHRNet, 4, {"conv1", "bn1", "conv2", "bn2", "layer1", "stage2", "stage3"}),
        (HRNet, 5, None),
    ],
)
def test_frozen_parts_have_no_gradients_and_fixed_statistics(kind, freeze_at, frozen):
    network = kind(4, stages=FEW, freeze_at=freeze_at).train()
    parts = dict(network.network.named_children())
    frozen = parts.keys() if frozen is None else frozen
    if freeze_at > 2:
        frozen = frozen | {"transition1", "transition2"}
    for name, part in parts.items():
        norms = [type(m) for m in part.modules() if "BatchNorm" in type(m).__name__]
        assert not norms or {*norms} == {FrozenBatchNorm2d if name in frozen else nn.BatchNorm2d}
        assert {p.requires_grad for p in part.parameters()} <= {name not in frozen}
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    sum(f.sum() for f in network(torch.rand(2, 3, 32, 32)).values())
    changed = {n.split(".")[1] for n, t in network.state_dict().items() if not t.equal(before[n])}
    assert not changed & frozen and bool(changed) == (freeze_at < 5)


@pytest.mark.parametrize("kind", [HRNet, BottomHeavyHRNet])
def test_with_frozen_norms_all_convolutions_are_trained_and_no_statistics_move(kind):
    network = kind(4, stages=FEW, norm="FrozenBN").train()
    assert not [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    convolutions = [m.weight for m in network.modules() if isinstance(m, nn.Conv2d)]
    assert len(convolutions) == len([*network.parameters()])
    assert all(weight.requires_grad for weight in convolutions)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    network(torch.rand(2, 3, 32, 32))
    assert all(tensor.equal(before[name]) for name, tensor in network.state_dict().items())


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: HRNet(4, stages=FEW, norm="GN"), "HRNet: norm='GN': expected one of BN, FrozenBN"),
        (lambda: HRNet(4, [], stages=FEW), "expected some of res2, res3"),
        (lambda: HRNet(4, ["stage1"], stages=FEW), "expected some of res2, res3"),
        (lambda: HRNet(4, ["res5", "final"], stages=FEW), "some of res2, .*, or final alone"),
        (lambda: HRNet(4, stages=FEW, freeze_at=6), "HRNet: freeze_at=6: expected 0 to 5"),
        (lambda: BottomHeavyHRNet(48), "width=48: the paper has stages for 18 and 32"),
        (lambda: HRFPN(HRNet(4, stages=FEW), ["p2"]), r"\['p2'\]: expected some of res2"),
        (lambda: HRFPN(HRNet(4, stages=FEW), []), "expected some of res2"),
    ],
)
def test_what_there_is_not_is_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()


class Constant(HRNet):
    """Branches of ones, twos, threes and fours."""

    def forward(self, x):
        height, width = x.shape[-2:]
        return {
            name: torch.full((len(x), 4 * 2**k, height // (4 * 2**k), width // (4 * 2**k)), k + 1.0)
            for k, name in enumerate(NAMES)
        }


def test_hrfpns_levels_are_poolings_of_all_branches():
    torch.manual_seed(0)
    network = HRFPN(Constant(4, stages=FEW), NAMES[::-1], out_channels=2, num_levels=5).eval()
    assert network.in_features == NAMES and network.size_divisibility == 32
    found = network(torch.zeros(2, 3, 64, 96))
    shapes = network.output_shape()
    assert list(found) == list(shapes) == ["p2", "p3", "p4", "p5", "p6"]
    assert [shapes[n].stride for n in found] == [4, 8, 16, 32, 64]
    assert [tuple(f.shape[2:]) for f in found.values()] == [
        (16, 24), (8, 12), (4, 6), (2, 3), (1, 2)
    ]  # fmt: skip
    # All cells of the joined feature map are the same, and so is their mean.
    joined = torch.cat([torch.full((4 * 2**k,), k + 1.0) for k in range(4)])
    reduced = network.reduce.weight[:, :, 0, 0] @ joined
    centre = network.outputs[1].weight.sum((2, 3)) @ reduced
    torch.testing.assert_close(found["p3"][0, :, 3, 5], centre)


def test_hrfpn_has_gradients_everywhere():
    network = HRFPN(HRNet(4, stages=FEW), NAMES, out_channels=4)
    found = network(torch.rand(2, 3, 64, 64))
    sum(level.square().sum() for level in found.values()).backward()
    assert not [n for n, p in network.named_parameters() if p.grad is None]
