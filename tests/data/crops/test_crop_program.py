"""Crops of any data set: which pixels, which objects, in which files; and the program."""

import json

from lowres_d2.data.crops import PRESETS, CropRules, Outline, objects_on_crop
from lowres_d2.data.datasets import CocoDataset
from lowres_d2.data.datasets.pseudo_labels import PseudoLabels
from lowres_d2.programs.crop import main
from lowres_d2.structures import Window

import numpy as np
import pytest
from PIL import Image

SMALL = ["--size", "60", "80", "--overlap", "20", "--workers", "0"]


def test_presets_are_those_of_the_paper_and_of_the_data_set():
    sizes = {name: (rules.size, rules.overlap) for name, rules in PRESETS.items()}
    assert sizes["bottom-heavy"] == ([512, 640], [30, 30])
    assert sizes["tinyperson"] == ([512, 640], [50, 50])
    assert sizes["dota"] == ([1024, 1024], [200, 200])


def test_an_object_is_what_is_on_the_crop_of_it():
    def on(x, y, w, h, **more):
        outline = Outline(1, ((x, y), (x + w, y), (x + w, y + h), (x, y + h)), **more)
        found = objects_on_crop([outline], Window(100, 50, 180, 110), 0.5)
        return [(row.bbox, row.ignored) for row in found]

    assert on(110, 60, 10, 10) == [([10, 10, 10, 10], False)]
    assert on(176, 60, 8, 10) == [([76, 10, 4, 10], False)]  # one half is inside
    assert on(177, 60, 8, 10) == [([77, 10, 3, 10], True)]
    assert on(110, 60, 10, 10, ignored=True) == [([10, 10, 10, 10], True)]
    assert on(180, 60, 8, 10) == [] and on(110, 45, 9, 5) == []


def test_corners_of_one_line_are_an_object_too():
    """Its box has an area, and the crop's border cuts it as that of any other."""

    def on(*corners):
        found = objects_on_crop([Outline(1, corners)], Window(100, 50, 180, 110), 0.5)
        return [(pytest.approx(row.bbox), row.ignored) for row in found]

    assert on((110, 60), (120, 80)) == [([10, 10, 10, 20], False)]  # not cut
    assert on((170, 60), (186, 68)) == [([70, 10, 10, 5], False)]  # 10 of 16 columns are inside
    assert on((174, 60), (182, 64), (190, 68)) == [([74, 10, 6, 3], True)]
    assert on((90, 40), (130, 80), (110, 60), (90, 40)) == [([0, 0, 30, 30], False)]
    far = [(x + 0.3, 30_000.7 - x) for x in (29_900, 29_940, 29_920)]
    (row,) = objects_on_crop([Outline(1, tuple(far))], Window(29_910, 0, 30_000, 200), 0.5)
    assert row.bbox == pytest.approx([0, 60.7, 30.3, 30.3], abs=0.01) and not row.ignored
    assert on((170, 40), (190, 60)) == []  # it passes the crop's corner by


@pytest.fixture
def data(tmp_path):
    """Two images in folders of their own, one with an ignore region, one smaller than a crop."""
    random = np.random.default_rng(0)
    for name, size in (("a/1", (90, 120)), ("b/1", (40, 50))):
        path = tmp_path / f"images/{name}.png"
        path.parent.mkdir(parents=True)
        Image.fromarray(random.integers(0, 256, (*size, 3), dtype=np.uint8)).save(path)
    images = [
        {"id": 7, "file_name": "a/1.png", "height": 90, "width": 120},
        {"id": 9, "file_name": "b/1.png", "height": 40, "width": 50},
    ]
    rows = [
        (7, 5, [10, 10, 8, 8], 0),  # on the first crop alone
        (7, 4, [50, 40, 10, 12], 0),  # whole on all four
        (7, 5, [74, 0, 10, 10], 0),  # 6 of 10 pixels on the left, whole on the right
        (7, 4, [90, 60, 40, 40], 1),  # reaches beyond the image
        (9, 5, [1, 2, 3, 4], 0),
    ]
    annotations = [
        {"id": k, "image_id": i, "category_id": c, "bbox": b, "iscrowd": crowd}
        for k, (i, c, b, crowd) in enumerate(rows, start=1)
    ]
    categories = [{"id": 4, "name": "boat"}, {"id": 5, "name": "person"}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (tmp_path / "all.json").write_text(json.dumps(content))
    return tmp_path


def test_the_program_cuts_images_and_objects(data, capsys):
    output = data / "crops"
    main(["--annotations", str(data / "all.json"), "--output", str(output), *SMALL])
    said = capsys.readouterr().out
    assert "5 crops (80x60, overlap 20) of 2 images, 7 objects on 5 of them, 2 ignore" in said
    dataset = CocoDataset(output / "annotations.json")
    assert dataset.classes == ["boat", "person"] and dataset.category_ids == [4, 5]
    names = ["a_1__1__0___0", "a_1__1__40___0", "a_1__1__0___30", "a_1__1__40___30"]
    names.append("b_1__1__0___0")
    assert [record["file_name"] for record in dataset] == [
        str(output / f"images/{name}.png") for name in names
    ]
    whole = np.asarray(Image.open(data / "images/a/1.png"))
    for record, (y, x) in zip(dataset, ((0, 0), (0, 40), (30, 0), (30, 40)), strict=False):
        pixels = np.asarray(Image.open(record["file_name"]))
        assert np.array_equal(pixels, whole[y : y + 60, x : x + 80])
    found = [
        [(a["category_id"], *a["bbox"], a["iscrowd"]) for a in record["annotations"]]
        for record in dataset
    ]
    assert found == [
        [(1, 10, 10, 8, 8, 0), (0, 50, 40, 10, 12, 0), (1, 74, 0, 6, 10, 1)],
        [(0, 10, 40, 10, 12, 0), (1, 34, 0, 10, 10, 0)],
        [(0, 50, 10, 10, 12, 0)],
        [(0, 10, 10, 10, 12, 0), (0, 50, 30, 30, 30, 1)],
        [(1, 1, 2, 3, 4, 0)],
    ]


def test_crops_are_made_once_and_anew_for_other_rules(data, capsys):
    arguments = ["--annotations", str(data / "all.json"), "--output", str(data / "crops"), *SMALL]
    main(arguments)
    stamp = (data / "crops/generated.json").stat().st_mtime_ns
    main(arguments)
    assert (data / "crops/generated.json").stat().st_mtime_ns == stamp
    main([*arguments, "--least-inside", "0.6"])
    assert "8 objects on 5 of them, 1 ignore" in capsys.readouterr().out.splitlines()[-1]


def test_a_recipes_data_set_is_cut(data, capsys):
    recipe = ["--config-file", "configs/own_data/full_fcos_small_own.py", *SMALL]
    overrides = [f"data.train_json={data / 'all.json'}", "data.classes=[person]"]
    main([*recipe, "--output", str(data / "crops"), *overrides])
    assert "5 crops (80x60, overlap 20) of 2 images" in capsys.readouterr().out
    assert CocoDataset(data / "crops/annotations.json").classes == ["person"]


def test_arrays_and_deep_images_keep_their_values(data):
    content = json.loads((data / "all.json").read_text())
    values = np.random.default_rng(1).integers(0, 4096, (90, 120, 5), dtype=np.uint16)
    np.save(data / "images/a/1.npy", values)
    deep = values[:40, :50, 0] * 9
    Image.fromarray(deep).save(data / "images/b/1.png")
    content["images"][0]["file_name"] = "a/1.npy"
    (data / "all.json").write_text(json.dumps(content))
    main(["--annotations", str(data / "all.json"), "--output", str(data / "crops"), *SMALL])
    crop = np.load(data / "crops/images/a_1__1__40___30.npy")
    assert crop.dtype == np.uint16 and np.array_equal(crop, values[30:, 40:])
    assert np.array_equal(np.asarray(Image.open(data / "crops/images/b_1__1__0___0.png")), deep)


def rotated(path, orientation):
    image = Image.open(path)
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(path, exif=exif)


def test_boxes_tell_whether_they_follow_a_rotation(data):
    path, arguments = data / "images/a/1.png", ["--annotations", str(data / "all.json"), *SMALL]
    stored = np.asarray(Image.open(path))
    rotated(path, 6)
    main([*arguments, "--output", str(data / "as_stored")])
    crop = Image.open(data / "as_stored/images/a_1__1__0___0.png")
    assert np.array_equal(np.asarray(crop), stored[:60, :80])
    content = json.loads((data / "all.json").read_text())
    content["images"][0] |= {"height": 120, "width": 90}
    content["annotations"][3]["bbox"] = [50, 60, 40, 40]
    (data / "all.json").write_text(json.dumps(content))
    main([*arguments, "--output", str(data / "turned")])
    crop = Image.open(data / "turned/images/a_1__1__0___0.png")
    assert np.array_equal(np.asarray(crop), np.rot90(stored, -1)[:60, :80])
    assert 0x0112 not in crop.getexif()


def test_mistakes_are_one_line(data, capsys):
    def said(*arguments):
        with pytest.raises(SystemExit):
            main([*arguments, "--output", str(data / "crops"), *SMALL])
        return capsys.readouterr().err.strip().splitlines()[-1]

    file = ["--annotations", str(data / "all.json")]
    assert said() == "error: give the data set: --annotations FILE, or --config-file RECIPE"
    assert "--images goes with" in said("--config-file", "x", "--images", "y")
    rotated(data / "images/b/1.png", 3)
    assert "its size does not tell whether its boxes follow" in said(*file)
    content = json.loads((data / "all.json").read_text())
    content["images"][1]["height"] = 41
    (data / "all.json").write_text(json.dumps(content))
    rotated(data / "images/b/1.png", 1)
    line = said(*file)
    assert line.startswith(f"error: {data / 'images/b/1.png'}: cannot be cut into tiles")
    assert "it is 50x40, but its annotations are for 50x41" in line
    assert not (data / "crops").exists()


@pytest.mark.parametrize("wrong", [{"size": 30}, {"overlap": 640}, {"least_inside": 0}])
def test_rules_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValueError, match="expected"):
        CropRules(**wrong)


def test_crops_of_pseudo_labels_are_no_ground_truth_either(data, capsys):
    file, output = data / "all.json", data / "crops"
    arguments = ["--annotations", str(file), "--output", str(output), *SMALL]
    main(arguments)
    assert CocoDataset(output / "annotations.json").labelled_by == ""
    info = PseudoLabels("teacher.pth", 0.4).coco([], [], {})["info"]
    file.write_text(json.dumps(json.loads(file.read_text()) | {"info": info}))
    main(arguments)  # anew, although the boxes are the same
    assert json.loads((output / "annotations.json").read_text())["info"] == info
    labelled_by = CocoDataset(output / "annotations.json").labelled_by
    assert labelled_by == "detections of teacher.pth with scores from 0.4"
