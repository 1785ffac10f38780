from lowres_d2.evaluation import SizedCOCOEvaluator, SizeRanges
from lowres_d2.evaluation.shown import BOXES, ShownMetrics


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
