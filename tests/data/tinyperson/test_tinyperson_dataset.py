"""TinyPerson from files as its documentation prints them: whole images, tiles, tasks, flags."""

import copy
import json
import logging

from lowres_d2.data import DetectionMapper
from lowres_d2.data.datasets import TinyPersonDataset, dataset_fingerprint
from lowres_d2.data.mapper import BrokenImageError

import numpy as np
import pytest
from PIL import Image

NAME = "labeled_images/bb_V0032_I0001640.jpg"
CATEGORIES = [
    {"id": 1, "name": "sea_person", "supercategory": "person"},
    {"id": 2, "name": "earth_person", "supercategory": "person"},
]
PERSON = [{"id": 1, "name": "person", "supercategory": "none"}]


def annotation(number, image_id, box, category=1, **flags):
    x, y, w, h = box
    return {
        "segmentation": [[x, y, x + w, y, x + w, y + h, x, y + h]],
        "bbox": list(box),
        "category_id": category,
        "area": w * h,
        "iscrowd": 0,
        "image_id": image_id,
        "id": number,
        **({"ignore": False, "uncertain": False, "logo": False, "in_dense_image": False} | flags),
    }


# The whole image and its annotation are those of the documentation.
WHOLE = {
    "type": "instance",
    "images": [
        {"file_name": NAME, "height": 720, "width": 1280, "id": 0},
        {"file_name": "labeled_images/dense.jpg", "height": 100, "width": 200, "id": 1},
    ],
    "annotations": [
        annotation(0, 0, (1081.124, 17.459, 186.307, 50.273), ignore=True, logo=True),
        annotation(1, 0, (100, 50, 8, 16)),
        annotation(2, 0, (120, 50, 9, 12), category=2),
        annotation(3, 0, (140, 50, 9, 12), uncertain=True),
        annotation(4, 0, (160, 50, 9, 12), logo=True),
        annotation(5, 1, (10, 10, 6, 6), in_dense_image=True),
        annotation(6, 1, (20, 10, 6, 6), ignore=True),
    ],
    "categories": CATEGORIES,
}
TILES = {
    "images": [
        {"file_name": NAME, "height": 512, "width": 640, "id": k, "corner": corner}
        for k, corner in enumerate(([0, 0, 640, 512], [590, 0, 1230, 512], [640, 208, 1280, 720]))
    ],
    "annotations": [
        annotation(0, 0, (100, 50, 8, 16)),
        annotation(1, 1, (10.5, 20, 30, 40)),
    ],
    "categories": PERSON,
}


@pytest.fixture
def load(tmp_path):
    def dataset(content, **settings):
        path = tmp_path / "tiny_set_train.json"
        path.write_text(json.dumps(content))
        return TinyPersonDataset(path, **{"check_images": False} | settings)

    return dataset


def regions(dataset):
    """Label and crowd of each annotation, by its id."""
    return {a["id"]: (a["category_id"], a["iscrowd"]) for r in dataset for a in r["annotations"]}


def test_all_persons_are_one_class_and_flags_make_ignore_regions(load, caplog):
    caplog.set_level(logging.INFO)
    dataset = load(WHOLE)
    assert dataset.classes == ["person"] and dataset.category_ids == [1]
    assert regions(dataset) == {0: (0, 1), 1: (0, 0), 2: (0, 0), 3: (0, 1), 4: (0, 1)}
    assert (dataset.num_objects, dataset.num_crowds, dataset.num_dense) == (2, 3, 1)
    assert "1 dense images left out" in caplog.text
    # A logo is no ignore region of the benchmark's evaluator.
    assert regions(load(WHOLE, ignored=["ignore", "uncertain"]))[4] == (0, 0)
    assert regions(load(WHOLE, ignored=[]))[0] == (0, 0)


def test_a_task_ignores_the_other_class(load):
    assert regions(load(WHOLE, task="sea")) | {3: 0, 4: 0} == {
        0: (0, 1),
        1: (0, 0),
        2: (0, 1),
        3: 0,
        4: 0,
    }
    earth = load(WHOLE, task="earth")
    assert earth.category_ids == [2] and regions(earth)[1] == (0, 1)
    assert regions(earth)[2] == (0, 0)
    both = load(WHOLE, task="both")
    assert both.classes == ["sea_person", "earth_person"] and regions(both)[2] == (1, 0)


def test_dense_images_are_used_as_asked_for(load):
    assert regions(load(WHOLE, dense="object"))[5] == (0, 0)
    assert regions(load(WHOLE, dense="ignore"))[5] == (0, 1)


def test_tiles_have_their_corners_and_are_cut_out(load, tmp_path):
    dataset = load(TILES)
    assert [record["corner"] for record in dataset] == [
        (0, 0, 640, 512),
        (590, 0, 1230, 512),
        (640, 208, 1280, 720),
    ]
    assert dataset[1]["annotations"][0]["bbox"] == [10.5, 20, 30, 40]
    (tmp_path / "labeled_images").mkdir()
    values = np.zeros((720, 1280, 3), np.uint8)
    values[..., 0], values[..., 1] = np.arange(720)[:, None] // 4, np.arange(1280) // 8
    name = NAME.replace("jpg", "png")
    Image.fromarray(values).save(tmp_path / name)
    content = copy.deepcopy(TILES)
    for image in content["images"]:
        image["file_name"] = name
    tile = DetectionMapper(True, image_format="RGB")(load(content, check_images=True)[2])
    assert (tile["image"].permute(1, 2, 0).numpy() == values[208:, 640:]).all()
    assert (tile["height"], tile["width"]) == (512, 640)
    Image.new("RGB", (700, 720)).save(tmp_path / name)
    with pytest.raises(BrokenImageError, match="is 700x720, but the tile 590, 0 to 1230, 512"):
        DetectionMapper(True)(load(content)[1])


def test_corners_as_the_documentation_describes_them_are_read_as_well(load):
    content = copy.deepcopy(TILES)
    for image in content["images"]:
        image["corner"][2:] = [640, 512]
    described, printed = load(content), load(TILES)
    assert [r["corner"] for r in described] == [r["corner"] for r in printed]
    assert dataset_fingerprint(described) == dataset_fingerprint(printed)
    content["images"][2]["corner"][0] += 1
    assert dataset_fingerprint(load(content)) != dataset_fingerprint(printed)


FAULTS = {
    "flag": (lambda c: c["annotations"][1].update(ignore="yes"), "annotation 1 has ignore 'yes'"),
    "class": (
        lambda c: c["categories"][0].update(name="boat"),
        "has class 'boat'; expected TinyPerson's: earth_person, person, sea_person",
    ),
    "box": (lambda c: c["annotations"][1].update(bbox=[1, 2, -3, 4]), "has a negative side"),
    "no list": (lambda c: c.update(annotations={}), "has no list 'annotations'"),
    "some corners": (
        lambda c: c["images"][0].update(corner=[0, 0, 1280, 720]),
        "image 1 has corner None; expected four whole pixels",
    ),
    "other size": (
        lambda c: [image.update(corner=[0, 0, 1280, 700]) for image in c["images"]],
        r"image 0 is 1280x720, which its corner \[0, 0, 1280, 700\]",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_of_the_file_are_named(load, fault):
    content = copy.deepcopy(WHOLE)
    damage, message = FAULTS[fault]
    damage(content)
    with pytest.raises(ValueError, match=message) as caught:
        load(content)
    assert "tiny_set_train.json" in str(caught.value) and "\n" not in str(caught.value)


def test_mistakes_of_settings_are_named(load):
    with pytest.raises(ValueError, match="task='see': expected one of all, sea, earth, both"):
        load(WHOLE, task="see")
    with pytest.raises(ValueError, match=r"ignored=\['crowd'\]: expected some of ignore"):
        load(WHOLE, ignored="crowd")
    with pytest.raises(ValueError, match="dense='skip': expected one of leave_out"):
        load(WHOLE, dense="skip")
    with pytest.raises(ValueError, match="has no class 'sea_person', which task='sea' is about"):
        load(TILES, task="sea")
