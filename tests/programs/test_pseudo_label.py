"""Images without labels become a data set with a detector's own detections."""

import json

from lowres_d2.data.datasets import CocoDataset, count_classes
from lowres_d2.engine.build import build_model
from lowres_d2.engine.identity import recipe_text
from lowres_d2.own_files import LIST
from lowres_d2.programs.pseudo_label import main
from lowres_d2.programs.train import main as train
from lowres_d2.recipes.load import load_recipe

import numpy as np
import pytest
import torch
from detectron2.data import transforms as T
from PIL import Image

from toys.data import CLASSES

RECIPE = "configs/own_data/bicubic4_fcos_small_own.py"
SIDE = 100  # of the network's images


@pytest.fixture(scope="module")
def teacher(tmp_path_factory, coco_json):
    """File of a detector with random weights, and the detector."""
    data = [f"data.{split}_json={coco_json}" for split in ("train", "val")]
    resized = f"dataloader.test.mapper.augmentations.0.short_edge_length={SIDE}"
    workers = "dataloader.train.num_workers=0"
    cfg = load_recipe(RECIPE, [*data, resized, workers, "train.device=cpu"])
    text = recipe_text(cfg)
    model = build_model(cfg).eval()
    file = tmp_path_factory.mktemp("teacher") / "teacher.pth"
    state = {"model": model.state_dict(), "classes": CLASSES, "category_ids": [3, 4]}
    torch.save(state | {"recipe": text}, file)
    return file, model


@pytest.fixture(scope="module")
def camera(tmp_path_factory):
    """Five images of several sizes."""
    folder = tmp_path_factory.mktemp("camera") / "images"
    folder.mkdir()
    random = np.random.default_rng(0)
    for k, size in enumerate([(70, 111), (113, 60), (64, 64), (90, 130), (120, 81)]):
        pixels = random.integers(0, 90, (*size, 3), np.uint8)
        pixels[10 : 30 + 5 * k, 15:50] = (240, 30 * k, 0)
        Image.fromarray(pixels).save(folder / f"{k}.png")
    return folder


def by_hand(model, folder):
    """For each image XYWH boxes in its own pixels, scores and classes."""
    found = []
    for file in sorted(folder.iterdir()):
        pixels = np.asarray(Image.open(file))
        height, width = pixels.shape[:2]
        image = T.ResizeShortestEdge(SIDE, 400).get_transform(pixels).apply_image(pixels)
        with torch.no_grad():
            x = {"image": torch.from_numpy(image.transpose(2, 0, 1).copy())}
            instances = model([x])[0]["instances"]  # in the pixels of the resized image
        boxes = instances.pred_boxes.tensor.double()
        boxes[:, 0::2] *= width / image.shape[1]
        boxes[:, 1::2] *= height / image.shape[0]
        boxes[:, 2:] -= boxes[:, :2]
        found.append((boxes, instances.scores.tolist(), instances.pred_classes.tolist()))
    return found


def run(weights, images, output, *more):
    main(["--weights", str(weights), "--images", str(images), "--output", str(output), *more])


def read(file):
    return json.loads(file.read_text())


def quantiles(found):
    scores = sorted(score for _, scores, _ in found for score in scores)
    return scores[len(scores) // 3], scores[2 * len(scores) // 3]


def test_labels_are_the_teachers_own_detections(teacher, camera, tmp_path, capsys):
    file, model = teacher
    found = by_hand(model, camera)
    low, high = quantiles(found)
    run(file, camera, tmp_path, f"--threshold={high}", f"--ignore-from={low}")
    assert {path.name for path in tmp_path.iterdir()} == {"train.json", "val.json", LIST}
    train, val = read(tmp_path / "train.json"), read(tmp_path / "val.json")
    assert [image["file_name"] for image in train["images"]] == [f"{k}.png" for k in range(4)]
    assert [image["file_name"] for image in val["images"]] == ["4.png"]
    assert (val["images"][0]["height"], val["images"][0]["width"]) == (120, 81)
    for content in (train, val):
        assert content["categories"] == [{"id": 3, "name": "red"}, {"id": 4, "name": "green"}]
        for image in content["images"]:
            labels = [a for a in content["annotations"] if a["image_id"] == image["id"]]
            boxes, scores, classes = found[image["id"] - 1]
            kept = [k for k, score in enumerate(scores) if score >= low]
            assert [a["score"] for a in labels] == [scores[k] for k in kept]
            assert [a["category_id"] - 3 for a in labels] == [classes[k] for k in kept]
            assert [a["iscrowd"] for a in labels] == [scores[k] < high for k in kept]
            expected = boxes[kept].numpy()
            np.testing.assert_allclose([a["bbox"] for a in labels], expected, atol=1e-4)
    said = capsys.readouterr().out
    assert f"No ground truth: detections of {file} with scores from {high:g}" in said
    assert f"data.train_json={tmp_path}/train.json data.train_images={camera}" in said
    dataset = CocoDataset(tmp_path / "train.json", camera)
    assert dataset.labelled_by == f"detections of {file} with scores from {high:g}"
    assert count_classes(tmp_path / "train.json") == 2
    objects = [a for a in train["annotations"] if not a["iscrowd"]]
    assert f"{len(objects)} objects, {len(train['annotations']) - len(objects)} ignored" in said


def test_images_without_detections_stay_as_empty_ones(teacher, camera, tmp_path, capsys):
    file, model = teacher
    best = [max(scores) for _, scores, _ in by_hand(model, camera)]
    threshold = sorted(best)[-2]
    options = ["--held-out=0", f"--threshold={threshold}", f"--ignore-from={threshold}"]
    run(file, camera, tmp_path, *options)
    assert not (tmp_path / "val.json").exists()
    content = read(tmp_path / "train.json")
    labelled = {a["image_id"] for a in content["annotations"]}
    assert len(content["images"]) == 5
    assert labelled == {k for k, score in enumerate(best, start=1) if score >= threshold}
    assert not any(a["iscrowd"] for a in content["annotations"])
    assert "5 images (3 without objects)" in capsys.readouterr().out
    dataset = CocoDataset(tmp_path / "train.json", camera)
    assert sum(not record["annotations"] for record in dataset) == 3


def test_a_json_keeps_its_ids_and_a_broken_image_is_left_out(teacher, coco_json, tmp_path, capsys):
    file, _ = teacher
    run(file, coco_json, tmp_path / "a", "--threshold=0.01", "--held-out=0.5")
    ids = [image["id"] for image in read(coco_json)["images"]]
    train, val = (read(tmp_path / "a" / f"{name}.json") for name in ("train", "val"))
    assert [image["id"] for image in train["images"] + val["images"]] == ids
    images = tmp_path / "images"
    images.mkdir()
    for path in (coco_json.parent / "images").iterdir():
        (images / path.name).write_bytes(path.read_bytes())
    (images / "1.png").write_text("nothing")
    run(file, images, tmp_path / "b", "--threshold=0.01", "--held-out=0")
    names = [image["file_name"] for image in read(tmp_path / "b" / "train.json")["images"]]
    assert "1.png" not in names and len(names) == len(ids) - 1
    said = capsys.readouterr().out
    assert f"1 of {len(ids)} images cannot be read, and are left out" in said
    stop = "dataloader.test.mapper.on_broken=error"
    said = refused(capsys, file, images, tmp_path / "c", "--threshold=0.01", stop)
    assert said.startswith(f"error: {images / '1.png'}: cannot be read as an image (")


def test_the_last_images_are_those_of_the_highest_numbers(teacher, tmp_path):
    numbers = [10, 2, 1, 9, 11]
    for k in numbers:
        (tmp_path / "images").mkdir(exist_ok=True)
        Image.new("RGB", (64, 64), (240, 5 * k, 0)).save(tmp_path / "images" / f"frame{k}.png")
    sizes = {"height": 64, "width": 64}
    entries = [{"id": k, "file_name": f"frame{k}.png", **sizes} for k in numbers]
    (tmp_path / "images.json").write_text(json.dumps({"images": entries}))
    for source in ("images", "images.json"):
        output = tmp_path / f"labels of {source}"
        run(teacher[0], tmp_path / source, output, "--threshold=0.01", "--held-out=0.4")
        train, val = (read(output / f"{name}.json") for name in ("train", "val"))
        names = [[image["file_name"] for image in part["images"]] for part in (train, val)]
        assert names == [["frame1.png", "frame2.png", "frame9.png"], ["frame10.png", "frame11.png"]]


def test_of_broken_images_alone_there_are_no_labels(teacher, tmp_path, capsys):
    (tmp_path / "images").mkdir()
    for k in range(3):
        (tmp_path / "images" / f"{k}.png").write_text("nothing")
    said = refused(capsys, teacher[0], tmp_path / "images", tmp_path / "out")
    assert said == f"error: {tmp_path / 'images'}: none of its images can be read"


def test_a_val_json_of_an_earlier_run_does_not_stay_beside_a_train_json_of_all(
    teacher, camera, tmp_path, capsys
):
    file, _ = teacher
    run(file, camera, tmp_path, "--threshold=0.01")
    assert (tmp_path / "val.json").exists()
    run(file, camera, tmp_path, "--threshold=0.01", "--held-out=0")
    assert not (tmp_path / "val.json").exists()
    assert len(read(tmp_path / "train.json")["images"]) == 5
    assert f"{tmp_path / 'val.json'}: of an earlier run, removed" in capsys.readouterr().out
    (tmp_path / "val.json").write_text("{}")  # of the user
    run(file, camera, tmp_path, "--threshold=0.01", "--held-out=0")
    assert (tmp_path / "val.json").read_text() == "{}"
    assert "some of its images may be in train.json, too" in capsys.readouterr().out


def test_a_part_without_objects_does_not_cost_the_other_its_labels(
    teacher, camera, tmp_path, capsys
):
    file, model = teacher
    best = [max(scores) for _, scores, _ in by_hand(model, camera)]
    order = sorted(range(5), key=lambda k: -best[k])
    for folder, ranks in (("last", order), ("first", order[::-1])):
        (tmp_path / folder).mkdir()
        for k, name in enumerate(ranks):
            (tmp_path / folder / f"{k}.png").write_bytes((camera / f"{name}.png").read_bytes())
    for folder, empty in (("last", "val"), ("first", "train")):
        out = tmp_path / f"{folder}_labels"
        run(file, tmp_path / folder, out, f"--threshold={best[order[0]]}")
        objects = {
            name: [a for a in read(out / f"{name}.json")["annotations"] if not a["iscrowd"]]
            for name in ("train", "val")
        }
        assert not objects.pop(empty) and all(objects.values())
        said = capsys.readouterr().out
        assert f"{out / empty}.json: no detection on its images reaches --threshold" in said
        assert said.count("another --held-out than 0.2") == 1
        assert "ignored; \n" not in said and "0 objects, 0 ignored\n" in said
        assert "To train on them" not in said


def test_the_teacher_agrees_with_itself_alone(teacher, camera, tmp_path):
    file, model = teacher
    _, high = quantiles(by_hand(model, camera))
    run(file, camera, tmp_path, f"--threshold={high}", "--held-out=0")
    other = torch.load(file, weights_only=True)
    for tensor in other["model"].values():
        if tensor.is_floating_point():
            tensor += 0.02
    torch.save(other, tmp_path / "other.pth")
    agreement = []
    for weights in (file, tmp_path / "other.pth"):
        keys = [
            f"data.{split}_{key}"
            for split in ("train", "val")
            for key in (f"json={tmp_path}/train.json", f"images={camera}")
        ]
        keys += [f"dataloader.test.mapper.augmentations.0.short_edge_length={SIDE}"]
        keys += [f"train.output_dir={tmp_path}/run", "train.device=cpu"]
        keys += ["dataloader.train.num_workers=0", f"train.init_checkpoint={weights}"]
        train(["--eval-only", "--config-file", RECIPE, *keys])
        results = read(tmp_path / "run" / "evaluation.json")
        agreement.append(results["bbox"]["AP"])
    assert agreement[0] == pytest.approx(100) and agreement[1] < 50


def refused(capsys, *arguments):
    capsys.readouterr()
    with pytest.raises(SystemExit) as caught:
        run(*arguments)
    assert caught.value.code == 1
    lines = [line for line in capsys.readouterr().err.splitlines() if line.strip()]
    assert len(lines) == 1, lines
    return lines[0]


def test_mistakes_are_named_in_one_line(teacher, camera, coco_json, tmp_path, capsys):
    file, _ = teacher
    out = tmp_path / "out"
    for options, words in (
        (["--threshold=1.5"], "--threshold 1.5"),
        (["--ignore-from=0.9"], "--ignore-from 0.9"),
        (["--held-out=1"], "--held-out 1"),
        (["--held-out=0.05"], "5 images give no two parts"),
        (["--threshold=0.99"], "no object on its 5 images, of which the highest score is 0."),
    ):
        assert words in refused(capsys, file, camera, out, *options)
    (tmp_path / "empty").mkdir()
    assert "has no images" in refused(capsys, file, tmp_path / "empty", out)
    said = refused(capsys, file, tmp_path / "nope", out)
    assert said == (
        f"error: {tmp_path / 'nope'}: no such folder or file; give a folder of images, or a COCO "
        "json file"
    )
    (tmp_path / "file").touch()
    said = refused(capsys, tmp_path / "nowhere.pth", camera, tmp_path / "file" / "out")
    assert f"{tmp_path / 'file' / 'out'} cannot be written to (" in said
    assert "nowhere" in refused(capsys, tmp_path / "nowhere.pth", camera, out)
    torch.save({"model": torch.load(file, weights_only=True)["model"]}, tmp_path / "bare.pth")
    assert "--config-file RECIPE" in refused(capsys, tmp_path / "bare.pth", camera, out)
    assert not out.exists()
    out.mkdir()
    (out / "val.json").write_text("{}")  # of the user
    message = refused(capsys, file, camera, out, "--threshold=0.01")
    assert str(out / "val.json") in message and (out / "val.json").read_text() == "{}"
