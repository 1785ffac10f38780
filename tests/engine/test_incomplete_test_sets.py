"""Test sets without labels, whose detections are written, and those that lack a class."""

import json
import shutil

from lowres_d2.data.datasets import CocoDataset, VocDataset
from lowres_d2.data.datasets.sample import EvenSample
from lowres_d2.engine.build import build_datasets, check_classes
from lowres_d2.engine.evaluate import evaluate_only
from lowres_d2.evaluation import DetectionWriter
from lowres_d2.programs.train import main
from lowres_d2.recipes.load import load_recipe

import numpy as np
import pytest
import torch
from detectron2.structures import Boxes, Instances
from PIL import Image
from torch import nn

from toys.data import CLASSES, ToyData
from toys.runs import PLAIN


def unlabelled(folder, *without):
    """Two images with ids 70 and 71, without annotations and without these sections."""
    data = ToyData(folder, number=2, first_id=70)
    data.content["annotations"] = []
    for section in without:
        del data.content[section]
    return data.write()


def evaluate_on(trained, json_file, output_dir, *more):
    arguments = trained.arguments(output_dir)
    arguments[2:2] = ["--eval-only"]
    weights = f"train.init_checkpoint={trained.file}"
    main([*arguments, weights, f"data.val_json={json_file}", *more])
    return json.loads((output_dir / "coco_instances_results.json").read_text())


@pytest.mark.parametrize("without", [(), ("annotations",), ("annotations", "categories")])
def test_detections_have_the_ids_of_the_file(trained, tmp_path, without, caplog):
    caplog.set_level("INFO")
    json_file = unlabelled(tmp_path / "test", *without)
    low = "model.detector.test_score_thresh=0.0"
    found = evaluate_on(trained, json_file, tmp_path / "out", low)
    assert {detection["image_id"] for detection in found} == {70, 71}
    assert {detection["category_id"] for detection in found} == {3, 4}
    assert all(set(d) == {"image_id", "category_id", "bbox", "score"} for d in found)
    assert f"has no labels, so there are no metrics: {len(found)} detections of its 2 images" in (
        caplog.text
    )
    assert not (tmp_path / "out" / "evaluation.json").exists()


@pytest.mark.parametrize("known", [True, False])
def test_ids_of_a_saved_recipe_are_the_weights_or_said_to_be_made_up(
    trained, tmp_path, known, caplog
):
    """Its recipe names the classes; weights of before do not have their ids."""
    caplog.set_level("INFO")
    json_file = unlabelled(tmp_path / "test", "annotations", "categories")
    weights = torch.load(trained.file, weights_only=True)
    assert weights["category_ids"] == [3, 4]
    if not known:
        del weights["category_ids"]
    torch.save(weights, tmp_path / "weights.pth")
    changes = {
        "data.val_json": json_file,
        "train.init_checkpoint": tmp_path / "weights.pth",
        "train.output_dir": tmp_path / "out",
        "model.detector.test_score_thresh": 0.0,
    }
    opts = [f"{key}={value}" for key, value in changes.items()]
    assert evaluate_only(load_recipe(trained.folder / "config.yaml", opts)) == {}
    rows = json.loads((tmp_path / "out" / "coco_instances_results.json").read_text())
    assert {row["category_id"] for row in rows} == ({3, 4} if known else {1, 2})
    said = "red 3, green 4" if known else "red 1 (made up), green 2 (made up)"
    assert f"get category_id: {said}" in caplog.text


def test_training_on_or_with_such_a_set_is_an_error(trained, tmp_path):
    json_file = unlabelled(tmp_path / "test")
    arguments = trained.arguments(tmp_path / "out")
    with pytest.raises(SystemExit):
        main([*arguments, f"data.val_json={json_file}"])
    with pytest.raises(SystemExit):
        main([*arguments, f"data.train_json={json_file}"])


def test_a_sample_of_a_set_without_labels_has_images(tmp_path):
    dataset = CocoDataset(unlabelled(tmp_path / "test"))
    assert [record["image_id"] for record in EvenSample(dataset, 1)] == [70]
    assert len(EvenSample(dataset, 5)) == 2


def output(*rows):
    """Detections of an image, from rows of x0, y0, x1, y1, score, class."""
    rows = torch.tensor(rows).reshape(-1, 6)
    found = Instances((40, 60))
    found.pred_boxes, found.scores = Boxes(rows[:, :4]), rows[:, 4]
    found.pred_classes = rows[:, 5].long()
    return {"instances": found}


def test_voc_without_annotations_names_the_files_of_its_images(tmp_path):
    folder = tmp_path / "VOC2012"
    for name in ("JPEGImages", "ImageSets/Main"):
        (folder / name).mkdir(parents=True)
    for stem in ("a", "b"):
        Image.fromarray(np.zeros((40, 60, 3), np.uint8)).save(folder / f"JPEGImages/{stem}.png")
    (folder / "ImageSets/Main/test.txt").write_text("a\nb\n")
    dataset = VocDataset(tmp_path, "test", 2012, classes=CLASSES)
    assert (dataset[1]["height"], dataset[1]["width"], dataset.num_objects) == (40, 60, 0)
    assert dataset.classes == CLASSES
    writer = DetectionWriter(dataset, tmp_path)
    writer.process([{"image_id": 2}], [output([1.0, 2, 11, 22, 0.5, 1])])
    writer.process([{"image_id": 1}], [output()])
    assert writer.evaluate() == {} and writer.num_detections == 1
    (found,) = json.loads((tmp_path / "coco_instances_results.json").read_text())
    assert found == {
        "image_id": 2,
        "category_id": 2,
        "bbox": [1, 2, 10, 20],
        "score": 0.5,
        "file_name": str(folder / "JPEGImages/b.png"),
    }
    shutil.rmtree(folder / "JPEGImages")
    with pytest.raises(FileNotFoundError, match="JPEGImages"):
        VocDataset(tmp_path, "test", 2012, classes=CLASSES)


@pytest.fixture
def only_red(tmp_path):
    data = ToyData(tmp_path / "val", seed=1)
    red = data.content["categories"][0]
    data.content["categories"] = [red]
    data.content["annotations"] = [
        a for a in data.content["annotations"] if a["category_id"] == red["id"]
    ]
    return data.write()


@pytest.mark.parametrize("classes", ["null", "[red,green]"])
def test_a_test_set_may_lack_a_class_of_the_training_set(trained, only_red, tmp_path, classes):
    folder = tmp_path / "run"
    main([*trained.arguments(folder), f"data.val_json={only_red}", f"data.classes={classes}"])
    found = json.loads((folder / "evaluation.json").read_text())["bbox"]
    assert found["AP-green"] is None and found["AP-red"] is not None
    assert found["AP"] == found["AP-red"]


def test_weights_of_all_classes_are_evaluated_on_fewer(trained, only_red, tmp_path):
    arguments = trained.arguments(tmp_path / "run")
    arguments[2:2] = ["--eval-only"]
    main([*arguments, f"train.init_checkpoint={trained.file}", f"data.val_json={only_red}"])
    found = json.loads((tmp_path / "run" / "evaluation.json").read_text())["bbox"]
    assert found["AP-green"] is None and found["AP-red"] is not None


def test_a_misspelt_class_is_still_an_error(trained, only_red):
    opts = [
        f"data.train_json={trained.data.json_file}",
        f"data.val_json={only_red}",
        "data.classes=[red,gren]",
    ]
    with pytest.raises(ValueError, match="has no class 'gren'; did you mean 'green'"):
        build_datasets(load_recipe(PLAIN, opts))


def test_data_sets_with_other_classes_are_left_as_they_are(only_red, trained):
    opts = [f"data.train_json={only_red}", f"data.val_json={trained.data.json_file}"]
    cfg = load_recipe(PLAIN, opts)
    build_datasets(cfg)
    assert cfg.dataloader.test.dataset.classes == CLASSES  # one more than in training
    head = nn.Module()
    head.num_classes = 1
    with pytest.raises(ValueError, match="the data has 2 classes"):
        check_classes(head, cfg.dataloader.test.dataset.classes)
