"""Splits of a data set compared with each other and with the model; VOC's files."""

import math

from lowres_d2.data.validation import Findings, read_split, validate
from lowres_d2.data.validation.classes import check_classes
from lowres_d2.data.validation.read import join_splits, split_of_dataset
from lowres_d2.data.validation.report import ModelFacts
from lowres_d2.data.validation.text import report_text

import numpy as np
import pytest
from PIL import Image

SIZE_RANGES = {"all": (0, math.inf)}


@pytest.fixture
def pair(coco, tmp_path):
    """Train and val with other images; give their folders to ``both`` when they are damaged."""
    other = type(coco)(tmp_path / "other")
    for k in range(6):
        pixels = np.random.default_rng(100 + k).integers(0, 256, (40, 60, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(other.image(k))
    return coco, other


def both(pair, classes=None, **settings):
    findings = Findings()
    names = ("train", "val")
    splits = [
        read_split(part.json_file, findings, name, classes=classes)
        for part, name in zip(pair, names, strict=True)
    ]
    return validate(splits, findings, SIZE_RANGES, **settings)


def found(report, severity="error"):
    return {f.check.name: f for f in report.findings if f.severity == severity}


def test_separate_splits_with_the_same_classes_have_no_errors(pair):
    assert both(pair).ok


@pytest.mark.parametrize("level", ["header", "full"])
def test_images_in_both_splits_are_found_by_content_whatever_their_names(pair, level):
    train, val = pair
    val.image(4).write_bytes(train.image(1).read_bytes())
    finding = found(both(pair, level=level))["overlap"]
    assert (finding.count, finding.split) == (1, "val")
    assert finding.suspects[0].image == "4.png"
    assert finding.suspects[0].detail == "is 1.png of train"


def test_equal_length_alone_is_no_overlap(pair):
    train, val = pair
    content = bytearray(train.image(1).read_bytes())
    content[-13] ^= 1  # in the checksum of the pixels, which headers do not show
    val.image(4).write_bytes(content)
    assert "overlap" not in found(both(pair, level="header"))


def test_the_same_pixels_in_another_file_are_found_by_decoding(pair):
    train, val = pair
    Image.open(train.image(1)).save(val.folder / "images" / "copy.bmp")
    val.content["images"][4]["file_name"] = "copy.bmp"
    assert "overlap" not in found(both(pair, level="draft"))
    assert found(both(pair, level="full"))["overlap"].count == 1


def test_copies_within_a_split_are_a_warning(pair):
    train, _ = pair
    train.image(2).write_bytes(train.image(1).read_bytes())
    report = both(pair)
    assert report.ok
    assert found(report, "warning")["image-twice"].split == "train"


def test_the_same_file_for_both_splits_is_an_overlap_of_every_image(coco):
    assert found(both((coco, coco)))["overlap"].count == 6


def test_class_lists_are_compared_by_position(pair):
    pair[1].content["categories"] = [{"id": 3, "name": "cat"}, {"id": 9, "name": "moose"}]
    finding = found(both(pair))["classes-differ"]
    assert [str(s) for s in finding.suspects] == ["1: mouse (train) | moose (val)"]
    text = report_text(both(pair))
    assert "moose (0)" in text
    assert "mouse (0)" in text


def test_other_ids_for_the_same_classes_are_no_error(pair):
    pair[1].content["categories"] = [{"id": 30, "name": "cat"}, {"id": 31, "name": "mouse"}]
    for entry in pair[1].content["annotations"]:
        entry["category_id"] = 30
    assert both(pair).ok


def test_classes_that_are_only_evaluated_are_reported(pair):
    pair[1].content["annotations"][0]["category_id"] = 7
    finding = found(both(pair), "warning")["class-not-trained"]
    assert str(finding.suspects[0]) == "mouse: 1 objects"


def test_model_and_weights_are_compared_with_the_classes(pair):
    facts = ModelFacts({"model.head.num_classes": 2, "model.num_classes": 80}, ["cat", "dog"])
    report = both(pair, model=facts)
    assert str(found(report)["classes-model"].suspects[0]) == (
        "model.num_classes is 80, the data has 2"
    )
    text = report_text(report)
    assert "init_checkpoint" in text
    assert "model: num_classes 2/80" in text
    trained = found(report, "warning")["classes-trained"].suspects
    assert [str(s) for s in trained] == ["1: dog (init_checkpoint) | mouse (train)"]


def test_classes_that_the_file_does_not_have_are_an_error(coco):
    findings = Findings()
    split = read_split(coco.json_file, findings, classes=["mouse", "dog"])
    check_classes([split], findings)
    names = {f.check.name: [str(s) for s in f.suspects] for f in findings}
    assert names["class-unknown"] == ["dog"]
    assert split.class_list == ["mouse", "dog"]


def test_caps_on_detections_are_compared_with_the_densest_image(pair):
    first = pair[1].content["annotations"][0]
    pair[1].content["annotations"] += [
        first | {"id": 100 + k, "bbox": [k % 50, k // 4, 5, 5]} for k in range(120)
    ]
    facts = ModelFacts(max_dets=100, caps={"model.test_topk": 60, "model.num_queries": 300})
    report = both(pair, model=facts)
    capped = found(report, "warning")["max-dets"].suspects
    assert [str(s) for s in capped] == ["max_dets is 100, 0.png has 121 objects"]
    assert len(found(report, "warning")["model-cap"].suspects) == 1
    assert found(report, "info")["denser-than-100"].suspects[0].detail == "121 objects"


def test_no_detections_that_count_are_an_error(pair):
    report = both(pair, model=ModelFacts(max_dets=0))
    assert [str(s) for s in found(report)["max-dets-none"].suspects] == ["max_dets is 0"]


def test_no_objects_at_all_is_an_error(pair):
    pair[1].content["annotations"] = []
    assert found(both(pair))["no-objects"].split == "val"


def test_built_data_sets_of_any_kind_can_be_validated(coco):
    from lowres_d2.data.datasets import CocoDataset

    split = split_of_dataset(CocoDataset(coco.json_file), "val")
    findings = Findings()
    report = validate([split], findings, SIZE_RANGES)
    assert report.ok
    assert report.summaries[0].objects == 6
    assert split.images[0]["file_name"] == "0.png"
    assert "file-outside" not in {finding.check.name for finding in findings}


VOC = """<annotation><filename>{name}.jpg</filename>
<size><width>60</width><height>40</height></size>{objects}</annotation>"""
OBJECT = """<object><name>{}</name><difficult>{}</difficult><bndbox><xmin>{}</xmin><ymin>{}</ymin>
<xmax>{}</xmax><ymax>{}</ymax></bndbox></object>"""


def write_voc(folder, objects):
    """VOC's folders, with one image for each list of objects."""
    for part in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (folder / part).mkdir(parents=True)
    for k, boxes in enumerate(objects):
        pixels = np.random.default_rng(k).integers(0, 256, (40, 60, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "JPEGImages" / f"{k}.jpg")
        text = VOC.format(name=k, objects="".join(OBJECT.format(*box) for box in boxes))
        (folder / "Annotations" / f"{k}.xml").write_text(text)
    names = "\n".join(str(k) for k in range(len(objects)))
    path = folder / "ImageSets" / "Main" / "train.txt"
    path.write_text(names)
    return path


OBJECTS = [[("cat", 0, 1, 1, 20, 20), ("dog", 1, 5, 5, 30, 30)], [("dog", 0, 11, 11, 60, 40)]]


@pytest.mark.parametrize("by_list", [True, False])
def test_voc_is_read_from_a_list_or_a_folder(tmp_path, by_list):
    path = write_voc(tmp_path / "VOC2007", OBJECTS)
    findings = Findings()
    split = read_split(path if by_list else tmp_path / "VOC2007", findings)
    report = validate([split], findings, SIZE_RANGES)
    assert report.ok
    assert split.class_list == ["cat", "dog"]
    assert split.objects[0]["bbox"] == [0, 0, 20, 20]  # VOC counts from 1 and includes the last
    assert report.summaries[0].crowds == 1


def test_voc_files_that_cannot_be_read_are_errors_and_other_classes_left_out(tmp_path):
    path = write_voc(tmp_path / "VOC2007", [*OBJECTS, [("cow", 0, 50, 1, 20, 20)]])
    (tmp_path / "VOC2007" / "Annotations" / "1.xml").write_text("<annotation>")
    findings = Findings()
    split = read_split(path, findings, classes=["cat", "dog", "cow"])
    report = validate([split], findings, SIZE_RANGES)
    assert set(found(report)) == {"file-unreadable", "box-invalid"}
    findings = Findings()
    split = read_split(path, findings, classes=["cat", "dog"])
    report = validate([split], findings, SIZE_RANGES)
    # Left out, as in training.
    assert set(found(report)) == {"file-unreadable"} and split.class_list == ["cat", "dog"]


def test_years_of_voc_with_other_classes_are_numbered_by_name(tmp_path):
    paths = [
        write_voc(tmp_path / f"VOC{year}", [[(name, 0, 1, 1, 20, 20)]])
        for year, name in ((2007, "cow"), (2012, "ant"))
    ]
    findings = Findings()
    split = join_splits([read_split(path, findings, "train", classes=["cat"]) for path in paths])
    assert [split.name_of[entry["category_id"]] for entry in split.annotations] == ["cow", "ant"]


def test_a_split_may_lack_classes_of_the_first(pair):
    classes = ["cat", "mouse"]
    pair[1].content["categories"] = [{"id": 3, "name": "cat"}]
    report = both(pair)
    assert not found(report, "error") and "class-lacking" in found(report, "warning")
    report = both(pair, classes=classes)
    assert not found(report, "error") and "class-lacking" in found(report, "warning")
    report = both(pair[::-1], classes=classes)  # the training set may not
    assert "class-unknown" in found(report, "error")


def test_years_of_voc_are_one_split(tmp_path):
    paths = [write_voc(tmp_path / f"VOC{year}", OBJECTS) for year in (2007, 2012)]
    findings = Findings()
    names = ["cat", "dog"]
    split = join_splits([read_split(path, findings, "train", classes=names) for path in paths])
    report = validate([split], findings, SIZE_RANGES)
    assert len(split.image_of) == 4
    assert len(split.boxed) == 6
    assert report.ok
    # Both years have the same images here, which shows that the files of both are found.
    assert found(report, "warning")["image-twice"].count == 2
