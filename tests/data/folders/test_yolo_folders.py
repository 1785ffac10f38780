import json
import os

from lowres_d2.data.folders import count_own_classes, own_dataset, recognise
from lowres_d2.data.folders.yolo import YoloDataset, YoloRows
from lowres_d2.data.folders.yolo.images import label_file

import pytest
from PIL import Image


def boxes(record):
    return [(a["category_id"], a["bbox"]) for a in record["annotations"]]


def test_rows_are_boxes_in_pixels_of_their_image(folder):
    folder.yolo()
    data = own_dataset(folder.root)
    assert data.classes == ["cat", "dog"] and data.category_ids == [0, 1]
    assert (data.num_objects, data.num_crowds) == (2, 0)
    first, second = data
    assert first["file_name"] == str(folder.root / "images/train/a.png")
    assert (first["height"], first["width"], first["image_id"]) == (40, 80, 1)
    assert boxes(first) == [(1, [30, 10, 20, 20]), (0, [0, 0, 40, 20])]
    assert boxes(second) == []  # no label file: no objects
    (val,) = own_dataset(folder.root, evaluated=True)
    assert boxes(val) == [(0, pytest.approx([36, 18, 8, 4]))]
    assert count_own_classes(folder.root) == 2
    ids = {entry["category_id"] for entry in data.coco_dict()["annotations"]}
    assert ids == {0, 1}  # the numbers of the label files


def test_chosen_classes_have_their_own_order(folder):
    folder.yolo()
    data = own_dataset(folder.root, classes=["dog"])
    assert boxes(data[0]) == [(0, [30, 10, 20, 20])] and data.category_ids == [1]
    assert count_own_classes(folder.root, classes=["dog", "cat"]) == 2
    with pytest.raises(ValueError, match="has no class 'dgo'; did you mean 'dog'"):
        own_dataset(folder.root, classes=["dgo"])


YAMLS = {
    "a path and names by number": "path: {root}\ntrain: images/train\nnames: {{1: dog, 0: cat}}",
    "a list of folders": "train: [images/train, images/val]\nnames: [cat, dog]",
    "Roboflow's": "train: ../images/train\nnc: 2\nnames: ['cat', 'dog']",
    "a list of images": "train: list.txt\nnames: [cat, dog]",
    "a path that is moved": "path: /nowhere/else\ntrain: ./images/train\nnames: [cat, dog]",
    "Windows'": "path: .\\\\here\ntrain: ..\\images\\train\nnc: '2'\nnames: {{'1': dog, '0': cat}}",
}


@pytest.mark.parametrize("text", YAMLS.values(), ids=YAMLS)
def test_places_of_the_images(folder, text):
    folder.yolo(text.format(root=folder.root))
    folder.text("list.txt", f"./images/train/b.png\n\n{folder.root}/images/train/a.png\n")
    data = own_dataset(folder.root / "data.yaml")
    names = [os.path.basename(record["file_name"]) for record in data]
    assert names[:2] == (["b.png", "a.png"] if "list.txt" in text else ["a.png", "b.png"])
    assert len(names) == (3 if "[images" in text else 2)
    assert data.num_objects == len(names)


def test_lists_may_have_the_separators_of_windows(folder):
    folder.yolo("train: list.txt\nnames: [cat, dog]")
    folder.text("list.txt", ".\\images\\train\\a.png\r\nimages/train/b.png\r\n")
    data = own_dataset(folder.root)
    assert [os.path.basename(record["file_name"]) for record in data] == ["a.png", "b.png"]
    # Where there is a file of this very name, it is the one.
    folder.image("images\\train\\c.png")
    folder.image("images/train/c.png")
    folder.text("list.txt", "images\\train\\c.png\n")
    (record,) = own_dataset(folder.root)
    assert record["file_name"] == str(folder.root / "images\\train\\c.png")


def test_classes_are_called_as_it_is_written(folder):
    """YAML's own reading would be True, False, 8, None and 1.0."""
    folder.yolo("train: images/train\nnames: [yes, no, 010, null, 1.00]")
    assert own_dataset(folder.root).classes == ["yes", "no", "010", "null", "1.00"]


def test_a_label_file_is_in_the_last_folder_of_images(tmp_path):
    root = tmp_path / "images" / "set"
    for image, labels in (
        ("images/train/a.b.jpg", "labels/train/a.b.txt"),
        ("images/images/a.jpg", "images/labels/a.txt"),
        ("train/a.jpg", "train/a.txt"),  # not the folder above the data set
        ("Images/a.jpg", "Labels/a.txt"),
    ):
        assert label_file(str(root / image), root) == str(root / labels)


def read(folder, row, names=("cat", "dog"), keypoints=0):
    invalid = []
    path = folder.text("labels.txt", f"\n{row}\n")
    return YoloRows(names, keypoints).read(str(path), invalid), invalid


def test_polygons_and_poses_have_the_box_around_them(folder):
    row = "1 0.2 0.3 0.6 0.3 0.4 0.7"
    (found,), invalid = read(folder, row)
    assert found == pytest.approx((1, 0.4, 0.5, 0.4, 0.4)) and not invalid
    (turned,), _ = read(folder, "0 0.5 0.1 0.9 0.5 0.5 0.9 0.1 0.5")
    assert turned == pytest.approx((0, 0.5, 0.5, 0.8, 0.8))
    (pose,), _ = read(folder, "0 0.5 0.5 0.2 0.2 0.45 0.41 7 -1", keypoints=4)
    assert pose == (0, 0.5, 0.5, 0.2, 0.2)


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ("2 0.5 0.5 0.1 0.1", "class 2 is none of the 2 classes, 0 to 1"),
        ("-1 0.5 0.5 0.1 0.1", "class -1 is none"),
        ("nan 0.5 0.5 0.1 0.1", "class nan is none"),
        ("0.5 0.5 0.5 0.1 0.1", "class 0.5 is none"),
        ("cat 0.5 0.5 0.1 0.1", "'cat 0.5 0.5 0.1 0.1' is not a class and x, y"),
        ("0 0.5 0.5 0.1", "has 4 numbers, not a class and x"),
        ("0 0.5 0.5 0.1 0.1 0.9", "has 6 numbers"),  # of a detection, with a score
        ("0 0.1 0.2 0.3 0.4 0.5 0.6 0.7", "has 8 numbers"),
    ],
)
def test_rows_that_are_none_are_named_by_file_and_line(folder, row, fault):
    with pytest.raises(ValueError, match=f"labels.txt: line 2: .*{fault}"):
        read(folder, row)


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ("0 -0.2 0.5 0.1 0.1", "-0.2 is no fraction of the image"),
        ("0 0.5 0.5 120 60", "120 is no fraction"),
        ("0 0.5 nan 0.1 0.1", "nan is not finite"),
        ("0 0.5 0.5 inf 0.1", "inf is not finite"),
        ("0 0.5 0.5 0 0.1", "the box has no area"),
        ("0 1.005 0.5 0.001 0.1", "the box lies outside the image"),
        ("0 0.2 0.3 0.6 0.3 0.4 1.7", "1.7 is no fraction"),
    ],
)
def test_invalid_boxes_are_an_error_or_skipped(folder, row, fault, caplog):
    found, (invalid,) = read(folder, row)
    assert not found and fault in invalid and "labels.txt: line 2: " in invalid
    folder.yolo()
    folder.text("labels/train/b.txt", f"{row}\n1 0.5 0.5 0.5 0.5\n")
    with pytest.raises(ValueError, match=r"b.txt: line 1: .*data.invalid_boxes=skip"):
        own_dataset(folder.root)
    data = own_dataset(folder.root, invalid_boxes="skip")
    assert boxes(data[1]) == [(1, [20, 10, 40, 20])]
    assert "1 invalid boxes skipped, such as" in caplog.text


def test_rounded_fractions_are_clipped_and_evaluated_as_they_are(folder):
    folder.yolo()
    folder.text("labels/train/b.txt", "0 0.95 0.5 0.105 0.5\n")
    entry = own_dataset(folder.root)[1]["annotations"][0]
    assert entry["bbox"] == pytest.approx([71.8, 10, 8.2, 20])
    assert entry["unclipped_bbox"] == pytest.approx([71.8, 10, 8.4, 20])


@pytest.mark.parametrize(
    ("row", "form"),
    [("0 0.3 0.3 0.9 0.9", "corners"), ("0 0.5 0.1 0.4 0.3", "the upper left corner")],
)
def test_rows_of_another_form_are_recognised_by_all_of_them(folder, row, form):
    folder.yolo()
    folder.text("labels/train/a.txt", f"{row}\n" * 30)
    with pytest.raises(ValueError, match=f"30 of 30 boxes reach beyond .* look like {form}"):
        own_dataset(folder.root)
    folder.text("labels/train/a.txt", f"{row}\n0 0.9 0.9 0.15 0.15\n" * 30)
    assert own_dataset(folder.root).num_objects == 60  # some fit no other form


def damage_names(folder):
    folder.text("data.yaml", "train: images/train\nnc: 3\nnames: [cat, dog]")


def damage_numbers(folder):
    folder.text("data.yaml", "train: images/train\nnames: {0: cat, 2: dog}")


def a_number_twice(folder):
    folder.text("data.yaml", "train: images/train\nnames: {0: cat, 1: dog, 1: cow}")


def names_in_lists(folder):
    folder.text("data.yaml", "train: images/train\nnames: [[cat], dog]")


def damage_yaml(folder):
    folder.text("data.yaml", "train:\timages/train\n\tnames: [cat, dog]")


def labels_in_capitals(folder):
    labels = folder.root / "labels/train/a.txt"
    labels.rename(labels.with_suffix(".TXT"))


def no_names(folder):
    folder.text("data.yaml", "train: images/train\nnc: 2")


def no_train(folder):
    folder.text("data.yaml", "train: images/trian\nval: images/val\nnames: [a, b]")


def lost_image(folder):
    (folder.root / "images/train/a.png").unlink()


def lost_in_list(folder):
    folder.text("data.yaml", "train: list.txt\nnames: [cat, dog]")
    folder.text("list.txt", "images/train/b.png\nimages/train/x.png\n")


def two_of_a_stem(folder):
    folder.image("images/train/a.bmp")


def broken_image(folder):
    folder.text("images/train/b.png", "no image")


def binary_labels(folder):
    folder.text("labels/train/b.txt", "\0\1")


def a_folder_of_labels(folder):
    (folder.root / "labels/train/b.txt").mkdir()


def no_images(folder):
    folder.text("data.yaml", "train: labels/train\nnames: [cat, dog]")


def two_places(folder):
    folder.text("data.yaml", "path: other\ntrain: images/train\nnames: [cat, dog]")
    folder.image("other/images/train/z.png")


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        (damage_names, r"data.yaml: nc is 3, but names has 2 classes"),
        (damage_numbers, r"names are those of classes 0, 2; expected 0 to 1, each once"),
        (a_number_twice, r"names are those of classes 0, 1, 1; expected 0 to 2, each once"),
        (names_in_lists, r"data.yaml: has no names of classes"),
        (damage_yaml, r"data.yaml: is not YAML \(while scanning"),
        (labels_in_capitals, r"a.TXT: label files have to end with .txt: rename them"),
        (no_names, r"data.yaml: has no names of classes"),
        (no_train, r"train: no such folder or file of images: images/trian \(.*/my_d.*write there"),
        (lost_image, r"1 label files have no image in .*images/train: a.txt"),
        (lost_in_list, r"list.txt: line 2: no such image 'images/train/x.png' .*: write where it"),
        (two_of_a_stem, r"a.txt: is the label file of two images"),
        (broken_image, r"b.png: is not an image that can be read"),
        (binary_labels, r"b.txt: is not text"),
        (a_folder_of_labels, r"b.txt"),
        (no_images, r"has no images in labels/train"),
        (two_places, r"train: images/train could be any of"),
    ],
)
def test_what_is_broken_is_named(folder, damage, fault):
    folder.yolo()
    damage(folder)
    with pytest.raises((ValueError, OSError), match=fault):
        own_dataset(folder.root)


def test_sizes_are_kept_in_a_file_of_ours(folder, tmp_path, monkeypatch):
    folder.yolo()
    before = sorted(folder.root.rglob("*"))
    cache = tmp_path / "sizes"
    first = [*own_dataset(folder.root, cache=cache)]
    own_dataset(folder.root, evaluated=True, cache=cache)
    assert sorted(folder.root.rglob("*")) == before
    (kept,) = cache.iterdir()
    assert len(json.loads(kept.read_text())["images"]) == 3
    opened = []
    monkeypatch.setattr(Image, "open", lambda *_: opened.append(1))
    assert [*own_dataset(folder.root, cache=cache)] == first and not opened
    monkeypatch.undo()
    Image.new("L", (20, 30)).save(folder.root / "images/train/a.png")  # changed: read again
    assert own_dataset(folder.root, cache=cache)[0]["height"] == 30
    kept.write_text('{"version": 1, "images": {"a": 7}}')
    assert own_dataset(folder.root, cache=cache)[0]["height"] == 30
    # Where nothing can be written, sizes are read every time.
    blocked = folder.text("a file", "")
    assert len(own_dataset(folder.root, cache=blocked)) == 2


def test_rotated_images_have_the_size_that_is_shown(folder, caplog):
    folder.yolo()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("L", (80, 40)).save(folder.root / "images/val/d.jpg", exif=exif)
    folder.text("labels/val/d.txt", "0 0.5 0.5 1 0.5\n")
    rotated = own_dataset(folder.root, evaluated=True)[1]
    assert (rotated["height"], rotated["width"]) == (80, 40)
    assert boxes(rotated) == [(0, [0, 20, 40, 40])]
    assert "EXIF rotates 1 images" in caplog.text


def test_labels_without_a_yaml_take_their_classes_from_a_list(folder):
    folder.image("a.png", "b.png")
    folder.text("b.txt", "1 0.5 0.5 0.5 0.5\n")
    with pytest.raises(ValueError, match="nothing names their classes"):
        recognise(folder.root)
    folder.text("classes.txt", "cat\ndog\n")
    data = recognise(folder.root)
    assert (data.form, data.splits) == ("YOLO", {"all": [folder.root]})
    train = own_dataset(folder.root, held_out=0.5)
    test = own_dataset(folder.root, held_out=0.5, evaluated=True)
    assert [train.num_objects, test.num_objects] == [0, 1]
    assert test[0]["image_id"] == 2


def test_most_label_files_may_be_empty(folder):
    for k in range(60):
        folder.text(f"labels/{k:02}.txt", "" if k != 30 else "1 0.5 0.5 0.5 0.5\n")
        folder.image(f"images/{k:02}.png")
    folder.text("classes.txt", "cat\ndog\n\n")
    assert own_dataset(folder.root, "all").num_objects == 1


def test_a_line_without_a_name_is_no_class(folder):
    folder.image("a.png")
    folder.text("a.txt", "1 0.5 0.5 0.5 0.5\n")
    folder.text("classes.txt", "cat\n\ndog\n")
    with pytest.raises(ValueError, match=r"classes.txt: expected a class's name in each line"):
        recognise(folder.root)


def test_images_beside_those_of_the_splits_are_said(folder):
    folder.yolo()
    (folder.root / "data.yaml").rename(folder.root / "classes.txt")
    folder.text("classes.txt", "cat\ndog\n")
    folder.image("images/d.png", "images/e.png")
    assert recognise(folder.root).described() == ("splits train, val; not used: 2 images in images")


def test_a_data_set_of_images_alone_is_a_plain_one(folder, caplog):
    folder.image("images/a.png")
    data = YoloDataset([folder.root / "images"], ["cat"], folder.root)
    assert (len(data), data.num_objects, data.classes) == (1, 0, ["cat"])
    warned = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert warned == [
        f"{folder.root}: none of the 1 images has labels: those of {folder.root}/images/a.png "
        f"would be in {folder.root}/labels/a.txt"
    ]
