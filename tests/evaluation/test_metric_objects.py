"""The metrics that an evaluator announces are those that it returns."""

from lowres_d2.evaluation import SizedCOCOEvaluator, SizedF1Evaluator

import pytest
import torch
from detectron2.structures import Boxes, Instances


class Truth:
    """Two cats of 10 and 40 px and a dog of 20 px; no bird, nothing over 96 px."""

    classes = ["cat", "dog", "bird"]
    category_ids = [7, 3, 5]

    def coco_dict(self):
        rows = [(7, 10), (7, 40), (3, 20)]
        return {
            "images": [{"id": 1}],
            "categories": [{"id": k} for k in self.category_ids],
            "annotations": [
                {"image_id": 1, "category_id": category, "bbox": [100 * k, 0, side, side]}
                for k, (category, side) in enumerate(rows)
            ],
        }


def found():
    instances = Instances((400, 400))
    instances.pred_boxes = Boxes(torch.tensor([[0.0, 0, 10, 10]]))
    instances.scores = torch.tensor([0.9])
    instances.pred_classes = torch.tensor([0])
    return instances


@pytest.mark.parametrize("kind", [SizedCOCOEvaluator, SizedF1Evaluator])
@pytest.mark.parametrize("settings", [{}, {"size_ranges": [0, 16, None]}])
def test_announced_metrics_are_the_returned_ones(kind, settings):
    evaluator = kind(Truth(), **settings)
    announced = evaluator.metric_objects()
    evaluator.process([{"image_id": 1}], [{"instances": found()}])
    returned = {f"bbox/{name}": value for name, value in evaluator.evaluate()["bbox"].items()}
    assert set(announced) == set(returned)
    # A count (GT-bird) is 0 where a metric has no value; without detections there is no accuracy.
    measured = [n for n in announced if not n.startswith(("bbox/GT", "bbox/obj", "bbox/det"))]
    measured = [n for n in measured if "accuracy" not in n]
    assert [returned[n] is None for n in measured] == [announced[n] == 0 for n in measured]


def test_own_thresholds_announce_only_their_metrics():
    announced = SizedCOCOEvaluator(Truth(), iou_thresholds=[0.6]).metric_objects()
    assert "bbox/AP50" not in announced and "bbox/AP75" not in announced


def test_metrics_say_on_how_many_objects_they_are_measured():
    announced = SizedCOCOEvaluator(Truth()).metric_objects()
    names = ("AP", "AP-small", "AP50-medium", "AR-large", "AP-cat", "AP-bird")
    assert [announced[f"bbox/{name}"] for name in names] == [3, 2, 1, 0, 2, 0]
    announced = SizedF1Evaluator(Truth()).metric_objects()
    names = ("F1", "recall-large", "F1-dog")
    assert [announced[f"bbox/{name}"] for name in names] == [3, 0, 1]
