"""Real annotation files; skipped if their folder is missing."""

from pathlib import Path

from lowres_d2.data import DetectionMapper, build_test_loader
from lowres_d2.data.crops import objects_on_crop
from lowres_d2.data.datasets import CocoDataset, check_same_classes
from lowres_d2.data.datasets.dota import (
    DOTA_CLASSES,
    TileRules,
    outlines_of,
    read_dota_labels,
)
from lowres_d2.data.datasets.voc_files import read_voc_xml

import numpy as np
import pytest

DATA = Path(__file__).parents[3] / "shared" / "data"

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"{DATA} is not there")

COCO_FILES = {  # images, boxes, by the folder's README
    "coco/coco_train2017_other64.json": (64, 564),
    "visdrone/visdrone2019-det-train-first50image.json": (50, 3326),
    "seadronessee/instances_val_iscrowd.json": (1547, 9630),
    "nwpu_vhr10_ssdd/nwpu_vhr10_annotations.json": (650, 3921),
    "nwpu_vhr10_ssdd/SSDD.json": (1160, 2586),
}


@pytest.mark.parametrize(("name", "counts"), COCO_FILES.items())
def test_coco_files(name, counts):
    dataset = CocoDataset(DATA / "annotations" / name, check_images=False)
    truth = dataset.coco_dict()
    assert (len(dataset), len(truth["annotations"])) == counts
    boxes = np.array([a["bbox"] for record in dataset for a in record["annotations"]])
    limits = [
        (record["width"], record["height"]) for record in dataset for _ in record["annotations"]
    ]
    assert (boxes[:, :2] >= 0).all() and (boxes[:, :2] + boxes[:, 2:] <= limits).all()


def test_coco_crowds_and_sizes():
    path = DATA / "annotations/coco/coco_train2017_other64.json"
    annotations = CocoDataset(path, check_images=False).coco_dict()["annotations"]
    assert sum(a["iscrowd"] for a in annotations) == 6
    sizes = [np.sqrt(a["bbox"][2] * a["bbox"][3]) for a in annotations]
    assert np.histogram(sizes, [0, 8, 16, 32, 96, 1e9])[0].tolist() == [15, 75, 142, 161, 171]


def test_detections_are_not_taken_for_ground_truth():
    path = DATA / "annotations/seadronessee/result_all_classes.json"
    with pytest.raises(ValueError, match="is a list, perhaps of detections"):
        CocoDataset(path)


def test_wrong_areas_are_warned_of(caplog):
    CocoDataset(DATA / "annotations/visdrone/coco_evaluate_dataset.json", check_images=False)
    assert "'area' of 249 annotations is larger than their box" in caplog.text


@pytest.mark.parametrize(
    ("folder", "number"),
    [
        ("voc/bccd", 181),
        ("voc/raccoon", 10),
        ("voc/svhn_train_first100", 220),
        ("voc/deepforest", 61),
        ("tt100k/voc_xml", 549),
    ],
)
def test_voc_files(folder, number):
    images = [read_voc_xml(path) for path in (DATA / "annotations" / folder).glob("*.xml")]
    assert sum(len(image.objects) for image in images) == number


def test_dota_files():
    folder = DATA / "annotations/dota"
    images = [read_dota_labels(path) for path in folder.glob("labelTxt*/*.txt")]
    assert len(images) == 9
    found = [labelled for objects in images for labelled in objects]
    # A line each, but for two lines of header in seven of the files.
    lines = sum(len(p.read_text().splitlines()) for p in folder.glob("labelTxt*/*.txt"))
    assert len(found) == lines - 14
    assert {labelled.name for labelled in found} <= {*DOTA_CLASSES}
    assert {labelled.difficult for labelled in found} == {0, 1}
    rules = TileRules(size=1024, overlap=200)
    on_tiles = [
        tile_object
        for objects in images
        for window in rules.grid.windows((4000, 4000))
        for tile_object in objects_on_crop(outlines_of(objects, rules), window, 0.7)
    ]
    assert len(on_tiles) >= len(found)
    boxes = np.array([tile_object.bbox for tile_object in on_tiles])
    assert boxes.min() >= 0 and (boxes[:, :2] + boxes[:, 2:]).max() <= 1024


def test_bccd_is_read_and_mapped():
    train, val = (CocoDataset(DATA / f"bccd/annotations/{s}.json") for s in ("train", "val"))
    check_same_classes(train, val)
    assert (len(train), len(val)) == (291, 73) and train.classes[0] == "RBC"
    batch = next(iter(build_test_loader(val, DetectionMapper(True), batch_size=4)))
    assert [tuple(sample["image"].shape) for sample in batch] == [(3, 480, 640)] * 4
    assert sum(len(sample["instances"]) for sample in batch) == sum(
        len(val[k]["annotations"]) for k in range(4)
    )
