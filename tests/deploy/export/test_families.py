"""Each family of detectors: its graph finds in torch, and in onnxruntime, what the model finds."""

from functools import cache

from lowres_d2.deploy.export import FORMATS, ExportedModel, export_model
from lowres_d2.deploy.export.comparison import compare
from lowres_d2.deploy.export.graph import Graph, graph_for
from lowres_d2.deploy.export.sealed import Known
from lowres_d2.modeling import LowResDetector
from lowres_d2.modeling.resample import Bicubic, DownUp, Identity, LearnedDownsampler

import pytest
import torch
from detectron2.modeling.postprocessing import detector_postprocess
from detectron2.structures import Boxes, Instances

from toys.deformable_detr import SMALL, VARIANTS, deformable_detr
from toys.detectors import DETECTORS, inputs_of_several_sizes, random_image, with_spread_scores

PACKAGES = FORMATS["onnx"].to_write


@cache
def model(name, resampler):
    torch.manual_seed(0)
    return LowResDetector(with_spread_scores(DETECTORS[name](), 0.01), resampler()).eval()


@cache
def set_prediction(variant):
    torch.manual_seed(0)
    return LowResDetector(deformable_detr(SMALL, **VARIANTS[variant]), LearnedDownsampler(2)).eval()


def inputs_of_one_size():
    wanted = dict(height=300, width=205)
    return [{"image": random_image(150, 205, seed), **wanted} for seed in range(3)]


def of_graph(graph):
    """The graph as a model."""

    def detect(batch):
        (x,) = batch
        boxes, scores, classes = graph(x["image"].float())
        size = tuple(x["image"].shape[-2:])
        found = Instances(size, pred_boxes=Boxes(boxes), scores=scores, pred_classes=classes)
        return [{"instances": detector_postprocess(found, x["height"], x["width"])}]

    return detect


@pytest.mark.parametrize("name", DETECTORS)
@pytest.mark.parametrize(
    "resampler",
    [Identity, lambda: Bicubic("3/2"), lambda: LearnedDownsampler(4), lambda: DownUp(4)],
    ids=["full", "3/2", "learned", "down-up"],
)
def test_a_graph_in_torch_finds_what_the_model_finds(name, resampler):
    right = model(name, resampler)
    graph = Graph(right)
    found = compare(right, of_graph(graph), inputs_of_several_sizes(), graph.selection, 1e-2, 1e-4)
    assert found.found >= 40 and not found.unmatched, found


@pytest.mark.parametrize("name", ["fcos", "retinanet"])
def test_the_loader_finishes_candidates_of_formats_without_nms(name):
    right = model(name, lambda: LearnedDownsampler(4))
    graph = graph_for(right, FORMATS["executorch"])
    known = Known(
        format="executorch",
        recipe="",
        classes=[],
        category_ids=[],
        factor="4",
        channels=3,
        channel_order="",
        outputs=graph.outputs,
        selection=graph.selection.known(),
    )
    of_file = ExportedModel(graph, known, FORMATS["executorch"])
    found = compare(right, of_file, inputs_of_several_sizes(), graph.selection, 1e-2, 1e-4)
    assert found.found >= 40 and not found.unmatched, found
    assert len(graph.outputs) == 2 * len(right.detector.head_in_features)


@pytest.mark.parametrize("name", VARIANTS)
def test_set_prediction_has_a_graph_for_images_of_one_size(name):
    right = set_prediction(name)
    graph = Graph(right)
    assert not graph.form.any_size
    found = compare(right, of_graph(graph), inputs_of_one_size(), graph.selection, 1e-2, 1e-4)
    assert found.found == 3 * 12 * 5 and not found.unmatched, found


@pytest.mark.slow
def test_set_prediction_finds_the_same_in_onnxruntime_and_openvino(tmp_path, monkeypatch):
    for package in (*PACKAGES, "openvino"):
        pytest.importorskip(package)
    right = set_prediction("two_stage")
    # Traced once: that takes longer than all else.
    monkeypatch.setattr(
        "lowres_d2.deploy.export.openvino_file.onnx_bytes",
        lambda *args: (tmp_path / "x.onnx").read_bytes(),
    )
    for file in ("x.onnx", "x.xml"):
        found = export_model(right, tmp_path / file, inputs_of_one_size())
        assert found.found == 3 * 12 * 5 and found.box < 1e-2


@pytest.mark.slow
def test_two_stages_find_the_same_in_onnxruntime(tmp_path):
    for package in PACKAGES:
        pytest.importorskip(package)
    right = model("faster_rcnn_fpn", Identity)
    found = export_model(right, tmp_path / "x.onnx", inputs_of_several_sizes())
    assert found.found > 40 and found.box < 1e-2
