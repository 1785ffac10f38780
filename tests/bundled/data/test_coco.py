import json

import lowres_d2

import numpy as np
import pycocotools.mask as mask_util
import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.datasets import convert_to_coco_json, load_coco_json, register_coco_instances
from detectron2.data.datasets.coco import convert_to_coco_dict
from detectron2.structures import BoxMode

bundled_only = pytest.mark.skipif(
    lowres_d2.detectron2_provider() != "bundled", reason="wording of the bundled core"
)


def content(**changes):
    base = {
        "images": [
            {"id": 7, "file_name": "b.jpg", "height": 30, "width": 40},
            {"id": 2, "file_name": "a.jpg", "height": 10, "width": 20},
        ],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 9, "bbox": [1, 2, 3, 4], "iscrowd": 0},
            {"id": 2, "image_id": 7, "category_id": 4, "bbox": [5, 6, 7.5, 8], "iscrowd": 1},
        ],
        "categories": [{"id": 9, "name": "nine"}, {"id": 4, "name": "four"}],
    }
    return base | changes


@pytest.fixture
def name():
    yield "test_coco_set"
    for catalog in (DatasetCatalog, MetadataCatalog):
        catalog.data.pop("test_coco_set", None)


@pytest.fixture
def write(tmp_path):
    def make(**changes):
        path = tmp_path / "instances.json"
        path.write_text(json.dumps(content(**changes)))
        return str(path)

    return make


def test_images_come_by_id_with_contiguous_classes(write, name):
    first, second = load_coco_json(write(), "root", name)
    assert first == {
        "file_name": "root/a.jpg",
        "height": 10,
        "width": 20,
        "image_id": 2,
        "annotations": [],
    }
    assert second["image_id"] == 7
    assert second["annotations"] == [
        {"iscrowd": 0, "bbox": [1, 2, 3, 4], "category_id": 1, "bbox_mode": BoxMode.XYWH_ABS},
        {"iscrowd": 1, "bbox": [5, 6, 7.5, 8], "category_id": 0, "bbox_mode": BoxMode.XYWH_ABS},
    ]
    metadata = MetadataCatalog.get(name)
    assert metadata.thing_classes == ["four", "nine"]
    assert metadata.thing_dataset_id_to_contiguous_id == {4: 0, 9: 1}


def test_without_a_name_class_ids_stay_those_of_the_json(write):
    objects = load_coco_json(write(), "")[1]["annotations"]
    assert [a["category_id"] for a in objects] == [9, 4]


def test_extra_keys_are_kept_where_asked(write):
    annotations = content()["annotations"]
    annotations[0]["ignore_region"] = annotations[1]["other"] = 1
    file = write(annotations=annotations)
    objects = load_coco_json(file, "", extra_annotation_keys=["ignore_region"])[1]["annotations"]
    assert objects[0]["ignore_region"] == 1 and "other" not in objects[1]


def test_invalid_polygons_are_dropped_and_rle_is_compressed(write):
    mask = np.zeros((30, 40), np.uint8, order="F")
    mask[3:9, 2:7] = 1
    runs = np.diff(np.flatnonzero(np.diff(mask.flatten("F"), prepend=2, append=2)))
    good, bad = [1, 1, 5, 1, 5, 5], [1, 1, 5, 1]
    polygons, none, rle = content()["annotations"] + [content()["annotations"][0] | {"id": 3}]
    polygons["segmentation"] = [good, bad]
    none["segmentation"] = [bad]
    rle["segmentation"] = {"counts": runs.tolist(), "size": [30, 40]}
    objects = load_coco_json(write(annotations=[polygons, none, rle]), "")[1]["annotations"]
    assert len(objects) == 2
    assert objects[0]["segmentation"] == [good]
    np.testing.assert_array_equal(mask_util.decode(objects[1]["segmentation"]), mask)


def test_keypoints_become_pixel_centres(write):
    annotation = content()["annotations"][0] | {"keypoints": [3, 4, 2, 0, 0, 0]}
    loaded = load_coco_json(write(annotations=[annotation]), "")[1]["annotations"][0]
    assert loaded["keypoints"] == [3.5, 4.5, 2, 0.5, 0.5, 0]


@bundled_only
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"category_id": 5}, "category_id 5"),
        ({"bbox": []}, "bbox"),
        ({"ignore": 1}, "ignore"),
        ({"id": 2}, "id 2 is used twice"),
    ],
)
def test_a_wrong_annotation_is_named_with_its_file(write, name, change, words):
    annotations = content()["annotations"]
    annotations[0] |= change
    with pytest.raises(ValueError, match=rf"instances\.json.*{words}"):
        load_coco_json(write(annotations=annotations), "", name)


@bundled_only
def test_a_json_of_results_is_refused(tmp_path):
    path = tmp_path / "results.json"
    path.write_text("[]")
    with pytest.raises(ValueError, match=r"results\.json.*images"):
        load_coco_json(str(path), "")


def test_a_data_set_goes_to_json_and_back(name, tmp_path):
    images = [
        {
            "file_name": "x.png",
            "image_id": 5,
            "height": 8,
            "width": 9,
            "annotations": [
                {"bbox": [1, 2, 4, 6], "bbox_mode": BoxMode.XYXY_ABS, "category_id": 1},
                {
                    "bbox": [0, 0, 2, 3],
                    "bbox_mode": BoxMode.XYWH_ABS,
                    "category_id": 0,
                    "iscrowd": 1,
                },
            ],
        }
    ]
    DatasetCatalog.register(name, lambda: images)
    MetadataCatalog.get(name).set(
        thing_classes=["a", "b"], thing_dataset_id_to_contiguous_id={3: 0, 8: 1}
    )
    written = convert_to_coco_dict(name)
    assert written["images"] == [{"id": 5, "width": 9, "height": 8, "file_name": "x.png"}]
    assert [(a["bbox"], a["area"], a["iscrowd"]) for a in written["annotations"]] == [
        ([1, 2, 3, 4], 12, 0),
        ([0, 0, 2, 3], 6, 1),
    ]
    assert [a["category_id"] for a in written["annotations"]] == [8, 3]
    assert [c["name"] for c in written["categories"]] == ["a", "b"]
    file = tmp_path / "cache" / "out.json"
    convert_to_coco_json(name, str(file))
    (back,) = load_coco_json(str(file), "")
    assert [a["bbox"] for a in back["annotations"]] == [[1, 2, 3, 4], [0, 0, 2, 3]]
    assert [path.name for path in file.parent.iterdir() if path.suffix != ".lock"] == ["out.json"]


@pytest.mark.parametrize("allow_cached", [True, False])
def test_an_existing_json_is_kept_only_if_cached_ones_are_allowed(name, tmp_path, allow_cached):
    DatasetCatalog.register(name, list)
    MetadataCatalog.get(name).thing_classes = ["a"]
    file = tmp_path / "out.json"
    file.write_text("{}")
    convert_to_coco_json(name, str(file), allow_cached=allow_cached)
    assert (json.loads(file.read_text()) == {}) == allow_cached


def test_areas_of_masks(name):
    mask = np.zeros((10, 10), np.uint8, order="F")
    mask[2:5, 3:9] = 1
    square = [[1, 1, 5, 1, 5, 4, 1, 4], [6, 6, 8, 6, 8, 8]]
    objects = [
        {"bbox": [0, 0, 9, 9], "bbox_mode": 0, "category_id": 0, "segmentation": segmentation}
        for segmentation in (square, mask_util.encode(mask))
    ]
    image = {"file_name": "x", "image_id": 0, "height": 10, "width": 10, "annotations": objects}
    DatasetCatalog.register(name, lambda: [image])
    MetadataCatalog.get(name).thing_classes = ["a"]
    written = convert_to_coco_dict(name)
    assert [a["area"] for a in written["annotations"]] == [12 + 2, 18]
    json.dumps(written)  # no bytes, no numpy numbers
    assert objects[0]["segmentation"] is square


def test_registering_reads_only_when_asked(write, name):
    register_coco_instances(name, {"owner": "me"}, write(), "root")
    metadata = MetadataCatalog.get(name)
    assert (metadata.evaluator_type, metadata.image_root, metadata.owner) == ("coco", "root", "me")
    assert metadata.get("thing_classes") is None
    assert len(DatasetCatalog.get(name)) == 2
    assert metadata.thing_classes == ["four", "nine"]


@bundled_only
def test_registering_again_is_fine_for_the_same_files_only(write, name):
    file = write()
    register_coco_instances(name, {}, file, "root")
    register_coco_instances(name, {}, file, "root")
    with pytest.raises(AssertionError, match=name):
        register_coco_instances(name, {}, file, "elsewhere")
    assert MetadataCatalog.get(name).image_root == "root"
