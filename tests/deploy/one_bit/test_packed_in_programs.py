"""Files of ``lowres-d2 pack`` in the programs that take trained weights."""

import json
from pathlib import Path

from lowres_d2.analysis.cost.complexity import measure_complexity
from lowres_d2.engine.build import build_model
from lowres_d2.engine.identity import recipe_text
from lowres_d2.engine.trained import trained_model
from lowres_d2.evaluation.found_boxes import PREDICTIONS
from lowres_d2.modeling.backbone import SmallShortcutResNet
from lowres_d2.modeling.one_bit import binarized
from lowres_d2.predictor import load
from lowres_d2.predictor.info import noise
from lowres_d2.programs import pack, pseudo_label, train
from lowres_d2.programs.shown_runs import open_run
from lowres_d2.recipes.load import load_recipe

import pytest
import torch
from detectron2.config import LazyCall as L
from detectron2.config import LazyConfig

from toys.data import CLASSES

RECIPE = "configs/own_data/bicubic4_fcos_small_own.py"


@pytest.fixture(scope="module")
def files(coco_json, tmp_path_factory):
    """A recipe of a 1-bit detector, a checkpoint with random weights, and the same packed."""
    folder = tmp_path_factory.mktemp("one_bit")
    cfg = load_recipe(RECIPE, [f"data.train_json={coco_json}", f"data.val_json={coco_json}"])
    cfg.train.device = "cpu"
    cfg.dataloader.test.num_workers = 0
    cfg.model.detector = L(binarized)(detector=cfg.model.detector)
    cfg.model.detector.detector.backbone.bottom_up = L(SmallShortcutResNet)()
    cfg.model.detector.detector.test_score_thresh = 0.0
    recipe, weights = folder / "recipe.yaml", folder / "model.pth"
    LazyConfig.save(cfg, str(recipe))
    state = {"classes": CLASSES, "category_ids": [3, 4], "recipe": recipe_text(cfg)}
    torch.save({"model": build_model(cfg).state_dict(), **state}, weights)
    packed = folder / "packed.safetensors"
    pack.main([str(weights), str(packed)])
    return recipe, weights, packed


def detections(path):
    """Boxes and scores of a results file, in the order of images and scores."""
    rows = sorted(json.loads(path.read_text()), key=lambda x: (x["image_id"], -x["score"]))
    assert rows
    return torch.tensor([[*row["bbox"], row["score"]] for row in rows])


def assert_same(found, expected):
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-3)


def test_eval_only(files, tmp_path):
    recipe, weights, packed = files
    found = []
    for file in (weights, packed):
        output = tmp_path / file.stem
        flags = ["--eval-only", "--config-file", str(recipe), f"train.init_checkpoint={file}"]
        train.main([*flags, f"train.output_dir={output}"])
        found.append(detections(output / PREDICTIONS))
    assert_same(found[1], found[0])


def test_figures_open_it_without_a_recipe(files, tmp_path):
    _, weights, packed = files
    runs = [open_run(str(file), tmp_path) for file in (weights, packed)]
    assert [run.cfg.dataloader.test.dataset.classes for run in runs] == [CLASSES] * 2


def test_pseudo_labels(files, coco_json, tmp_path):
    _, weights, packed = files
    found = []
    for file in (weights, packed):
        output = tmp_path / file.stem
        images = str(Path(coco_json).parent / "images")
        flags = ["--weights", str(file), "--images", images, "--output", str(output)]
        pseudo_label.main([*flags, "--threshold", "0.01"])
        labels = json.loads((output / "train.json").read_text())["annotations"]
        assert labels
        found.append(torch.tensor([row["bbox"] for row in labels]))
    assert_same(found[1], found[0])


def test_the_predictor_opens_it_without_a_recipe(files, coco_json):
    recipe, weights, packed = files
    as_trained, _ = trained_model(load_recipe(recipe), weights)
    image = next((Path(coco_json).parent / "images").glob("*.png"))
    found = []
    for file in (weights, packed):
        detector = load(file)
        boxes = detector(image, score=0)
        found.append(torch.cat([boxes.pred_boxes.tensor, boxes.scores[:, None]], dim=1))
        assert detector.class_names == CLASSES
        assert detector.info.factor == 4
        costs = measure_complexity(as_trained, [detector.prepare(noise(3))])
        assert (detector.info.macs, detector.info.ops) == (costs.total_macs, costs.total_ops)
        assert detector.info.ops < detector.info.macs
    assert_same(found[1], found[0])


def test_the_report_says_what_the_file_holds(files):
    _, weights, packed = files
    cfg = load_recipe(files[0])
    reports = [trained_model(cfg, file)[1] for file in (weights, packed)]
    assert [report.classes for report in reports] == [CLASSES] * 2
    assert reports[0].category_ids == reports[1].category_ids == [3, 4]
    assert reports[1].matched == reports[1].total == reports[1].of_file > 0
