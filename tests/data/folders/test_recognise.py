import re
from pathlib import Path

from lowres_d2.data.folders import count_own_classes, own_dataset, recognise
from lowres_d2.data.folders.layout import split_of

import pytest


def coco(folder):
    folder.image("images/a.png", "images/b.png")
    folder.coco("annotations/instances_train2017.json", "a.png")
    folder.coco("annotations/instances_val2017.json", "b.png")
    folder.coco("annotations/person_keypoints_val2017.json", "b.png")


def roboflow(folder):
    for split in ("train", "valid", "test"):
        folder.image(f"{split}/{split}.png")
        folder.coco(f"{split}/_annotations.coco.json", f"{split}.png")


def roboflow_yolo(folder):
    folder.text("data.yaml", "train: ../train/images\nval: ../valid/images\nnames: ['cat']")
    for split in ("train", "valid"):
        folder.image(f"{split}/images/a.png")
        folder.text(f"{split}/labels/a.txt", "0 0.5 0.5 0.5 0.5")


def split_folders(folder):
    folder.text("classes.txt", "cat\n")
    for split in ("train", "val"):
        folder.image(f"images/{split}/a.png")
        folder.text(f"labels/{split}/a.txt", "0 0.5 0.5 0.5 0.5")


def devkit(folder):
    for name in ("a", "b"):
        folder.image(f"VOC2007/JPEGImages/{name}.jpg")
        folder.xml(f"VOC2007/Annotations/{name}.xml", ("cat", 1, 1, 10, 20))
    folder.text("VOC2007/ImageSets/Main/trainval.txt", "a\n")
    folder.text("VOC2007/ImageSets/Main/test.txt", "b\n")
    folder.text("VOC2007/ImageSets/Main/cat_train.txt", "a 1\n")


def xml_beside_images(folder):
    for split in ("train", "test"):
        folder.image(f"{split}/a.png")
        folder.xml(f"{split}/a.xml", ("cat", 1, 1, 10, 20))


LAYOUTS = {
    coco: ("COCO", ["train", "val"]),
    roboflow: ("COCO", ["train", "val", "test"]),
    roboflow_yolo: ("YOLO", ["train", "val"]),
    split_folders: ("YOLO", ["train", "val"]),
    devkit: ("VOC", ["test", "trainval"]),
    xml_beside_images: ("VOC", ["train", "test"]),
}


@pytest.mark.parametrize("write", LAYOUTS, ids=lambda write: write.__name__)
def test_a_layout_is_recognised_and_read(folder, write, caplog):
    write(folder)
    caplog.set_level("INFO")
    data = recognise(folder.root)
    assert (data.form, list(data.splits)) == LAYOUTS[write]
    train, test = (own_dataset(folder.root, evaluated=which) for which in (False, True))
    for part in (train, test):
        assert (len(part), part.num_objects, part.classes) == (1, 1, ["cat"])
    assert count_own_classes(folder.root) == 1
    said = [line for line in caplog.messages if "objects, 1 classes; splits " in line]
    assert len(said) == 2 and all(line.startswith(f"{folder.root}: {data.form} (") for line in said)


def test_voc_has_the_classes_of_its_objects_and_pixels_from_1(folder):
    folder.image("images/a.png", "images/b.png")
    folder.xml("annotations/a.xml", ("dog", 1, 1, 10, 20), ("cat", 11, 21, 20, 40))
    folder.xml("annotations/b.xml")
    data = own_dataset(folder.root, held_out=0.5)
    assert data.classes == ["cat", "dog"]
    assert [(a["category_id"], a["bbox"]) for a in data[0]["annotations"]] == [
        (1, [0, 0, 10, 20]),
        (0, [10, 20, 10, 20]),
    ]
    chosen = own_dataset(folder.root, held_out=0.5, classes=["cat"])
    assert [(a["id"], a["category_id"]) for a in chosen[0]["annotations"]] == [(2, 0)]
    folder.xml("annotations/b.xml", ("dog", 1, 1, 90, 20), ("dog", 1, 1, 1, 0))
    with pytest.raises(ValueError, match=r"b.xml: object 2 \(dog\).*no area"):
        own_dataset(folder.root, held_out=0.5)
    test = own_dataset(folder.root, held_out=0.5, evaluated=True, invalid_boxes="skip")
    (entry,) = test[0]["annotations"]
    assert (entry["bbox"], entry["unclipped_bbox"]) == ([0, 0, 80, 20], [0, 0, 90, 20])
    (folder.root / "images/a.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"1 of 2 images are not in .*complete the folder"):
        own_dataset(folder.root, held_out=0.5)


def test_the_part_held_out_has_the_highest_numbers(folder):
    folder.image(*(f"images/f{k}.png" for k in (2, 9, 10, 11)))
    for k in (2, 9, 10, 11):
        folder.xml(f"annotations/f{k}.xml", ("cat", 1, 1, 10, 20))
    train, test = (own_dataset(folder.root, held_out=0.5, evaluated=e) for e in (False, True))
    names = [[Path(record["file_name"]).stem for record in part] for part in (train, test)]
    assert names == [["f2", "f9"], ["f10", "f11"]]


def test_class_folders_name_their_recipe(folder):
    folder.image("train/cat/a.png", "train/dog/b.png", "val/cat/c.png")
    words = rf"class folders.*full_resnet18_32_own\.py takes them, data\.path={folder.root}$"
    with pytest.raises(FileNotFoundError, match=words):
        recognise(folder.root)


def test_several_data_sets_are_an_error_that_lists_them(folder):
    coco(folder)
    folder.yolo()
    words = (
        r"several data sets: COCO \(annotations/instances_train2017.json, .*\); YOLO \(data.yaml\)"
    )
    with pytest.raises(ValueError, match=f"{words}; say which with data.format=coco or yolo"):
        recognise(folder.root)
    assert recognise(folder.root, "yolo").form == "YOLO"
    assert recognise(folder.root, "coco").form == "COCO"
    assert recognise(folder.root / "data.yaml").form == "YOLO"
    with pytest.raises(ValueError, match=r"data.format='ocoo': expected coco, yolo, voc"):
        recognise(folder.root, "ocoo")


def two_trains(folder):
    coco(folder)
    folder.coco("train.json", "images/a.png")
    return r"COCO: 2 candidates for the split 'train': train.json, annotations/instances_train2017"


def nameless(folder):
    for name in ("a", "b"):
        folder.coco(f"annotations/{name}.json", "a.png")
    return r"several COCO files, whose names do not tell .*annotations/a.json, annotations/b.json"


def two_yamls(folder):
    folder.yolo()
    folder.text("other.yaml", "train: images/val\nnames: [cat]")
    return r"YOLO: 2 files describe a data set: data.yaml, other.yaml; .*data.path=.*/data.yaml"


def two_folders(folder):
    roboflow(folder)
    folder.coco("val/_annotations.coco.json", "a.png")
    return r"2 candidates for the split 'val': val/_annotations.coco.json, valid/_annot"


def two_years(folder):
    devkit(folder)
    folder.xml("VOC2012/Annotations/b.xml")
    return r"VOC: 2 candidates: VOC2007, VOC2012; give one of them, data.path="


def two_classes_files(folder):
    split_folders(folder)
    folder.text("labels/classes.txt", "dog\n")
    return r"classes.txt, .*labels/classes.txt name different classes"


@pytest.mark.parametrize(
    "write",
    [two_trains, nameless, two_yamls, two_folders, two_years, two_classes_files],
    ids=lambda write: write.__name__,
)
def test_what_is_ambiguous_is_listed(folder, write):
    fault = write(folder)
    with pytest.raises(ValueError, match=fault):
        recognise(folder.root)


def test_a_folder_without_a_data_set_says_what_was_looked_for(folder):
    folder.text("notes.md", "")
    folder.text("labelme.json", '{"shapes": [], "imagePath": "a.png"}')
    words = (
        r"no data set was recognised \(looked for COCO: annotations/\*.json.*YOLO: data.yaml.*VOC: "
        r".*\); it has labelme.json, notes.md; lowres-d2 convert-data reads other formats"
    )
    with pytest.raises(FileNotFoundError, match=words):
        recognise(folder.root)
    roboflow(type(folder)(folder.root / "inner"))
    with pytest.raises(FileNotFoundError, match=r"it has inner/, .*; .*/my_data/inner has one"):
        recognise(folder.root)
    with pytest.raises(FileNotFoundError, match="nowhere: no such folder"):
        recognise(folder.root / "nowhere")
    with pytest.raises(ValueError, match=r"notes.md: is a file: give the folder"):
        recognise(folder.root / "notes.md")


def test_notes_of_label_studio_are_no_coco_file(folder):
    folder.image("images/a.png")
    folder.text("labels/a.txt", "0 0.5 0.5 0.5 0.5\n")
    folder.text("classes.txt", "cat\n")
    folder.text("notes.json", '{"categories": [{"id": 0, "name": "cat"}], "info": {"year": 2026}}')
    assert recognise(folder.root).form == "YOLO"
    # Many categories may stand before the images of a COCO file.
    folder.text("notes.json", '{"categories": ["%s"], "images": []}' % ("x" * 70_000))
    with pytest.raises(ValueError, match=r"several data sets: COCO \(notes.json\); YOLO"):
        recognise(folder.root)


def test_separators_of_windows_in_coco_files_are_named(folder):
    folder.image("sub/a.png")
    folder.coco("a.json", "sub\\a.png")
    with pytest.raises(FileNotFoundError, match=r"not found; write / in place of their \\ \(look"):
        own_dataset(folder.root, "all")


def test_splits_are_chosen_by_name_or_held_out(folder):
    roboflow(folder)
    assert own_dataset(folder.root, "test", evaluated=True)[0]["file_name"].endswith("test.png")
    with pytest.raises(ValueError, match="no split 'dev'; it has train, val, test"):
        own_dataset(folder.root, "dev", evaluated=True)
    with pytest.raises(ValueError, match=r"has train, val, test; data.held_out is for a folder"):
        own_dataset(folder.root, held_out=0.2)
    for split in ("valid", "test"):
        (folder.root / split / "_annotations.coco.json").unlink()
    with pytest.raises(ValueError, match=r"no split to evaluate; it has train: data.held_out=0.2"):
        own_dataset(folder.root, evaluated=True)
    with pytest.raises(ValueError, match="1 images give no two parts"):
        own_dataset(folder.root, held_out=0.2)
    with pytest.raises(ValueError, match=r"held_out=1: expected a share"):
        own_dataset(folder.root, held_out=1.0)


def test_a_folder_and_json_files_are_one_too_many(folder):
    roboflow(folder)
    file = folder.root / "train/_annotations.coco.json"
    with pytest.raises(ValueError, match=f"{re.escape(str(file))} are both given"):
        own_dataset(folder.root, json_file=file)
    for function in (own_dataset, count_own_classes):
        with pytest.raises(ValueError, match=r"no data set is given: data.path=FOLDER, or data.t"):
            function()
        function(json_file=file)


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("instances_val2017", "val"),
        ("my-training_v2", "train"),
        ("trainval", "trainval"),
        ("minitrain", None),
        ("train_test", None),
        ("straining", None),
    ],
)
def test_the_split_that_a_name_speaks_of(name, split):
    assert split_of(name) == split
