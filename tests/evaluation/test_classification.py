from __future__ import annotations

import json

from lowres_d2.data.datasets.sample import EvenSample
from lowres_d2.evaluation import ClassificationEvaluator

import pytest
import torch


class Images(list):
    """Labelled images of some classes."""

    source = "toys"

    def __init__(self, labels, classes):
        super().__init__({"image_id": k + 1, "label": label} for k, label in enumerate(labels))
        self.classes = list(classes)


def scores(best, number=7):
    """Scores that order the classes: those of ``best`` first, the others as they are."""
    values = torch.arange(number, 0, -1).float()
    for rank, label in enumerate(best):
        values[label] = 100 - rank
    return values.softmax(0)


def evaluated(dataset, predictions, number=7, **arguments):
    evaluator = ClassificationEvaluator(dataset, **arguments)
    for record, best in zip(dataset, predictions, strict=False):
        evaluator.process([{"image_id": record["image_id"]}], [{"scores": scores(best, number)}])
    return evaluator


def test_accuracy_is_the_share_of_images():
    dataset = Images([0, 0, 1, 6], "abcdefg")
    # Right, right as the second, right, and not among the first five.
    evaluator = evaluated(dataset, [[0], [3, 0], [1], [0, 1, 2, 3, 4, 6]])
    assert evaluator.evaluate() == {
        "classification": {"top1": 50, "top5": 75, "top1-a": 50, "top1-b": 100, "top1-g": 0}
        | {f"top1-{name}": None for name in "cdef"}
    }


def test_five_classes_have_no_top5():
    evaluator = evaluated(Images([0, 4], "abcde"), [[0], [0]], number=5)
    assert evaluator.columns == ("top1",)
    assert evaluator.evaluate()["classification"] == {
        "top1": 50,
        "top1-a": 100,
        "top1-e": 0,
    } | dict.fromkeys(("top1-b", "top1-c", "top1-d"))
    assert "top5" not in evaluator.tables()


def test_announced_metrics_are_the_returned_ones():
    evaluator = evaluated(Images([0, 0, 1, 6], "abcdefg"), [[0]] * 4)
    announced = evaluator.metric_objects()
    returned = evaluator.evaluate()["classification"]
    assert {name.split("/")[1] for name in announced} == returned.keys()
    assert announced["classification/top1"] == 4
    for name, count in announced.items():
        assert (returned[name.split("/")[1]] is None) == (count == 0)
    assert evaluator.main_metric in announced
    assert all(f"classification/{name}" in announced for name in evaluator.columns)


def test_predictions_and_summary_are_written(tmp_path):
    dataset = Images([2, 0], "abcdefg")
    evaluator = evaluated(dataset, [[2, 5], [4]], output_dir=tmp_path / "run")
    (tmp_path / "run").mkdir()
    evaluator.evaluate()
    first, second = json.loads((tmp_path / "run" / evaluator.predictions).read_text())
    assert first["image_id"] == 1
    assert first["label"] == 2
    assert first["classes"] == [2, 5, 0, 1, 3]
    assert first["scores"] == pytest.approx(scores([2, 5])[[2, 5, 0, 1, 3]].tolist())
    assert second["classes"][0] == 4
    summary = json.loads((tmp_path / "run" / "classification_summary.json").read_text())
    assert summary["all"] == {"name": "all", "GT": 2, "top1": 50, "top5": 100}
    assert [row["GT"] for row in summary["classes"]] == [1, 0, 1, 0, 0, 0, 0]


def test_tables_say_the_standard_error_and_each_class():
    evaluator = evaluated(Images([0, 0, 0, 1], "abcdefg"), [[0], [0], [0], [0]])
    evaluator.evaluate()
    text = evaluator.tables()
    # sqrt(0.75 * 0.25 / 4) = 0.2165
    assert text.startswith("4 images, metrics in percent; standard error of top1 over images 21.65")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.split("\n")]
    assert ["all", "4", "75.0", "100.0"] in rows
    assert ["b", "1", "0.0", "100.0"] in rows
    assert ["c", "0", "n/a (0 GT)", "n/a (0 GT)"] in rows


def test_an_image_that_was_not_shown_counts_as_wrong(caplog):
    evaluator = evaluated(Images([0, 0], "abcdefg"), [[0]])
    assert evaluator.evaluate()["classification"]["top1"] == 50
    assert "1 of 2 images were not shown to the model" in caplog.text


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_an_image_whose_scores_are_not_finite_counts_as_wrong(value, caplog, tmp_path):
    dataset = Images([0, 0, 1], "ab")
    evaluator = ClassificationEvaluator(dataset, tmp_path)
    for record, found in zip(dataset, ([value, 0.0], [0.9, 0.1], [0.1, 0.9]), strict=True):
        evaluator.process([record], [{"scores": torch.tensor(found)}])
    assert evaluator.evaluate()["classification"] == {
        "top1": pytest.approx(200 / 3),
        "top1-a": 50,
        "top1-b": 100,
    }
    assert "NaN or infinity for 1 of 3 images (such as image 1); they count as wrong" in caplog.text
    assert "not shown" not in caplog.text
    written = (tmp_path / "classifications.json").read_text()
    assert [row["image_id"] for row in json.loads(written)] == [2, 3] and "NaN" not in written
    evaluator.reset()
    caplog.clear()
    evaluator.evaluate()
    assert "NaN or infinity" not in caplog.text


def test_images_of_one_id_are_refused():
    dataset = Images([0, 1, 1], "ab")
    dataset[2]["image_id"] = 1
    with pytest.raises(ValueError, match="toys: 2 images have the image_id 1: give each its own"):
        ClassificationEvaluator(dataset)


def test_equal_scores_are_in_the_order_of_the_classes():
    evaluator = ClassificationEvaluator(Images([0, 1], "ab"))
    equal = {"scores": torch.tensor([0.5, 0.5])}
    evaluator.process([{"image_id": 1}, {"image_id": 2}], [equal, equal])
    assert evaluator.evaluate()["classification"] == {"top1": 50, "top1-a": 100, "top1-b": 0}


def test_reset_forgets():
    evaluator = evaluated(Images([0], "ab"), [[0]], number=2)
    evaluator.reset()
    assert evaluator.evaluate()["classification"]["top1"] == 0


def test_a_sample_of_the_test_set():
    sample = EvenSample(Images([0, 1, 0, 1], "ab"), 2)
    evaluator = evaluated(sample, [[0], [0]], number=2)
    assert evaluator.metric_objects()["classification/top1"] == 2
    assert evaluator.evaluate()["classification"]["top1"] == 100


@pytest.mark.parametrize(
    ("labels", "words"),
    [([0, 2], "toys: image 2 has label 2, expected a number from 0 to 1"), ([None], "label None")],
)
def test_labels_that_are_no_class_are_refused(labels, words):
    with pytest.raises(ValueError, match=words):
        ClassificationEvaluator(Images(labels, "ab"))


def test_what_does_not_fit_the_data_set_is_refused():
    with pytest.raises(ValueError, match="toys: has no images"):
        ClassificationEvaluator(Images([], "ab"))
    evaluator = ClassificationEvaluator(Images([0], "ab"))
    with pytest.raises(ValueError, match="scores of 7 classes, the data set has 2: set"):
        evaluator.process([{"image_id": 1}], [{"scores": scores([0])}])
    evaluator.process([{"image_id": 9}], [{"scores": torch.tensor([1.0, 0.0])}])
    with pytest.raises(ValueError, match="image 9, which the ground truth does not have"):
        evaluator.evaluate()
    with pytest.raises(RuntimeError, match="call evaluate"):
        evaluator.tables()
