import json
from pathlib import Path

from lowres_d2.data.datasets import VOC_CLASSES
from lowres_d2.data.validation import Findings, read_split
from lowres_d2.programs.validate import main
from lowres_d2.programs.validate_recipe import check_cover, recipe_splits
from lowres_d2.recipes.load import load_recipe

import numpy as np
import pytest
from detectron2.config import instantiate
from detectron2.modeling.meta_arch.fcos import FCOS
from PIL import Image

from toys.runs import PLAIN

SHARED = Path(__file__).parents[3] / "shared" / "data" / "annotations"
VOC_RECIPE = "configs/voc/full_faster_rcnn_fpn_r50_600_voc.py"
SHARED_ANSWERS = {
    "visdrone/coco_evaluate_dataset.json": {"area-too-large", "category-zero", "denser-than-100"},
    "coco/sahi_terrain1_coco.json": {"area-too-large"},
    "coco/coco_train2017_other64.json": {"crowds"},
    "coco/instances_val2014_fakebbox100_results.json": {"file-unreadable"},
    "seadronessee/instances_val_iscrowd.json": {"category-ignored", "class-empty"},
    "seadronessee/result_all_classes.json": {"file-unreadable"},
    "nwpu_vhr10_ssdd/SSDD.json": {"annotation-zero"},
    "visdrone/visdrone2019-det-train-first50image.json": {"image-empty", "category-zero"},
}


def write_split(folder, seed, size=64):
    generator = np.random.default_rng(seed)
    images, annotations = [], []
    (folder / "images").mkdir(parents=True)
    for k in range(3):
        pixels = generator.integers(0, 256, (size, size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "images" / f"{k}.jpg")
        images.append({"id": k + 1, "file_name": f"{k}.jpg", "width": size, "height": size})
        box = {"bbox": [4 + k, 6, 30, 20], "area": 600, "iscrowd": 0}
        annotations.append({"id": k + 1, "image_id": k + 1, "category_id": 1 + k % 2, **box})
    categories = [{"id": 1, "name": "red"}, {"id": 2, "name": "green"}]
    path = folder / "data.json"
    content = {"images": images, "annotations": annotations, "categories": categories}
    path.write_text(json.dumps(content))
    return path


@pytest.fixture
def splits(tmp_path):
    return [write_split(tmp_path / name, seed) for seed, name in enumerate(("train", "val"))]


def damage(path, annotation=0, **changes):
    content = json.loads(path.read_text())
    content["annotations"][annotation].update(changes)
    path.write_text(json.dumps(content))


def run(*arguments):
    """Exit code of the program."""
    try:
        main([str(argument) for argument in arguments])
    except SystemExit as stop:
        return stop.code
    return 0


def test_sound_files_end_well_and_are_counted(splits, capsys):
    assert run("--annotations", *splits) == 0
    text = capsys.readouterr().out
    assert "train/data" in text
    assert "no problems found" in text


def test_numbers_by_size_that_do_not_add_up_are_explained(splits, capsys):
    damage(splits[0], bbox=[4, 6, 32, 32], area=32 * 32)
    run("--annotations", *splits)
    assert (
        "train/data: objects exactly as large as an edge count in both" in capsys.readouterr().out
    )


def test_errors_end_with_1_and_leave_report_and_sheet(splits, tmp_path, capsys):
    damage(splits[0], bbox=[4, 6, -3, 20])
    damage(splits[0], annotation=1, area=4000)
    (tmp_path / "val" / "images" / "1.jpg").write_bytes(b"no image")
    report, sheet = tmp_path / "report.json", tmp_path / "sheet.png"
    arguments = ("--annotations", *splits, "--json-report", report, "--sheet", sheet)
    assert run(*arguments) == 1
    text = capsys.readouterr().out
    assert "annotation 1, image 1, 0.jpg: box [4, 6, -3, 20] has a negative side" in text
    record = json.loads(report.read_text())
    assert not record["ok"]
    found = {(f["check"], f["split"]): f for f in record["findings"]}
    assert found["box-invalid", "train/data"]["examples"][0]["annotation_id"] == 1
    assert found["image-broken", "val/data"]["examples"][0]["image"] == "1.jpg"
    assert record["splits"][0]["classes"] == {"red": 1, "green": 1}
    with Image.open(sheet) as image:
        assert image.width > 1000
        colors = {color for _, color in image.convert("RGB").getcolors(1 << 24)}
    assert any(red > 200 and 100 < green < 160 and blue < 90 for red, green, blue in colors)


def test_annotations_can_be_looked_at_without_their_images(splits, tmp_path, capsys):
    for k in range(3):
        (tmp_path / "train" / "images" / f"{k}.jpg").unlink()
    assert run("--annotations", splits[0]) == 1
    assert run("--annotations", splits[0], "--no-images") == 0
    assert capsys.readouterr().out.count("[image-missing]") == 1


def test_images_can_be_elsewhere(splits, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    (tmp_path / "train" / "images").rename(elsewhere)
    assert run("--annotations", splits[0], "--images", elsewhere, "--deep") == 0


def test_a_missing_file_does_not_keep_the_other_from_being_checked(splits, tmp_path, capsys):
    damage(splits[1], area=4000)
    assert run("--annotations", tmp_path / "none.json", splits[1], "--no-decode") == 1
    text = capsys.readouterr().out
    assert "none.json: no such annotation file" in text
    assert "area-too-large" in text


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--annotations", "a.json", "--config-file", PLAIN),
        ("--annotations", "a.json", "--path", "b"),
        ("--annotations", "a.json", "--images", "a", "b"),
        ("--annotations", "a.json", "--deep", "--no-decode"),
    ],
)
def test_flags_that_contradict_each_other_are_refused(arguments, capsys):
    assert run(*arguments) == 2


def recipe_arguments(splits, *changes):
    train, val = splits
    data = (f"data.train_json={train}", f"data.val_json={val}", "train.device=cpu")
    return ("--config-file", PLAIN, *data, *changes)


def test_a_recipe_is_held_against_its_model(splits, capsys):
    assert run(*recipe_arguments(splits)) == 0
    text = capsys.readouterr().out
    assert "matched by the model (3 images of train)" in text
    assert run(*recipe_arguments(splits, "model.detector.num_classes=80")) == 1
    assert "model.detector.num_classes is 80, the data has 2" in capsys.readouterr().out


def test_a_recipe_for_own_data_takes_that_of_the_flags(splits, tmp_path, capsys):
    own = ("--config-file", PLAIN, "train.device=cpu")
    images = (tmp_path / name / "images" for name in ("train", "val"))
    assert run(*own, "--images", *images, "--annotations", *splits, "train.seed=1") == 0
    assert "matched by the model (3 images of train)" in capsys.readouterr().out
    assert run(*own, "--annotations", *splits, "--classes", "red", "--max-pixels", 100) == 1
    text = capsys.readouterr().out
    assert "max_pixels" in text and "green" not in text
    assert run(*own, "--path", tmp_path / "none") == 1
    assert f"{tmp_path / 'none'}: no such folder" in capsys.readouterr().out


def test_a_recipe_with_data_of_its_own_takes_no_other(splits, capsys):
    assert run("--config-file", VOC_RECIPE, "--annotations", *splits) == 1
    assert "recipes for your own data" in capsys.readouterr().err


def test_a_recipe_whose_data_break_its_model_is_still_reported(splits, capsys):
    content = json.loads(splits[0].read_text())
    content["categories"][1]["name"] = "red"
    splits[0].write_text(json.dumps(content))
    assert run(*recipe_arguments(splits)) == 1
    text = capsys.readouterr().out
    assert "category-twice" in text
    assert "model-unknown" in text


def test_settings_of_a_recipe_decide_what_is_an_error(splits, tmp_path, capsys):
    damage(splits[0], bbox=[4, 6, 0, 20])
    (tmp_path / "train" / "images" / "1.jpg").write_bytes(b"no image")
    assert run(*recipe_arguments(splits)) == 1
    changes = ("data.invalid_boxes=skip", "dataloader.train.mapper.on_broken=skip")
    assert run(*recipe_arguments(splits, *changes)) == 0
    assert run(*recipe_arguments(splits, *changes, "dataloader.evaluator.max_dets=0")) == 1


def write_voc(folder, split):
    """A year of VOC with one car in one image."""
    for part in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    name = f"{folder.name}_{split}"
    Image.new("RGB", (60, 40)).save(folder / "JPEGImages" / f"{name}.jpg")
    (folder / "ImageSets" / "Main" / f"{split}.txt").write_text(name)
    box = "<xmin>1</xmin><ymin>1</ymin><xmax>20</xmax><ymax>20</ymax>"
    (folder / "Annotations" / f"{name}.xml").write_text(
        "<annotation><size><width>60</width><height>40</height></size>"
        f"<object><name>car</name><bndbox>{box}</bndbox></object></annotation>"
    )


def test_a_recipe_of_voc_is_read_year_by_year(tmp_path):
    for year, split in ((2007, "trainval"), (2012, "trainval"), (2007, "test")):
        write_voc(tmp_path / f"VOC{year}", split)
    roots = [f"dataloader.{key}.dataset.root={tmp_path}" for key in ("train", "test")]
    findings = Findings()
    train, test = recipe_splits(load_recipe(VOC_RECIPE, roots), findings)
    assert not list(findings)
    assert [len(train.images), len(test.images)] == [2, 1]
    assert train.class_list == VOC_CLASSES
    assert [train.name_of[entry["category_id"]] for entry in train.objects] == ["car", "car"]
    assert all(train.path(image).is_file() for image in train.images)
    (tmp_path / "VOC2012" / "ImageSets" / "Main" / "trainval.txt").unlink()
    (test,) = recipe_splits(load_recipe(VOC_RECIPE, roots), findings)
    assert "trainval.txt: no such list" in str(next(iter(findings)).suspects[0])


def test_objects_that_no_point_matches_are_warned_of(splits):
    cfg = load_recipe(PLAIN, [f"data.train_json={splits[0]}", f"data.val_json={splits[1]}"])
    cfg.dataloader.train.mapper.augmentations = []
    for k in range(3):  # between the points of stride 4, at 18 and 22
        damage(splits[0], annotation=k, bbox=[20.5, 20.5, 1, 1], area=1)
    findings = Findings()
    split = read_split(splits[0], findings, "train")
    nearest = check_cover(cfg, instantiate(cfg.model), split, "coco", findings)
    assert "small (<=32 px) 100%" in nearest
    # Matched, all of them, and yet there is hardly anything to see.
    (finding,) = findings
    assert finding.check.name == "objects-tiny"
    assert "small (<=32 px): seen at a median of 1.0 px" in str(finding.suspects[0])
    findings = Findings()
    cfg.model.detector._target_ = FCOS
    line = check_cover(cfg, instantiate(cfg.model), split, "coco", findings)
    assert "small (<=32 px) 0%, medium no objects" in line
    finding = next(f for f in findings if f.check.name == "match-poor")
    assert "small (<=32 px): 0% of 3, seen at a median of 1.0 px" in str(finding.suspects[0])


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"{SHARED} is not here")
@pytest.mark.parametrize("name", SHARED_ANSWERS)
def test_traps_of_real_files_are_found(tmp_path, name):
    report = tmp_path / "report.json"
    run("--annotations", SHARED / name, "--no-images", "--json-report", report)
    found = {finding["check"] for finding in json.loads(report.read_text())["findings"]}
    assert SHARED_ANSWERS[name] <= found
