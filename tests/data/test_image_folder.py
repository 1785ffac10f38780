import json
import shutil

from lowres_d2.data.datasets import CocoDataset
from lowres_d2.data.datasets.coco_json import read_coco_json
from lowres_d2.data.datasets.image_folder import find_image_root, leaves_folder
from lowres_d2.data.validation import Findings, read_split
from lowres_d2.data.validation.ids import check_ids

import pytest

NAMES = [f"{k}.png" for k in range(4)]


def make(root, *folders, names=NAMES):
    for folder in folders:
        (root / folder).mkdir(parents=True, exist_ok=True)
        for name in names:
            (root / folder / name).touch()


@pytest.mark.parametrize(
    ("json_name", "folders"),
    [
        ("val.json", ["images", "images_val"]),  # which one is val's, the file does not say
        ("val.json", ["images", "val_images"]),
        ("val.json", ["images", "val"]),
        ("Val.json", ["images", "Val_pics"]),
        ("Val.json", ["images", "val_pics"]),
        ("set/val.json", ["images", "set/images"]),
        ("annotations/instances_val.json", ["images", "images_val"]),
    ],
)
def test_several_folders_that_have_the_images_are_an_error(tmp_path, json_name, folders):
    make(tmp_path, *folders)
    with pytest.raises(ValueError, match="several folders have its images") as caught:
        find_image_root(tmp_path / json_name, NAMES, None, True)
    for folder in folders:
        assert str(tmp_path / folder) in str(caught.value)
    assert "image_root" in str(caught.value) and "\n" not in str(caught.value)
    given = tmp_path / folders[1]
    assert find_image_root(tmp_path / json_name, NAMES, given, True) == given


@pytest.mark.parametrize(
    ("json_name", "folders", "expected"),
    [
        # Roboflow's: the json among its images, the same names in the other split's folder.
        ("train/_annotations.coco.json", ["train", "valid"], "train"),
        ("annotations/val.json", ["images/train", "images/val"], "images/val"),
        ("annotations/instances_val2017.json", ["train2017", "val2017"], "val2017"),
        ("train.json", ["images", "masks", "labels", "depth"], "images"),
    ],
)
def test_a_folder_that_the_annotations_point_to_is_taken(tmp_path, json_name, folders, expected):
    make(tmp_path, *folders)
    assert find_image_root(tmp_path / json_name, NAMES, None, True) == tmp_path / expected


def test_the_folder_with_most_of_the_images_is_taken(tmp_path):
    make(tmp_path, "images")
    make(tmp_path, "", "images_small", names=NAMES[:1])
    assert find_image_root(tmp_path / "val.json", NAMES, None, True) == tmp_path / "images"


def test_two_ways_to_one_folder_are_one(tmp_path):
    make(tmp_path, "images")
    (tmp_path / "images_link").symlink_to(tmp_path / "images")
    assert find_image_root(tmp_path / "val.json", NAMES, None, True) == tmp_path / "images"


def test_loader_and_validator_agree_on_an_ambiguous_folder(coco):
    shutil.copytree(coco.folder / "images", coco.folder / "images_val")
    with pytest.raises(ValueError, match="several folders"):
        CocoDataset(coco.json_file)
    findings = Findings()
    split = read_split(coco.json_file, findings)
    assert [f.check.name for f in findings] == ["folder-ambiguous"] and split.root is None


@pytest.mark.parametrize(
    ("name", "leaves"),
    [
        ("../secret.png", True),
        ("a/../../secret.png", True),
        ("/etc/secret.png", True),
        ("..", True),
        ("a/../b.png", False),
        ("..b/c.png", False),
        ("a/b.png", False),
    ],
)
def test_names_that_lead_out_of_the_folder_are_told_apart(name, leaves):
    assert leaves_folder(name) is leaves


def test_an_image_outside_of_the_folder_is_warned_of(coco, caplog):
    coco.image(1).rename(coco.folder / "outside.png")
    coco.content["images"][1]["file_name"] = "../outside.png"
    dataset = CocoDataset(coco.json_file)
    assert len(dataset) == 6
    assert "file_name of 1 of 6 images leads out" in caplog.text
    assert "../outside.png" in caplog.text
    findings = Findings()
    check_ids(read_split(coco.json_file, findings), findings)
    assert [f.check.name for f in findings] == ["file-outside"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("data.yaml", "names: [cat]"),
        ("train/labels/0.txt", "0 0.5 0.5 0.1 0.1\n"),
        ("labels/0.txt", "12 0.5 0.5 0.1 0.1\n"),
        ("classes.txt", "cat\n"),
        ("0.txt", "0 0.1 0.1 0.2 0.1 0.2 0.2"),
    ],
)
@pytest.mark.parametrize("by_file", [False, True])
def test_yolo_is_named_where_another_form_is_expected(tmp_path, name, text, by_file):
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    if by_file and name == "classes.txt":
        pytest.skip("a list of words alone is not YOLO's")
    given = path if by_file else tmp_path
    with pytest.raises(ValueError, match=r"YOLO's format, .*data.path=FOLDER") as caught:
        read_coco_json(given)
    assert str(given) in str(caught.value)
    findings = Findings()
    assert read_split(given, findings) is None
    assert "YOLO" in str(next(iter(findings)).suspects[0])


def test_lists_and_folders_of_voc_are_not_taken_for_yolo(tmp_path):
    (tmp_path / "train.txt").write_text("000005 1\n")
    with pytest.raises(ValueError, match="is not JSON"):
        read_coco_json(tmp_path / "train.txt")
    (tmp_path / "x.json").write_text(json.dumps({"images": [], "categories": []}))
    assert read_coco_json(tmp_path / "x.json")["annotations"] == []
