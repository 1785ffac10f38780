import json
import math
import pickle

from lowres_d2.data import build_train_loader
from lowres_d2.data.datasets import (
    CocoDataset,
    check_same_classes,
    count_classes,
    dataset_fingerprint,
    with_classes,
)
from lowres_d2.data.datasets.boxes import box_fault, clip_box
from lowres_d2.data.validation import Findings, read_split

import pytest
from detectron2.structures import BoxMode
from hypothesis import given
from hypothesis import strategies as st
from pycocotools.coco import COCO


def test_records_are_detectron2_dicts(coco):
    coco.content["annotations"].append(
        {
            "id": 50,
            "image_id": 10,
            "category_id": 7,
            "bbox": [1.5, 2, 3, 4],
            "area": 5,
            "iscrowd": 1,
        }
    )
    dataset = CocoDataset(coco.json_file)
    assert dataset.classes == ["cat", "mouse"] and dataset.category_ids == [3, 7]
    assert len(dataset) == 6
    first = dataset[0]
    assert first["file_name"] == str(coco.image(0))
    assert (first["height"], first["width"], first["image_id"]) == (40, 60, 10)
    cat, mouse = first["annotations"]
    assert cat["bbox"] == [0, 2, 10, 8] and cat["bbox_mode"] == BoxMode.XYWH_ABS
    assert (cat["category_id"], cat["iscrowd"], cat["area"]) == (0, 0, 80)
    assert (mouse["category_id"], mouse["iscrowd"], mouse["area"]) == (1, 1, 5)
    assert dataset[-1] == dataset[5]
    with pytest.raises(IndexError):
        dataset[6]


def test_items_are_copies_and_the_dataset_pickles(coco):
    dataset = CocoDataset(coco.json_file)
    dataset[0]["annotations"].clear()
    assert len(dataset[0]["annotations"]) == 1
    assert list(pickle.loads(pickle.dumps(dataset))) == list(dataset)


def test_coco_dict_is_what_pycocotools_reads(coco):
    dataset = CocoDataset(coco.json_file)
    truth = COCO()
    truth.dataset = dataset.coco_dict()
    truth.createIndex()
    assert truth.getCatIds() == [3, 7]
    for given_one, ours in zip(
        coco.content["annotations"], dataset.coco_dict()["annotations"], strict=True
    ):
        assert given_one.items() <= ours.items()


@pytest.mark.parametrize("classes", [["mouse", "cat"], ["mouse"]])
def test_classes_select_and_order(coco, classes):
    dataset = CocoDataset(coco.json_file, classes=classes)
    assert dataset.classes == classes
    labels = [a["category_id"] for record in dataset for a in record["annotations"]]
    assert labels == ([1] * 6 if len(classes) == 2 else [])
    assert [a["category_id"] for a in dataset.coco_dict()["annotations"]] == [3] * len(labels)


@pytest.mark.parametrize(
    "place", ["set/images", "set", "images", "annotations", "annotations/images"]
)
def test_images_are_found_beside_the_json(coco, tmp_path, place):
    json_file = tmp_path / "set" / "annotations" / "instances_annotations.json"
    json_file.parent.mkdir()
    json_file.write_text(json.dumps(coco.content))
    target = (json_file.parent if place.startswith("annotations") else tmp_path) / place
    if place.startswith("annotations"):
        target = tmp_path / "set" / place
    elif place == "images":
        target = tmp_path / "set" / "images" / "annotations"
    target.mkdir(parents=True, exist_ok=True)
    for k in range(6):
        coco.image(k).rename(target / f"{k}.png")
    assert CocoDataset(json_file).image_root == target


def test_box_partly_outside_is_clipped_but_evaluated_as_given(coco):
    coco.content["annotations"][0]["bbox"] = [-5, 30, 20, 20]
    dataset = CocoDataset(coco.json_file)
    assert dataset[0]["annotations"][0]["bbox"] == [0, 30, 15, 10]
    assert dataset.coco_dict()["annotations"][0]["bbox"] == [-5, 30, 20, 20]


BAD_BOXES = {
    "has no area": [5, 5, 0, 3],
    "has a negative side": [5, 5, 3, -1],
    "lies outside the image of 60x40": [60, 5, 3, 3],
    "is not four finite numbers": [5, 5, math.nan, 3],
    "is not four finite": [1, 2, 3],
    "is not four": [1, 2, "3", 4],
    "is not": None,
    "is not four finite numbers; correct": [1, 2, 10**400, 3],
    "[1], [2], [3], [4]] is not".replace("[", r"\[").replace("]", r"\]"): [[1], [2], [3], [4]],
    "box 5 is not four": 5,
}


@pytest.mark.parametrize(("fault", "box"), BAD_BOXES.items())
def test_faulty_boxes_stop_or_are_skipped(coco, fault, box, caplog):
    coco.content["annotations"][2]["bbox"] = box
    with pytest.raises(ValueError, match=fault) as caught:
        CocoDataset(coco.json_file)
    message = str(caught.value)
    assert "annotation 3 " in message and "2.png" in message and "\n" not in message
    dataset = CocoDataset(coco.json_file, invalid_boxes="skip")
    assert [len(record["annotations"]) for record in dataset] == [1, 1, 0, 1, 1, 1]
    assert "1 invalid boxes skipped" in caplog.text


def edit(section, position, **changes):
    def apply(content):
        content[section][position].update(changes)

    return apply


BAD_FILES = {
    "annotation 1 has image_id 99": edit("annotations", 0, image_id=99),
    "annotation 2 has category_id 1, which is not in 'categories'": edit(
        "annotations", 1, category_id=1
    ),
    "annotation 1 occurs twice": edit("annotations", 1, id=1),
    "id 10 occurs twice in 'images'": edit("images", 1, id=10),
    "id 7 occurs twice in 'categories'": edit("categories", 1, id=7),
    "two categories are called 'mouse'": edit("categories", 1, name="mouse"),
    "image 10 .0.png. has height 0": edit("images", 0, height=0),
    "image 10 has no 'file_name'": edit("images", 0, file_name=None),
    r"images\[0\] has id 'a'; expected a whole number": edit("images", 0, id="a"),
    "image 11 .1.png. has width None": edit("images", 1, width=None),
    "has height 40.0; expected a positive whole number": edit("images", 0, height=40.0),
    "has width True": edit("images", 0, width=True),
    r"images\[1\] has id \[10\]": edit("images", 1, id=[10]),
    r"categories\[0\] has id None": edit("categories", 0, id=None),
    r"annotations\[2\] has id \[3\]; expected a whole number": edit("annotations", 2, id=[3]),
    r"annotations\[2\] has id None": edit("annotations", 2, id=None),
    r"annotation 1 has image_id \[10\]": edit("annotations", 0, image_id=[10]),
    r"annotation 1 has category_id \[3\]": edit("annotations", 0, category_id=[3]),
    "annotation 3 has area '80'; expected a number, 0 or more": edit("annotations", 2, area="80"),
    "annotation 3 has area -1;": edit("annotations", 2, area=-1),
    "annotation 3 has area nan;": edit("annotations", 2, area=math.nan),
    "annotation 3 has area None;": edit("annotations", 2, area=None),
    "annotation 3 has iscrowd None; expected 0, 1": edit("annotations", 2, iscrowd=None),
    "annotation 3 has iscrowd 2;": edit("annotations", 2, iscrowd=2),
    r"annotation 3 has iscrowd \[1\];": edit("annotations", 2, iscrowd=[1]),
    "has no list 'annotations'": lambda content: content.update(annotations=None),
    "has no list 'images'": lambda content: content.pop("images"),
    "category 7 has name ''": edit("categories", 0, name=""),
    "category 7 has name ' '": edit("categories", 0, name=" "),
    "has no images": lambda content: content.update(images=[], annotations=[]),
}


@pytest.mark.parametrize(("message", "damage"), BAD_FILES.items())
def test_bad_files_are_named_in_one_line(coco, message, damage):
    damage(coco.content)
    with pytest.raises(ValueError, match=message) as caught:
        CocoDataset(coco.json_file)
    assert str(coco.folder) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [("[]", "is a list, perhaps of detections"), ("{", "is not JSON"), ("3", "has no list")],
)
def test_files_that_are_not_coco(tmp_path, text, message):
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        count_classes(path)
    with pytest.raises(FileNotFoundError, match=r"is a folder; give a COCO json file in it"):
        count_classes(tmp_path)
    with pytest.raises(FileNotFoundError, match="no such annotation file"):
        count_classes(tmp_path / "y.json")


def test_missing_images_are_listed(coco):
    for k in (1, 2, 3, 4):
        coco.image(k).unlink()
    with pytest.raises(FileNotFoundError, match=r"4 of 6 .*: 1.png, 2.png, 3.png and 1 more"):
        CocoDataset(coco.json_file)
    assert len(CocoDataset(coco.json_file, check_images=False)) == 6
    coco.image(0).unlink()
    with pytest.raises(FileNotFoundError, match=r"5 of 6 .*: 0.png, 1.png, 2.png and 2 more"):
        CocoDataset(coco.json_file)


def test_a_missing_image_folder_is_named_with_its_first_images(coco, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    with pytest.raises(FileNotFoundError) as caught:
        CocoDataset(coco.json_file, image_root=elsewhere)
    message = str(caught.value)
    assert message.startswith(f"{elsewhere}: no such folder, for the 6 images of {coco.folder}")
    assert "(0.png, 1.png, 2.png and 3 more); set image_root" in message and "\n" not in message
    (coco.folder / "images").rename(elsewhere)
    with pytest.raises(FileNotFoundError, match=r"its 6 images \(0.png, 1.*data.val_images"):
        CocoDataset(coco.json_file)


@pytest.mark.parametrize("without_id", [[1], [0, 3], range(6)])
def test_annotations_without_id_get_one_that_no_other_has(coco, without_id):
    for position in without_id:
        del coco.content["annotations"][position]["id"]
    dataset = CocoDataset(coco.json_file)
    found = [a["id"] for record in dataset for a in record["annotations"]]
    assert len(set(found)) == 6
    given_ids = [
        a.get("id", new) for a, new in zip(coco.content["annotations"], found, strict=True)
    ]
    assert found == given_ids


def test_crowds_may_be_marked_by_true(coco):
    coco.content["annotations"][0]["iscrowd"] = True
    assert CocoDataset(coco.json_file)[0]["annotations"][0]["iscrowd"] == 1


def test_an_unknown_policy_is_named(coco):
    with pytest.raises(ValueError, match="invalid_boxes='ignore'"):
        CocoDataset(coco.json_file, invalid_boxes="ignore")


def test_area_larger_than_its_box_is_warned_of(coco, caplog):
    coco.content["annotations"][0]["area"] = 2400
    CocoDataset(coco.json_file)
    assert "'area' of 1 annotations is larger than their box" in caplog.text


def test_count_classes(coco):
    assert count_classes(coco.json_file) == 2
    assert count_classes(coco.json_file, ["mouse"]) == 1


@pytest.mark.parametrize("use", [CocoDataset, count_classes])
@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ("cat", r"classes='cat': expected a list of class names, as \[cat\]"),
        ([], r"classes=\[\]: expected class names"),
        ([1], "put quotes around those that are numbers"),
        (["cats"], "no class 'cats'; did you mean 'cat'"),
        (["cat", "cat"], "names a class twice"),
    ],
)
def test_class_lists_are_checked_wherever_they_are_given(coco, use, classes, message):
    with pytest.raises(ValueError, match=message) as caught:
        use(coco.json_file, classes=classes)
    assert "\n" not in str(caught.value)


def test_class_lists_are_compared_side_by_side(coco):
    train = CocoDataset(coco.json_file)
    check_same_classes(train, CocoDataset(coco.json_file))
    val = CocoDataset(coco.json_file, classes=["mouse", "cat"])
    words = r"0: cat \| mouse, 1: mouse \| cat; give .* with data\.classes=\[\.\.\.\]"
    with pytest.raises(ValueError, match=words) as caught:
        check_same_classes(train, val)
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match=r"1: mouse \| -"):
        check_same_classes(train, CocoDataset(coco.json_file, classes=["cat"]))


def test_a_test_set_may_lack_classes(coco, caplog):
    classes = ["cat", "dog", "mouse"]
    with pytest.raises(ValueError, match="has no class 'dog'"):
        CocoDataset(coco.json_file, classes=classes)
    dataset = CocoDataset(coco.json_file, classes=classes, may_lack_classes=True)
    # An id of its own, so that detections of it can be written.
    assert dataset.classes == classes and dataset.category_ids == [3, 8, 7]
    assert "has no class dog" in caplog.text
    assert with_classes(dataset, classes, [51, 52, 53]).category_ids == [3, 52, 7]
    with pytest.raises(ValueError, match="has no class 'dog'"):
        CocoDataset(coco.json_file, classes=["dog"], may_lack_classes=True)
    with pytest.raises(ValueError, match=r"it has cat, mouse \(may_lack_classes=True accepts"):
        CocoDataset(coco.json_file, classes=["cat", "ox"])
    with pytest.raises(ValueError, match=r"'ox'; it has cat, mouse, none of the classes to use$"):
        CocoDataset(coco.json_file, classes=["ox"], may_lack_classes=True)


def test_a_test_set_takes_over_the_classes_that_it_lacks(coco, caplog):
    caplog.set_level("INFO")
    whole = CocoDataset(coco.json_file)
    part = CocoDataset(coco.json_file, classes=["cat"])
    aligned = with_classes(part, ["mouse", "cat", "dog"])
    assert aligned.classes == ["mouse", "cat", "dog"] and aligned.category_ids == [4, 3, 5]
    assert [a["category_id"] for record in aligned for a in record["annotations"]] == [1] * 6
    assert "has no class mouse, dog" in caplog.text
    assert aligned.coco_dict()["annotations"] == part.coco_dict()["annotations"]
    # Ids of the training data, but none that another class of the test set has.
    assert with_classes(part, ["mouse", "cat", "dog"], [51, 52, 3]).category_ids == [51, 3, 53]
    assert "get category_id: mouse 51, dog 53 (made up)" in caplog.text
    # Nothing to do, or not for it to decide: another class, another order, no classes.
    for classes in (["cat", "mouse"], ["dog"], ["mouse", "cat"], []):
        assert with_classes(whole, classes) is whole


@pytest.mark.parametrize("name", ["animals", "cat"])
def test_a_bare_supercategory_is_left_out(coco, caplog, name):
    for category in coco.content["categories"]:
        category["supercategory"] = name
    coco.content["categories"].insert(0, {"id": 0, "name": name, "supercategory": "none"})
    dataset = CocoDataset(coco.json_file)
    assert dataset.classes == ["cat", "mouse"] and count_classes(coco.json_file) == 2
    assert f"category 0 '{name}' is left out" in caplog.text
    findings = Findings()
    split = read_split(coco.json_file, findings)
    assert split.class_list == ["cat", "mouse"]
    assert [f.check.name for f in findings] == ["category-super"]
    # Asked for by a name that no other class has, it is one.
    chosen = ["animals", "cat"] if name == "animals" else ["mouse", "cat"]
    assert CocoDataset(coco.json_file, classes=chosen).classes == chosen
    assert count_classes(coco.json_file, chosen) == 2


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content["annotations"][0].update(category_id=0),
        lambda content: content["categories"][1].update(supercategory="none"),
        lambda content: content["categories"][0].update(id=1),
    ],
)
def test_a_class_with_objects_or_among_others_is_none(coco, change):
    for category in coco.content["categories"]:
        category["supercategory"] = "animal"
    coco.content["categories"].insert(0, {"id": 0, "name": "animal"})
    change(coco.content)
    assert CocoDataset(coco.json_file).classes == ["animal", "cat", "mouse"]


def test_crowds_are_counted_and_said(coco, caplog):
    caplog.set_level("INFO")
    for entry in coco.content["annotations"][:2]:
        entry["iscrowd"] = 1
    dataset = CocoDataset(coco.json_file)
    assert (dataset.num_objects, dataset.num_crowds) == (4, 2)
    assert "2 of 6 annotations are crowds" in caplog.text
    for entry in coco.content["annotations"]:
        entry["iscrowd"] = 1
    with pytest.raises(ValueError, match=r"no image has an object .*6 annotations are crowds"):
        build_train_loader(CocoDataset(coco.json_file), dict, 2, 0)


def test_objects_of_unused_classes_are_counted(coco, caplog):
    caplog.set_level("INFO")
    CocoDataset(coco.json_file, classes=["mouse"])
    assert "6 objects of 1 unused classes left out (cat)" in caplog.text


def test_fingerprint_follows_the_content_not_the_folder(coco, tmp_path):
    before = dataset_fingerprint(CocoDataset(coco.json_file))
    assert dataset_fingerprint(CocoDataset(coco.json_file)) == before
    moved = coco.folder.rename(tmp_path / "moved")
    coco.folder = moved
    assert dataset_fingerprint(CocoDataset(coco.json_file)) == before
    coco.content["annotations"][0]["bbox"][0] += 1
    assert dataset_fingerprint(CocoDataset(coco.json_file)) != before


boxes = st.tuples(*[st.floats(-200, 200)] * 2, *[st.floats(1e-3, 300)] * 2).map(list)


@given(boxes, st.integers(1, 100), st.integers(1, 100))
def test_clipping_keeps_what_is_inside(box, height, width):
    if box_fault(box, height, width):
        x, y, w, h = box
        assert x >= width or y >= height or x + w <= 0 or y + h <= 0
        return
    x, y, w, h = clip_box(box, height, width)
    assert w >= 0 and h >= 0
    assert x >= 0 and y >= 0 and x + w <= width + 1e-9 and y + h <= height + 1e-9
    # Inside the image, the clipped box covers exactly what the box did.
    assert x == max(box[0], 0) and math.isclose(x + w, min(box[0] + box[2], width), abs_tol=1e-9)
    assert clip_box([x, y, w, h], height + 1, width + 1) == [x, y, w, h]
