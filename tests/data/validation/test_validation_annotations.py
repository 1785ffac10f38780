"""Faults of annotation files, put into a sound one, one at a time."""

import math
import re

from lowres_d2.data.validation import Findings, read_split, validate
from lowres_d2.data.validation.text import report_text

import pytest

SIZE_RANGES = {"small": (0, 8), "large": (8, math.inf)}


def checked(path, level="header", **settings):
    findings = Findings()
    split = read_split(path, findings, **settings)
    return validate([split] if split else [], findings, SIZE_RANGES, level=level)


def found(report, severity=None):
    return {
        finding.check.name: finding.count
        for finding in report.findings
        if severity in (None, finding.severity)
    }


@pytest.fixture
def sound(coco):
    """Two classes, one object per image, areas of the boxes: no findings."""
    for k, entry in enumerate(coco.content["annotations"]):
        entry["area"] = entry["bbox"][2] * entry["bbox"][3]
        entry["category_id"] = (3, 7)[k % 2]
    return coco


def test_sound_file_has_no_findings_and_is_counted(sound):
    sound.content["annotations"] += [
        {"id": 50, "image_id": 10, "category_id": 3, "bbox": [30, 2, 20, 20], "area": 400}
    ]
    report = checked(sound.json_file)
    assert not list(report.findings)
    assert report.ok
    summary = report.summaries[0]
    assert (summary.images, summary.empty, summary.objects, summary.crowds) == (6, 0, 7, 0)
    # Boxes of 10 x 8 ... 10 x 13 and 20 x 20: all sqrt(area) over 8.
    assert summary.size_ranges == {"small": 0, "large": 7}
    assert summary.quantiles == pytest.approx((math.sqrt(80), math.sqrt(110), 20.0))
    assert summary.densest[0] == ("0.png", 2)


def test_sizes_have_a_mean_a_deviation_and_shares(sound):
    for entry, side in zip(sound.content["annotations"], (4, 8, 12, 16, 20, 24), strict=True):
        entry.update(bbox=[1, 1, side, side], area=side * side)
    summary = checked(sound.json_file).summaries[0]
    # Squares of the distances from 14: 100, 36, 4, 4, 36, 100.
    assert summary.spread == pytest.approx((14, math.sqrt(280 / 6)))
    assert summary.shares == {20: pytest.approx(5 / 6), 32: 1}
    shape = sound.content["images"][0]["height"], sound.content["images"][0]["width"]
    side = math.sqrt(shape[0] * shape[1])  # of an image, a different shape than a square
    assert summary.relative == pytest.approx((14 / side, math.sqrt(280 / 6) / side))
    assert shape[0] != shape[1]
    text = report_text(checked(sound.json_file))
    assert re.search(r"size: mean ± deviation +14\.0 ± 6\.8\n", text)
    assert re.search(r"size up to 20 px +83\.3%\nsize up to 32 px +100\.0%", text)
    sound.content["annotations"].clear()
    assert "deviation" not in report_text(checked(sound.json_file))


FAULTS = {
    "id-invalid": ("error", lambda c: c["images"][5].update(id="15")),
    "id-twice": ("error", lambda c: c["annotations"][1].update(id=1)),
    "image-unknown": ("error", lambda c: c["annotations"][2].update(image_id=99)),
    "category-unknown": ("error", lambda c: c["annotations"][0].update(category_id=4)),
    "image-invalid": ("error", lambda c: c["images"][0].update(height=0)),
    "category-name": ("error", lambda c: c["categories"][0].update(name=" ")),
    "category-twice": ("error", lambda c: c["categories"][0].update(name="cat")),
    "iscrowd-invalid": ("error", lambda c: c["annotations"][0].update(iscrowd=2)),
    "flag-unread": ("warning", lambda c: c["annotations"][0].update(ignore=True)),
    "category-ignored": ("warning", lambda c: c["categories"][0].update(name="Ignored")),
    "category-zero": ("info", lambda c: c["categories"].append({"id": 0, "name": "dog"})),
    "annotation-zero": ("info", lambda c: c["annotations"][0].update(id=0)),
    "file-twice": ("warning", lambda c: c["images"][1].update(file_name="0.png")),
    "class-empty": ("warning", lambda c: c["categories"].append({"id": 9, "name": "dog"})),
    "box-edge": ("info", lambda c: c["annotations"][0].update(bbox=[-0.5, 2, 10, 8])),
    "box-beyond": ("warning", lambda c: c["annotations"][0].update(bbox=[-3, 2, 10, 8])),
    "box-sub-pixel": ("warning", lambda c: c["annotations"][0].update(bbox=[3, 2, 10, 0.5])),
    "box-whole": ("info", lambda c: c["annotations"][0].update(bbox=[0, 0, 60, 40])),
    "crowds": ("info", lambda c: c["annotations"][2].update(iscrowd=1)),
    "image-empty": ("info", lambda c: c["annotations"].pop()),
    "area-invalid": ("error", lambda c: c["annotations"][0].update(area=math.nan)),
    "area-too-large": ("warning", lambda c: c["annotations"][0].update(area=2400)),
    "area-too-small": ("warning", lambda c: c["annotations"][0].update(area=4)),
    "area-missing": ("info", lambda c: c["annotations"][0].pop("area")),
}


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_is_found_once_with_its_severity(sound, name):
    severity, damage = FAULTS[name]
    damage(sound.content)
    report = checked(sound.json_file)
    assert found(report, severity)[name] == 1
    assert report.ok == (not found(report, "error"))
    finding = next(f for f in report.findings if f.check.name == name)
    assert str(finding.suspects[0])
    assert finding.check.remedy


@pytest.mark.parametrize(
    ("box", "words"),
    [
        ([3, 2, -10, 8], "negative side"),
        ([3, 2, 0, 8], "no area"),
        ([60, 2, 10, 8], "outside"),
        ([3, 2, math.nan, 8], "four finite numbers"),
        ([3, 2, 10], "four finite numbers"),
        (None, "four finite numbers"),
        ({"x": 3}, "four finite numbers"),
    ],
)
def test_invalid_boxes_are_errors_with_their_ids_unless_they_are_skipped(sound, box, words):
    sound.content["annotations"][3]["bbox"] = box
    report = checked(sound.json_file)
    suspect = next(f for f in report.findings if f.check.name == "box-invalid").suspects[0]
    assert (suspect.annotation_id, suspect.image_id, suspect.image) == (4, 13, "3.png")
    assert words in suspect.detail
    assert not report.ok
    skipping = checked(sound.json_file, skips_boxes=True)
    assert skipping.ok
    assert found(skipping, "warning")["box-skipped"] == 1


def test_duplicates_and_boxes_of_two_classes_are_distinguished(sound):
    first = sound.content["annotations"][0]
    sound.content["annotations"] += [
        first | {"id": 20},
        first | {"id": 21},
        first | {"id": 22, "category_id": 7},
        first | {"id": 23, "bbox": [0, 3, 10, 8]},  # a pixel lower: IoU 7/9, another object
    ]
    report = checked(sound.json_file)
    names = found(report)
    assert (names["box-double"], names["box-two-classes"]) == (2, 1)


def test_boxes_of_another_format_are_one_finding(sound):
    for k, entry in enumerate(sound.content["annotations"]):
        entry["bbox"] = [30, 20 + k, 50 + k, 38]  # corners
    assert found(checked(sound.json_file)) == {"box-corners": 6}
    for entry in sound.content["annotations"]:
        entry["bbox"] = [0.5, 0.25, 0.3, 0.2]
    assert found(checked(sound.json_file)) == {"box-fractions": 6}


def test_area_is_an_error_where_the_evaluator_sizes_by_it(sound):
    sound.content["annotations"][0]["area"] = 2400
    assert checked(sound.json_file).ok
    assert not checked(sound.json_file, trusts_area=True).ok
    # A mask may be much smaller than its box.
    sound.content["annotations"][0].update(area=4, segmentation=[[0, 0, 4, 0, 0, 2]])
    assert not list(checked(sound.json_file).findings)


def test_several_faults_at_once_are_all_counted(sound):
    for name in ("id-twice", "image-unknown", "category-zero", "area-too-large"):
        FAULTS[name][1](sound.content)
    names = found(checked(sound.json_file))
    assert {"id-twice", "image-unknown", "category-zero", "area-too-large"} <= set(names)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[{"image_id": 1}]', "perhaps of detections"),
        ('{"images": []', "is not JSON"),
        ('{"annotations": []}', "no list 'images'"),
    ],
)
def test_files_of_no_data_set_are_an_error_and_not_a_crash(tmp_path, text, words):
    path = tmp_path / "data.json"
    path.write_text(text)
    report = checked(path)
    assert found(report, "error") == {"file-unreadable": 1}
    assert words in str(next(iter(report.findings)).suspects[0])


def test_a_file_without_categories_is_one_without_objects(tmp_path):
    path = tmp_path / "data.json"
    path.write_text('{"images": [], "annotations": []}')
    assert found(checked(path), "error") == {"no-objects": 1}


def test_json_record_can_be_written_whatever_the_file_holds(sound):
    import json

    sound.content["annotations"][0].update(bbox=[math.nan, 2, 10**400, math.inf])
    record = checked(sound.json_file).record()
    text = json.dumps(record, allow_nan=False)
    assert json.loads(text)["findings"][0]["check"] == "box-invalid"
    assert record["ok"] is False
