from lowres_d2.evaluation import ClassificationEvaluator, SizedCOCOEvaluator, SizeRanges
from lowres_d2.evaluation.shown import BOXES, ShownMetrics, task_of

import pytest
from omegaconf import OmegaConf


class OfClasses:
    main_metric = "classification/top1"
    columns = ("top5", "top1")
    predictions = "classes.json"


def test_an_evaluator_says_what_is_shown_of_it():
    shown = ShownMetrics.of(OfClasses())
    assert shown == ShownMetrics("classification", ("top1", "top5"), (), "classes.json")
    assert shown.main == "top1"
    assert shown.names == ("classification/top1", "classification/top5")
    assert shown.accuracy({"bbox": {"AP": 1}, "classification": {"top1": 80.0}}) == 80.0


def test_the_size_ranges_of_a_detectors_evaluator_are_shown():
    evaluator = SizedCOCOEvaluator.__new__(SizedCOCOEvaluator)
    evaluator.size_ranges = SizeRanges.from_config({"tiny": [0, 8], "rest": [8, None]})
    assert ShownMetrics.of(evaluator) == ShownMetrics(size_ranges=("tiny", "rest"))


def test_an_evaluator_that_says_nothing_is_one_of_boxes():
    assert ShownMetrics.of(object()) == BOXES
    assert BOXES.names == ("bbox/AP", "bbox/AP50")
    assert BOXES.predictions == "coco_instances_results.json"


@pytest.mark.parametrize("kind", [ClassificationEvaluator, SizedCOCOEvaluator, None])
def test_the_task_is_known_before_there_is_an_evaluator(kind):
    """The data set may be missing, or without labels."""
    task = "classification" if kind is ClassificationEvaluator else "bbox"
    for target in [kind, f"{kind.__module__}.{kind.__qualname__}"] if kind else [None]:
        evaluator = {"dataset": "none"} | ({"_target_": target} if target else {})
        cfg = OmegaConf.create(
            {"dataloader": {"evaluator": evaluator}}, flags={"allow_objects": True}
        )
        assert task_of(cfg) == task
