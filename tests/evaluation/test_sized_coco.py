from __future__ import annotations

import json
import logging

from lowres_d2.evaluation import SizedCOCOEvaluator

import pytest
import torch
from detectron2.structures import Boxes, Instances
from detectron2.utils import comm


class Truth:
    """Ground truth from rows of (image id, class, x, y, width, height)."""

    classes = ["cat", "dog"]
    category_ids = [7, 3]

    def __init__(self, rows, **extra):
        images = sorted({row[0] for row in rows})
        self.rows = rows
        self.coco = {
            "images": [{"id": k, "height": 600, "width": 600} for k in images],
            "categories": [{"id": 7, "name": "cat"}, {"id": 3, "name": "dog"}],
            "annotations": [
                {
                    "id": k,
                    "image_id": row[0],
                    "category_id": self.category_ids[row[1]],
                    "bbox": list(row[2:]),
                    "iscrowd": 0,
                    **extra,
                }
                for k, row in enumerate(rows)
            ],
        }

    def coco_dict(self):
        return self.coco

    def perfect(self, image_id, keep=lambda row: True):
        """The detector's input and output of an image where it finds all (or the kept) objects."""
        rows = [row for row in self.rows if row[0] == image_id and keep(row)]
        x, y, w, h = torch.tensor([row[2:] for row in rows]).reshape(-1, 4).float().unbind(1)
        found = Instances((600, 600))
        found.pred_boxes = Boxes(torch.stack([x, y, x + w, y + h], 1))
        found.scores = torch.linspace(0.9, 0.5, len(rows))
        found.pred_classes = torch.tensor([row[1] for row in rows], dtype=torch.long)
        return {"image_id": image_id}, {"instances": found}


FEW = Truth([(5, 0, 10, 10, 10, 10), (5, 1, 100, 100, 50, 50), (9, 1, 10, 10, 20, 20)])


def run(evaluator, truth, image_ids, **kwargs):
    for image_id in image_ids:
        given, output = truth.perfect(image_id, **kwargs)
        evaluator.process([given], [output])
    return evaluator.evaluate()["bbox"]


def test_perfect_detections_score_100_and_an_empty_size_range_has_no_value():
    evaluator = SizedCOCOEvaluator(FEW)
    result = run(evaluator, FEW, [5, 9])
    keys = ("AP", "AP50", "AP75", "AR", "AP-small", "AP-medium", "AP-cat", "AP-dog")
    assert [result[key] for key in keys] == pytest.approx([100] * 8)
    assert result["AP-large"] is None and result["AR-large"] is None
    assert [result[f"GT-{b}"] for b in ("all", "small", "medium", "large")] == [3, 2, 1, 0]
    assert result["AR1"] == pytest.approx(100)
    assert "n/a (0 GT)" in evaluator.tables() and "| -1" not in evaluator.tables()


def test_a_missed_object_lowers_only_its_size_range_and_class():
    result = run(SizedCOCOEvaluator(FEW), FEW, [5, 9], keep=lambda row: row[4] < 50)
    assert result["AP-small"] == pytest.approx(100)
    assert result["AP-medium"] == 0 and result["AP-cat"] == pytest.approx(100)
    assert result["AP-dog"] == pytest.approx(100 * 51 / 101)  # recall 1/2: 51 of 101 levels


def test_dense_images_are_not_cut_at_100_detections():
    rows = [(k, 0, 20 * (i % 20), 20 * (i // 20), 12, 12) for k in range(3) for i in range(300)]
    dense = Truth(rows)
    evaluator = SizedCOCOEvaluator(dense)
    assert evaluator.max_dets == 450
    assert run(evaluator, dense, range(3))["AP"] == pytest.approx(100)
    assert SizedCOCOEvaluator(FEW).max_dets == 100


def test_a_benchmarks_own_cap_counts_though_an_image_is_denser(caplog):
    rows = [(k, 0, 20 * (i % 20), 20 * (i // 20), 12, 12) for k in range(2) for i in range(300)]
    dense = Truth([*rows, (2, 1, 0, 0, 12, 12)])
    with caplog.at_level(logging.WARNING):
        evaluator = SizedCOCOEvaluator(dense, max_dets=150)
    assert "max_dets=150, but image 0 has 300 objects" in caplog.text
    result = run(evaluator, dense, range(3))
    assert result["max-dets"] == 150
    assert result["AR"] == pytest.approx((50 + 100) / 2)  # of two classes
    caplog.clear()
    SizedCOCOEvaluator(dense, max_dets=300)
    assert not caplog.text
    with pytest.raises(ValueError, match="max_dets=0: expected 1 or more"):
        SizedCOCOEvaluator(dense, max_dets=0)


def test_a_model_that_stops_early_is_reported(caplog):
    rows = [(k, 0, 20 * i, 0, 12, 12) for k in range(2) for i in range(9)]
    truth = Truth(rows)
    with caplog.at_level(logging.WARNING):
        run(SizedCOCOEvaluator(truth), truth, range(2), keep=lambda row: row[2] < 100)
    assert "no image has more than 5 detections, but the densest has 9" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        run(SizedCOCOEvaluator(truth), truth, range(2), keep=lambda row: False)
    assert "no image has more" not in caplog.text  # no cap leaves nothing


def test_sizes_come_from_boxes_unless_the_file_is_to_be_trusted():
    masks = Truth(FEW.rows, area=90)  # of thin objects
    assert run(SizedCOCOEvaluator(masks), masks, [5, 9])["GT-small"] == 2
    assert run(SizedCOCOEvaluator(masks, area="annotation"), masks, [5, 9])["GT-small"] == 3
    wrong = Truth(FEW.rows, area=600 * 600)  # the area of the image, as in a known file
    assert run(SizedCOCOEvaluator(wrong), wrong, [5, 9])["GT-large"] == 0
    with pytest.raises(ValueError, match="'area' of 3 of 3 annotations is larger than their box"):
        SizedCOCOEvaluator(wrong, area="annotation")
    with pytest.raises(ValueError, match="annotation 0 has no 'area'"):
        SizedCOCOEvaluator(FEW, area="annotation")


def test_tables_say_why_size_ranges_do_not_add_up():
    edge = Truth([(5, 0, 0, 0, 32, 32), (5, 1, 100, 100, 50, 50)])
    evaluator = SizedCOCOEvaluator(edge)
    run(evaluator, edge, [5])
    text = evaluator.tables()
    assert "| small (<=32 px)   | 1 " in text and "| medium (32-96 px) | 2 " in text
    why = "objects exactly as large as an edge count in both size ranges, as in COCO: they add up"
    assert text.count(why) == text.count(f"{why} to 3 of 2 objects") == 1  # of both tables
    finer = Truth([*edge.rows, (5, 1, 200, 200, 16, 16)])  # 16 is an edge of the finer sizes alone
    evaluator = SizedCOCOEvaluator(finer)
    run(evaluator, finer, [5])
    text = evaluator.tables()
    assert text.count(f"{why} to 4 of 3 objects") == 1
    assert text.endswith("they add up to 5 of 3 objects") and text.count(why) == 1
    evaluator = SizedCOCOEvaluator(FEW)
    run(evaluator, FEW, [5, 9])
    assert "add up" not in evaluator.tables()


def test_crowds_are_neither_objects_nor_false_positives():
    truth = Truth([*FEW.rows, (9, 1, 300, 300, 200, 200)])
    truth.coco["annotations"][-1]["iscrowd"] = 1
    result = run(SizedCOCOEvaluator(truth), truth, [5, 9])
    assert result["GT-all"] == 3 and result["GT-large"] == 0
    assert result["AP"] == pytest.approx(100)


def test_an_image_seen_by_two_ranks_counts_once(monkeypatch):
    other = SizedCOCOEvaluator(FEW)
    for image_id in (9, 5):
        given, output = FEW.perfect(image_id)
        other.process([given], [output])
    monkeypatch.setattr(comm, "gather", lambda found, dst: [other._found, found])
    assert run(SizedCOCOEvaluator(FEW), FEW, [5])["AP"] == pytest.approx(100)


def test_other_ranks_return_nothing(monkeypatch):
    monkeypatch.setattr(comm, "is_main_process", lambda: False)
    assert SizedCOCOEvaluator(FEW).evaluate() == {}


def test_no_detections_score_zero_and_images_not_shown_are_reported(caplog):
    with caplog.at_level(logging.WARNING):
        result = run(SizedCOCOEvaluator(FEW), FEW, [9], keep=lambda row: False)
    assert result["AP"] == 0 and result["AP-small"] == 0
    assert "1 of 2 images were not shown to the model" in caplog.text


def test_own_thresholds_and_size_ranges_decide_the_keys(tmp_path):
    evaluator = SizedCOCOEvaluator(
        FEW, size_ranges=[0, 15, None], iou_thresholds=[0.5, 0.25], output_dir=tmp_path / "new"
    )
    result = run(evaluator, FEW, [5, 9])
    assert result["AP50-0-15"] == pytest.approx(100) and "AP75" not in result
    summary = json.loads((tmp_path / "new" / "sized_coco.json").read_text())
    assert [row["GT"] for row in summary["size_ranges"]] == [1, 2]
    assert sum(row["GT"] for row in summary["sizes"]) == 3
    detections = json.loads((tmp_path / "new" / "coco_instances_results.json").read_text())
    assert detections[0].keys() == {"image_id", "category_id", "bbox", "score"}
    assert {d["category_id"] for d in detections} == {7, 3}
    assert [d["bbox"] for d in detections] == [a["bbox"] for a in FEW.coco["annotations"]]
    assert sorted(p.name for p in (tmp_path / "new").iterdir() if p.suffix) == [
        "coco_instances_results.json",
        "sized_coco.json",
    ]


def test_evaluating_again_after_reset_forgets_the_first_run():
    evaluator = SizedCOCOEvaluator(FEW)
    run(evaluator, FEW, [5, 9])
    evaluator.reset()
    assert evaluator.evaluate()["bbox"]["AP"] == 0


def test_wrong_input_is_named():
    evaluator = SizedCOCOEvaluator(FEW)
    given, output = FEW.perfect(5)
    evaluator.process([given | {"image_id": 77}], [output])
    with pytest.raises(ValueError, match="image 77, which the ground truth does not have"):
        evaluator.evaluate()
    evaluator.reset()
    output["instances"].pred_classes += 1
    evaluator.process([given], [output])
    with pytest.raises(ValueError, match="found class 2, the data set has 2 classes"):
        evaluator.evaluate()
    with pytest.raises(ValueError, match="'cat' has the name of a class"):
        SizedCOCOEvaluator(FEW, size_ranges={"cat": [0, 9]})
    with pytest.raises(ValueError, match=r"the test set: has no objects to find, .*--eval-only"):
        SizedCOCOEvaluator(Truth([]))
    with pytest.raises(ValueError, match="expected 'box' or 'annotation'"):
        SizedCOCOEvaluator(FEW, area="mask")
    with pytest.raises(RuntimeError, match="call evaluate"):
        SizedCOCOEvaluator(FEW).tables()


def test_detections_with_nan_are_left_out(tmp_path, caplog):
    evaluator = SizedCOCOEvaluator(FEW, output_dir=tmp_path)
    for image_id in (5, 9):
        given, output = FEW.perfect(image_id)
        if image_id == 5:
            output["instances"].scores[0] = float("nan")
            output["instances"].pred_boxes.tensor[1, 2] = float("inf")
        evaluator.process([given], [output])
    found = evaluator.evaluate()["bbox"]
    assert found["AP-cat"] == 0 and 0 < found["AP-dog"] < 60
    assert "for 1 of 2 images (such as image 5); detections are left out there" in caplog.text
    rows = json.loads((tmp_path / "coco_instances_results.json").read_text())
    assert [row["image_id"] for row in rows] == [9]


def test_images_of_one_id_are_refused():
    twice = Truth([(5, 0, 10, 10, 10, 10)])
    twice.coco["images"] *= 2
    with pytest.raises(ValueError, match="2 images have the image_id 5"):
        SizedCOCOEvaluator(twice)
