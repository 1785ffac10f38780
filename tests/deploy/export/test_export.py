"""A detector in ONNX finds what it finds in torch; what cannot be exported says why."""

import contextlib
import io
import json
import shutil
import sys

import lowres_d2
from lowres_d2.deploy.export import export_model, load_exported
from lowres_d2.deploy.export.graph import Graph
from lowres_d2.deploy.export.sealed import KEY
from lowres_d2.deploy.one_bit import pack
from lowres_d2.engine.build import build_model
from lowres_d2.engine.identity import recipe_text
from lowres_d2.modeling import LowResDetector
from lowres_d2.modeling.backbone import SmallShortcutResNet
from lowres_d2.modeling.one_bit import binarized
from lowres_d2.modeling.resample import Identity, Resampler
from lowres_d2.modeling.tiles import TiledDetector
from lowres_d2.programs.export import main
from lowres_d2.programs.page_detectors import PageDetector
from lowres_d2.quick_models import CARD
from lowres_d2.recipes.load import load_recipe

import numpy as np
import pytest
import torch
from detectron2.modeling.meta_arch.fcos import FCOS

from toys.data import CLASSES
from toys.detectors import fcos, inputs_of_several_sizes, with_spread_scores

RECIPE = "configs/own_data/bicubic4_fcos_small_own.py"
PACKAGES = ("onnx", "onnxscript", "onnxruntime")


@pytest.fixture(scope="module")
def run(coco_json, tmp_path_factory):
    """A run of a detector whose weights find much."""
    folder = tmp_path_factory.mktemp("run")
    data = [f"data.{split}_json={coco_json}" for split in ("train", "val")]
    changes = [
        "dataloader.test.mapper.augmentations.0.short_edge_length=96",
        "model.detector.test_score_thresh=0.3",
        "train.device=cpu",
        f"train.output_dir={folder}",
    ]
    cfg = load_recipe(RECIPE, [*data, *changes])
    text = recipe_text(cfg)
    model = with_spread_scores(build_model(cfg))
    state = {"model": model.state_dict(), "classes": CLASSES, "recipe": text}
    torch.save(state | {CARD: {"knows": "noise"}}, folder / "model_final.pth")
    return folder


@pytest.fixture(scope="module")
def exported(run, tmp_path_factory):
    """Its ONNX file, made by the program, and what that printed."""
    for package in PACKAGES:
        pytest.importorskip(package)
    file = tmp_path_factory.mktemp("exported") / "detector.onnx"
    with contextlib.redirect_stdout(io.StringIO()) as said:
        main([str(run), "--output", str(file)])
    return file, said.getvalue()


def test_the_program_says_what_it_compared(exported):
    file, said = exported
    *_, differences, written = said.splitlines()
    assert "detections on 20 images" in differences
    assert int(differences.split()[0]) > 20
    assert written == f"written to {file}, {file.stat().st_size / 1e6:.2f} MB"
    assert [path.name for path in file.parent.iterdir() if path.suffix == ".onnx"] == [file.name]


def test_an_exported_file_is_loaded_like_any_other(run, exported):
    eager, detector = lowres_d2.load(run, device="cpu"), lowres_d2.load(exported[0])
    assert detector.class_names == CLASSES
    assert detector.knows == detector.info.knows == eager.knows == "noise"
    assert (detector.info.factor, detector.info.macs) == (eager.info.factor, eager.info.macs)
    rng = np.random.default_rng(0)
    images = [
        rng.integers(0, 255, (h, w, 3), np.uint8) for h, w in ((90, 77), (128, 64), (31, 200))
    ]
    for image in images:
        found, expected = detector(image), eager(image)
        assert len(found) == len(expected) > 0
        assert found.image_size == expected.image_size == image.shape[:2]
        torch.testing.assert_close(found.scores, expected.scores, rtol=0, atol=1e-4)
        # Detections of equal scores may have changed places.
        for x in expected.pred_boxes.tensor:
            assert (found.pred_boxes.tensor - x).abs().amax(dim=1).min() < 1e-2


def test_other_programs_can_read_what_it_is(exported):
    onnx = pytest.importorskip("onnx")
    model = onnx.load(exported[0])
    onnx.checker.check_model(model)
    (entry,) = [x for x in model.metadata_props if x.key == KEY]
    known = json.loads(entry.value)
    assert known["classes"] == CLASSES and known["factor"] == "4"
    assert known["selection"]["score_threshold"] == 0.3
    assert (
        known["outputs"] == [x.name for x in model.graph.output] == ["boxes", "scores", "classes"]
    )


def test_broken_files_are_said_in_one_line(exported, tmp_path):
    onnx = pytest.importorskip("onnx")
    content = exported[0].read_bytes()
    file = tmp_path / "broken.onnx"
    foreign = onnx.load(exported[0])
    weights = max((x.raw_data for x in foreign.graph.initializer), key=len)
    broken = {
        "is damaged": content.replace(weights, bytes(99) + weights[99:]),
        "is no ONNX file that onnxruntime can read": content[: len(content) // 3],
        "is of version 7, expected 1": content.replace(b'"version": 1', b'"version": 7'),
    }
    del foreign.metadata_props[:]
    broken["was not written by `lowres-d2 export`"] = foreign.SerializeToString()
    for said, wrong in broken.items():
        file.write_bytes(wrong)
        with pytest.raises(ValueError, match=said) as caught:
            lowres_d2.load(file)
        assert "\n" not in str(caught.value) and str(file) in str(caught.value)


def test_what_does_not_fit_an_exported_file_is_refused(exported):
    with pytest.raises(ValueError, match=r"detector\.onnx: is an exported file"):
        PageDetector(str(exported[0]))
    for arguments in ({"weights": "x.pth"}, {"device": "cuda"}, {"overrides": ["train.seed=1"]}):
        with pytest.raises(ValueError, match="cannot be changed and runs on the CPU"):
            lowres_d2.load(exported[0], **arguments)
    model = load_exported(exported[0])
    with pytest.raises(ValueError, match="has 1 channels, the exported model takes 3"):
        model([{"image": torch.zeros(1, 50, 50)}])


def test_openvino_files_are_loaded_by_the_same_call(run, exported, tmp_path, monkeypatch, capsys):
    pytest.importorskip("openvino")
    # The same graph: to trace it takes longer than all else.
    graph = exported[0].read_bytes()
    monkeypatch.setattr("lowres_d2.deploy.export.openvino_file.onnx_bytes", lambda *args: graph)
    file = tmp_path / "detector.xml"
    main([str(run), "--output", str(file)])
    assert "detections on 20 images" in capsys.readouterr().out
    assert {path.name for path in tmp_path.glob("*.*") if path.name[0] != "."} == {
        "detector.xml",
        "detector.bin",
    }
    assert lowres_d2.load(file).class_names == CLASSES
    # Copies: OpenVINO maps the files of a model into memory.
    broken = tmp_path / "broken.xml"
    weights = file.with_suffix(".bin").read_bytes()
    middle = len(weights) // 2
    for content, said in (
        (file.read_text(), "its weights, broken.bin, are not beside it"),
        ("<net/>", "OpenVINO cannot read it"),
        (file.read_text(), "is damaged"),
    ):
        broken.write_text(content)
        with pytest.raises(ValueError, match=said):
            lowres_d2.load(broken)
        damaged = weights[: middle - 8] + bytes(16) + weights[middle + 8 :]
        broken.with_suffix(".bin").write_bytes(damaged)


@pytest.mark.slow
def test_executorch_files_take_images_of_one_size_and_are_loaded_alike(run, tmp_path, capsys):
    pytest.importorskip("executorch")
    file = tmp_path / "detector.pte"
    main([str(run), "--output", str(file)])
    said = capsys.readouterr().out
    assert "for images of 96x96 alone" in said and "detections on 20 images" in said
    known = json.loads(file.read_bytes().splitlines()[-1])
    assert (known["size"], known["classes"]) == ([96, 96], CLASSES)
    eager, detector = lowres_d2.load(run, device="cpu"), lowres_d2.load(file)
    image = np.random.default_rng(0).integers(0, 255, (50, 50, 3), np.uint8)
    found, expected = detector(image), eager(image)
    assert len(found) == len(expected) > 0 and found.image_size == (50, 50)
    torch.testing.assert_close(found.scores, expected.scores, rtol=0, atol=1e-4)
    with pytest.raises(ValueError, match=r"has 96x192 pixels .*, the exported model takes 96x96"):
        detector(image[:, :25].repeat(4, axis=1))
    content = file.read_bytes()
    middle = len(content) // 2
    for wrong, said in (
        (content[:middle] + bytes(64) + content[middle + 64 :], "is damaged"),
        (content[:middle], "was not written by `lowres-d2 export`"),
    ):
        file.write_bytes(wrong)
        with pytest.raises(ValueError, match=said):
            lowres_d2.load(file)


def test_a_format_of_one_size_refuses_images_of_several(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "executorch", contextlib)  # not used until they are compared
    said = "executorch file takes images of one size alone, and those of the check have 37x41, 128x"
    with pytest.raises(ValueError, match=said):
        export_model(fcos().eval(), tmp_path / "x.pte", inputs_of_several_sizes())


def test_a_file_of_the_users_is_not_replaced(run, exported, tmp_path, capsys):
    file = tmp_path / "mine.onnx"
    shutil.copy(exported[0], file)
    with pytest.raises(SystemExit):
        main([str(run), "--output", str(file)])
    assert "exists, and no earlier run wrote it" in capsys.readouterr().err
    assert file.read_bytes() == exported[0].read_bytes()


def test_names_and_formats_must_agree(tmp_path):
    for name, asked, said in (
        ("x.pb", None, r"expected a name that ends with \.onnx or \.xml or \.pte"),
        ("x.xml", "onnx", r"expected a name that ends with \.onnx$"),
        ("x.onnx", "onx", "nearest: 'onnx'"),
    ):
        with pytest.raises(ValueError, match=said):
            export_model(fcos().eval(), tmp_path / name, [], name=asked)


def test_a_missing_package_is_named_with_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ModuleNotFoundError, match=r"onnx: .*; pip install onnx onnxscript onnxru"):
        export_model(fcos().eval(), tmp_path / "x.onnx", inputs_of_several_sizes())


def one_bit():
    detector = fcos()
    detector.backbone.bottom_up = SmallShortcutResNet((8, 12, 16, 20, 24), (1, 1, 1, 1))
    return binarized(detector).eval()


class OwnInference(FCOS):
    def inference_single_image(self, *args):
        return super().inference_single_image(*args)


class OwnResampler(Resampler):
    def forward(self, images):
        return images


REFUSED = {
    "packed 1-bit detectors run in their own engine": lambda: pack(one_bit()),
    "in 1-bit layers another runtime's rounding turns signs": one_bit,
    "in tiles have no graph of their own": lambda: TiledDetector(fcos(), 64, 16),
    "OwnInference has a inference_single_image of its own": lambda: fcos(OwnInference),
    "resampler OwnResampler has a forward": lambda: LowResDetector(fcos(), OwnResampler(2)),
    "Linear has no form for export": lambda: LowResDetector(torch.nn.Linear(1, 1), Identity()),
}


@pytest.mark.parametrize("said", REFUSED)
def test_what_cannot_be_exported_says_why(said):
    with pytest.raises(ValueError, match=said):
        Graph(REFUSED[said]())


def test_a_model_that_finds_nothing_or_something_else_is_not_written(tmp_path, monkeypatch):
    for package in PACKAGES:
        pytest.importorskip(package)
    backend = "lowres_d2.deploy.export.onnx_file.onnx_bytes"
    blind = with_spread_scores(fcos(), threshold=0.999999)
    file = tmp_path / "x.onnx"
    monkeypatch.setattr(backend, lambda *args: small_graph())
    with pytest.raises(ValueError, match="the model finds nothing on the 4 images"):
        export_model(blind, file, inputs_of_several_sizes())
    with pytest.raises(ValueError, match=r"onnx and torch differ: \d+ of their"):
        export_model(with_spread_scores(fcos()), file, inputs_of_several_sizes())
    assert not list(tmp_path.glob("*.onnx")) and not list(tmp_path.glob(".*.onnx"))


def small_graph():
    """A graph that finds one object of score 0.5 on every image."""
    from onnx import TensorProto, helper, numpy_helper

    one = {
        "boxes": np.array([[1, 2, 30, 40]], np.float32),
        "scores": np.array([0.5], np.float32),
        "classes": np.array([0], np.int64),
    }
    kinds = {"classes": TensorProto.INT64}
    graph = helper.make_graph(
        [
            helper.make_node("Constant", [], [name], value=numpy_helper.from_array(value))
            for name, value in one.items()
        ],
        "small",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [3, "H", "W"])],
        [
            helper.make_tensor_value_info(name, kinds.get(name, TensorProto.FLOAT), value.shape)
            for name, value in one.items()
        ],
    )
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10
    ).SerializeToString()
