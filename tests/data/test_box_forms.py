"""Boxes in other conventions than COCO's: refused in training as in the validation."""

import json

from lowres_d2.data.datasets import CocoDataset, Tt100kDataset
from lowres_d2.data.datasets.box_forms import FORMS, box_form
from lowres_d2.data.validation import Findings, read_split
from lowres_d2.data.validation.boxes import check_boxes

import numpy as np
import pytest

SIZE = (80, 100)  # height, width


def random_boxes(number, largest=30, seed=0):
    """XYWH, all inside of the image."""
    random = np.random.default_rng(seed)
    sides = random.integers(4, largest, (number, 2))
    corners = random.integers(0, np.array(SIZE[::-1]) - sides + 1)
    return np.concatenate([corners, sides], axis=1).astype(float)


def as_form(boxes, form):
    x, y, w, h = boxes.T
    height, width = SIZE
    made = {
        "xywh": (x, y, w, h),
        "corners": (x, y, x + w, y + h),
        "corners from 1": (x + 1, y + 1, x + w, y + h),
        "corners, y first": (y, x, y + h, x + w),
        "centres": (x + w / 2, y + h / 2, w, h),
        "fractions": (x / width, y / height, w / width, h / height),
        "fractions of centres": ((x + w / 2) / width, (y + h / 2) / height, w / width, h / height),
    }
    return np.stack(made[form], axis=1).tolist()


@pytest.mark.parametrize("number", [40, 300])
@pytest.mark.parametrize(
    ("made", "expected"),
    [
        ("xywh", None),
        ("corners", "corners"),
        ("corners from 1", "corners"),
        ("corners, y first", "corners"),
        ("centres", "centres"),
        ("fractions", "fractions"),
        ("fractions of centres", "fractions"),
    ],
)
def test_forms_are_recognized(made, expected, number):
    boxes = as_form(random_boxes(number), made)
    assert box_form(boxes, [SIZE] * number) == expected


def test_sound_boxes_have_no_other_form_wherever_they_lie():
    for seed in range(200):
        boxes = random_boxes(8, largest=79, seed=seed)
        assert box_form(boxes.tolist(), [SIZE] * 8) is None
    # As annotation programs write them: some by a pixel or more beyond any edge.
    sloppy = random_boxes(100)
    sloppy += np.random.default_rng(0).integers(-6, 7, sloppy.shape) * [1, 1, 0, 0]
    assert box_form(sloppy.tolist(), [SIZE] * 100) is None


def test_some_boxes_beyond_one_side_are_no_centres():
    # Objects that leave the images on the right, annotated with a margin.
    leaving = [[92, 50, 10, 10], [93, 60, 10, 10], [91.5, 65, 10, 10]]
    for inside in (7, 40, 200):
        boxes = leaving + [[20 + k % 60, 40, 10, 10] for k in range(inside)]
        assert box_form(boxes, [SIZE] * len(boxes)) is None
    assert box_form(3 * leaving + [[60, 40, 10, 10]] * 2, [SIZE] * 11) == "centres"


def test_few_or_faulty_boxes_are_not_judged():
    few = as_form(random_boxes(4), "fractions")
    assert box_form(few, [SIZE] * 4) is None
    assert box_form([*few, None], [SIZE] * 5) is None and box_form([], []) is None


def placed(coco, form):
    """Fills a data set with two boxes an image in a convention."""
    number = 2 * len(coco.content["images"])
    random = np.random.default_rng(3)
    boxes = np.concatenate(
        [random.integers((30, 18), (45, 28), (number, 2)), np.full((number, 2), 12)], axis=1
    ).astype(float)
    boxes[:6, :2] = (48, 28)  # at the lower right corner of 60 x 40
    height, width = 40, 60
    x, y, w, h = boxes.T
    made = {
        "corners": (x, y, x + w, y + h),
        "centres": (x + w / 2, y + h / 2, w, h),
        "fractions": (x / width, y / height, w / width, h / height),
    }[form]
    image_ids = [image["id"] for image in coco.content["images"]] * 2
    coco.content["annotations"] = [
        {"id": k, "image_id": image_id, "category_id": 3, "bbox": box}
        for k, (image_id, box) in enumerate(
            zip(image_ids, np.stack(made, axis=1).tolist(), strict=True), start=1
        )
    ]
    return coco.json_file


@pytest.mark.parametrize("policy", ["error", "skip"])
@pytest.mark.parametrize("form", FORMS)
def test_training_and_validation_refuse_the_same(coco, form, policy):
    json_file = placed(coco, form)
    with pytest.raises(ValueError, match=f"its 12 boxes look like {FORMS[form][0][:7]}") as caught:
        CocoDataset(json_file, invalid_boxes=policy)
    assert str(json_file) in str(caught.value) and "\n" not in str(caught.value)
    findings = Findings()
    assert not check_boxes(read_split(json_file, findings), findings)
    assert {f.check.name: f.severity for f in findings} == {f"box-{form}": "error"}


def test_other_data_sets_refuse_them_too(tmp_path):
    images = {
        str(k): {
            "id": k,
            "path": f"train/{k}.jpg",
            "objects": [
                {
                    "category": "po",
                    "bbox": {"xmin": 0.1, "ymin": 0.2, "xmax": 0.3 + k / 100, "ymax": 0.4},
                }
            ],
        }
        for k in range(6)
    }
    path = tmp_path / "annotations.json"
    path.write_text(json.dumps({"types": ["po"], "imgs": images}))
    with pytest.raises(ValueError, match="look like fractions of the image"):
        Tt100kDataset(path, classes=["po"], check_images=False)


def test_boxes_far_beyond_their_images_are_counted_in_a_warning(coco, caplog):
    coco.content["annotations"][0]["bbox"] = [-5, 30, 20, 20]
    CocoDataset(coco.json_file)
    assert "1 of 6 boxes reach beyond their images, by up to 10 pixels" in caplog.text
