import os

import lowres_d2

import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.datasets import load_voc_instances, register_pascal_voc
from detectron2.data.datasets.builtin import _PREDEFINED_SPLITS_COCO
from detectron2.data.datasets.builtin_meta import COCO_CATEGORIES
from detectron2.structures import BoxMode

XML = """<annotation><size><width>50</width><height>40</height><depth>3</depth></size>
<object><name>{name}</name><difficult>1</difficult>
<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>50</xmax><ymax>40</ymax></bndbox></object></annotation>"""


@pytest.fixture
def voc(tmp_path):
    for folder in ("Annotations", "ImageSets/Main", "JPEGImages"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "ImageSets/Main/val.txt").write_text("000012\n000007\n")
    for stem, name in (("000012", "cat"), ("000007", "dog")):
        (tmp_path / f"Annotations/{stem}.xml").write_text(XML.format(name=name))
    return tmp_path


def test_voc_boxes_start_at_zero_and_keep_the_order_of_the_list(voc):
    first, second = load_voc_instances(str(voc), "val", ["dog", "cat"])
    assert first == {
        "file_name": str(voc / "JPEGImages" / "000012.jpg"),
        "image_id": "000012",
        "height": 40,
        "width": 50,
        "annotations": [
            {"category_id": 1, "bbox": [0.0, 1.0, 50.0, 40.0], "bbox_mode": BoxMode.XYXY_ABS}
        ],
    }
    assert second["image_id"] == "000007" and second["annotations"][0]["category_id"] == 0


def test_a_voc_set_is_registered_with_its_facts(voc):
    register_pascal_voc("test_voc", str(voc), "val", 2012, ["dog", "cat"])
    assert len(DatasetCatalog.get("test_voc")) == 2
    facts = MetadataCatalog.get("test_voc").as_dict()
    assert facts["thing_classes"] == ["dog", "cat"]
    assert (facts["dirname"], facts["year"], facts["split"]) == (str(voc), 2012, "val")
    DatasetCatalog.remove("test_voc")
    MetadataCatalog.remove("test_voc")


@pytest.mark.skipif(lowres_d2.detectron2_provider() != "bundled", reason="wording of the core")
@pytest.mark.parametrize(
    ("xml", "words"), [(XML.format(name="cow"), "cow"), ("<annotation>", "not an annotation")]
)
def test_a_wrong_voc_file_is_named(voc, xml, words):
    (voc / "Annotations/000007.xml").write_text(xml)
    with pytest.raises(ValueError, match=rf"000007\.xml.*{words}"):
        load_voc_instances(str(voc), "val", ["dog", "cat"])


def test_coco_has_its_eighty_classes():
    things = [category for category in COCO_CATEGORIES if category["isthing"]]
    assert len(things) == 80
    assert [c["id"] for c in things] == sorted({c["id"] for c in things})
    gaps = set(range(1, 91)) - {c["id"] for c in things}
    assert gaps == {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}
    metadata = MetadataCatalog.get("coco_2017_train")
    assert [metadata.thing_classes[i] for i in (0, 2, 79)] == ["person", "car", "toothbrush"]
    assert metadata.thing_dataset_id_to_contiguous_id[90] == 79
    assert len(metadata.thing_colors) == 80


@pytest.mark.parametrize(
    ("name", "fact", "ending"),
    [
        ("coco_2017_val", "json_file", "coco/annotations/instances_val2017.json"),
        ("coco_2017_val", "image_root", "coco/val2017"),
        ("coco_2014_minival", "image_root", "coco/val2014"),
        ("coco_2017_val_100", "json_file", "coco/annotations/instances_val2017_100.json"),
        ("voc_2007_test", "dirname", "VOC2007"),
        ("voc_2012_trainval", "dirname", "VOC2012"),
    ],
)
def test_well_known_names_lie_in_their_places(name, fact, ending):
    root = os.path.expanduser(os.getenv("DETECTRON2_DATASETS", "datasets"))
    assert getattr(MetadataCatalog.get(name), fact) == os.path.join(root, ending)
    assert name in DatasetCatalog


def test_the_splits_of_coco_are_listed_by_name():
    splits = _PREDEFINED_SPLITS_COCO["coco"]
    assert len(splits) == 9
    assert splits["coco_2017_val"] == ("coco/val2017", "coco/annotations/instances_val2017.json")
    assert splits["coco_2017_test-dev"][1] == "coco/annotations/image_info_test-dev2017.json"
