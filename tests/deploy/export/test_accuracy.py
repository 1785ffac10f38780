"""What export must keep: the AP of a trained detector on images with ground truth."""

import lowres_d2
from lowres_d2.deploy.export import export_model, load_exported
from lowres_d2.deploy.export.check_images import check_images
from lowres_d2.engine.build import build_datasets
from lowres_d2.recipes.find import find_recipe
from lowres_d2.recipes.load import build, load_recipe

import pytest
from detectron2.evaluation import inference_on_dataset


@pytest.mark.slow
def test_a_quick_model_has_the_ap_of_torch_in_onnxruntime_and_openvino(tmp_path, monkeypatch):
    for package in ("onnx", "onnxscript", "onnxruntime", "openvino"):
        pytest.importorskip(package)
    # Traced once: that takes longer than all else.
    monkeypatch.setattr(
        "lowres_d2.deploy.export.openvino_file.onnx_bytes",
        lambda *args: (tmp_path / "x.onnx").read_bytes(),
    )
    detector = lowres_d2.load("thumbdet4", device="cpu")
    images = [detector.prepare(image, "generated") for image in check_images(3)]
    ways = {"torch": detector.model}
    for file in ("x.onnx", "x.xml"):
        export_model(detector.model, tmp_path / file, images)
        ways[file] = load_exported(tmp_path / file)
    cfg = load_recipe(
        find_recipe(lowres_d2.models()["thumbdet4"].card.recipe),
        [
            "train.device=cpu",
            f"dataloader.train.dataset.root={tmp_path}",
            "dataloader.test.dataset.split=test",
            "dataloader.test.dataset.num_images=300",
            "dataloader.test.num_workers=0",
        ],
    )
    build_datasets(cfg, ["test"])
    loader = build(cfg, "dataloader.test")
    ap = {
        name: inference_on_dataset(way, loader, build(cfg, "dataloader.evaluator"))["bbox"]["AP"]
        for name, way in ways.items()
    }
    assert ap["torch"] > 20
    assert ap == pytest.approx(dict.fromkeys(ap, ap["torch"]), abs=0.1)
