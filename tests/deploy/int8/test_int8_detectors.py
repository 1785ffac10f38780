"""Dense detectors whose network is folded, or runs in another engine."""

import copy
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

from lowres_d2.deploy.int8 import (
    DenseNetwork,
    onnxruntime_int8,
    openvino_int8,
    with_network,
    with_onnxruntime,
    with_openvino,
    write_onnx,
)

import pytest
import torch
from detectron2.layers import ShapeSpec
from detectron2.modeling.meta_arch.fcos import FCOSHead
from detectron2.modeling.meta_arch.retinanet import RetinaNetHead
from torch import nn

from toys.detectors import CHANNELS, DETECTORS, LEVELS, NUM_CLASSES, random_image

SIZE = 64


def with_norms(name):
    """A toy detector whose batch norms have statistics of their own, for each level."""
    torch.manual_seed(1)
    detector = DETECTORS[name]()
    shapes = [ShapeSpec(channels=CHANNELS)] * len(LEVELS)
    arguments = dict(input_shape=shapes, num_classes=NUM_CLASSES, conv_dims=[CHANNELS] * 2)
    if name == "fcos":
        detector.head = FCOSHead(**arguments, norm="BN")
    else:
        detector.head = RetinaNetHead(**arguments, num_anchors=3, norm="BN")
    for module in detector.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
        if isinstance(getattr(module, "weight", None), nn.Parameter) and module.weight.dim() == 1:
            nn.init.uniform_(module.weight, 0.5, 2)
            nn.init.normal_(module.bias)
    return detector.eval()


@pytest.fixture(params=["fcos", "retinanet"])
def detector(request):
    return with_norms(request.param)


@torch.no_grad()
def predictions(detector, image):
    maps = detector.backbone(image)
    found = detector.head([maps[name] for name in detector.head_in_features])
    return [level for kind in found for level in kind]


@torch.no_grad()
def test_a_folded_network_predicts_the_same_without_norms(detector):
    image = torch.randn(2, 3, SIZE, 2 * SIZE)
    before = copy.deepcopy(detector.state_dict())
    network = DenseNetwork(detector)
    assert not any(isinstance(part, nn.BatchNorm2d) for part in network.modules())
    torch.testing.assert_close(
        list(network(image)), predictions(detector, image), rtol=1e-4, atol=1e-4
    )
    assert all(torch.equal(x, before[name]) for name, x in detector.state_dict().items())


@torch.no_grad()
def test_a_detector_with_another_network_detects_the_same(detector):
    inputs = [
        {"image": random_image(50, 60), "height": 100, "width": 120},
        {"image": random_image(64, 40), "height": 64, "width": 40},
    ]
    twin = with_network(detector, DenseNetwork(detector))
    for found, expected in zip(twin(inputs), detector(inputs), strict=True):
        found, expected = found["instances"], expected["instances"]
        assert len(found) == len(expected) > 0
        assert torch.equal(found.pred_classes, expected.pred_classes)
        torch.testing.assert_close(found.scores, expected.scores, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(
            found.pred_boxes.tensor, expected.pred_boxes.tensor, rtol=1e-3, atol=1e-2
        )
    assert detector.backbone is not twin.backbone and detector.head is not twin.head


@torch.no_grad()
def test_threads_do_not_take_each_others_predictions(detector):
    inputs = [[{"image": random_image(64, width)}] for width in (40, 60)]
    expected = [detector(x)[0]["instances"].scores for x in inputs]
    ready = threading.Barrier(2)

    def network(image):
        found = DenseNetwork(detector)(image)
        ready.wait(60)
        return found

    twin = with_network(detector, network)

    @torch.no_grad()
    def scores(x):
        return twin(x)[0]["instances"].scores

    with ThreadPoolExecutor(2) as threads:
        for found, right in zip(threads.map(scores, inputs), expected, strict=True):
            torch.testing.assert_close(found, right, rtol=1e-4, atol=1e-4)


def test_other_detectors_are_refused_in_one_line():
    rcnn = DETECTORS["faster_rcnn_c4"]()
    for use in (DenseNetwork, lambda detector: with_network(detector, lambda image: [])):
        with pytest.raises(ValueError, match=r"^int8: GeneralizedRCNN is not supported, FCOS"):
            use(rcnn)


def test_a_missing_package_is_named_with_what_to_install(monkeypatch, tmp_path):
    for name in ("onnxruntime", "openvino", "nncf"):
        monkeypatch.setitem(sys.modules, name, None)
    for use in (
        lambda: with_onnxruntime(tmp_path / "x.onnx", 1),
        lambda: with_openvino(tmp_path / "x.onnx", 1),
        lambda: openvino_int8(tmp_path / "x.onnx", []),
        lambda: onnxruntime_int8(tmp_path / "x.onnx", []),
    ):
        with pytest.raises(ModuleNotFoundError, match=r"int8: .*; pip install onnx onnxscript"):
            use()


@pytest.mark.slow
def test_engines_predict_nearly_the_same_in_int8(tmp_path):
    for package in ("onnx", "onnxscript", "onnxruntime", "openvino", "nncf"):
        pytest.importorskip(package)
    detector = with_norms("fcos")
    images = list(torch.randn(4, 1, 3, SIZE, SIZE))
    graph = write_onnx(DenseNetwork(detector), images[0], tmp_path / "network.onnx")
    expected = predictions(detector, images[0])
    ways = {
        "onnxruntime": (with_onnxruntime(graph, 1), 1e-4),
        "onnxruntime int8": (with_onnxruntime(onnxruntime_int8(graph, images), 1), 0.1),
        "OpenVINO": (with_openvino(graph, 1), 0.05),
        "OpenVINO int8": (with_openvino(openvino_int8(graph, images), 1), 0.1),
    }
    for name, (network, tolerance) in ways.items():
        for found, right in zip(network(images[0]), expected, strict=True):
            error = (found - right).norm() / right.norm()
            assert error < tolerance, name
        assert len(with_network(detector, network)([{"image": random_image(SIZE, SIZE)}])) == 1
