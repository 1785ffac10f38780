"""Gains in the metric of the evaluator, which may order two runs otherwise than COCO's AP."""

import re
from types import SimpleNamespace

from lowres_d2.analysis import Run
from lowres_d2.analysis.findings import findings_of
from lowres_d2.analysis.gains import gain_sentence, gains_tables, redrawn
from lowres_d2.evaluation import SizedCOCOEvaluator, TinyPersonEvaluator
from lowres_d2.evaluation.evaluated import Evaluated
from lowres_d2.programs.reproduce import _gains
from lowres_d2.programs.visualize import write_gains

import numpy as np
import pytest
import torch
from detectron2.structures import Boxes, Instances


class People:
    """Ten images with a tiny and a larger person each, the tiny one not in all of them."""

    classes, category_ids = ["person"], [1]

    def __init__(self, tiny=10, larger=10):
        self.tiny, self.larger = tiny, larger

    def coco_dict(self):
        boxes = (self.tiny, [10, 10, 10, 10]), (self.larger, [40, 40, 40, 40])
        annotations = [
            {"image_id": k, "category_id": 1, "bbox": box}
            for images, box in boxes
            for k in range(1, images + 1)
        ]
        images = [{"id": k} for k in range(1, 11)]
        return {"images": images, "annotations": annotations, "categories": [{"id": 1}]}


def run_of(kind, folder, name, boxes, people=None):
    """A run that finds the same boxes XYXY in all images."""
    evaluator = kind(people or People(), "tinyperson", output_dir=folder / name)
    for k in range(1, 11):
        found = Instances((96, 96), pred_boxes=Boxes(torch.tensor(boxes, dtype=torch.float32)))
        found.scores = torch.linspace(0.9, 0.8, len(boxes))
        found.pred_classes = torch.zeros(len(boxes), dtype=torch.long)
        evaluator.process([{"image_id": k}], [{"instances": found}])
    predictions = folder / name / "coco_instances_results.json"
    return Run(name, evaluator.evaluate(), "", predictions, 1, 1.0, evaluator)


# Every person, loosely (IoU 0.64): AP50 100, COCO's AP 30.
LOOSE = [[10, 10, 18, 18], [40, 40, 72, 72]]
# The larger ones, exactly: both 51 of the 101 levels of recall.
HALF = [[40, 40, 80, 80]]


def rows(parts):
    text = "\n".join(parts)
    return [" ".join(line.split()) for line in text.splitlines() if line.startswith("| **")]


@pytest.mark.parametrize(
    ("kind", "gains"),
    [
        (SizedCOCOEvaluator, {"AP": "-20.5 (-20.5 to -20.5)"}),
        (
            TinyPersonEvaluator,
            {"AP50": "+49.5 (+49.5 to +49.5)", "AP50-tiny": "+100.0 (+100.0 to +100.0)"},
        ),
    ],
)
def test_gains_are_in_the_evaluators_metric(kind, gains, tmp_path):
    runs = [run_of(kind, tmp_path, "half", HALF), run_of(kind, tmp_path, "loose", LOOSE)]
    tables = [f"| **loose** | {gain} |" for gain in gains.values()]
    of_report = findings_of(runs, People())
    _, *parts = of_report._gains()
    assert rows(parts) == tables
    assert [part.split()[1] for part in parts[:-1]] == [*gains]
    assert parts[-1].startswith(f"{', '.join(gains)} of the row's detector minus")
    assert set(runs[0].shown.columns) <= set(of_report.columns) & set(of_report.overall()["half"])
    # As `visualize gains` and `reproduce` have it.
    stand_ins = [
        SimpleNamespace(
            name=run.name,
            title=run.name,
            trained=True,
            max_dets=200,
            shown=run.shown,
            evaluator=run.evaluator,
            dataset=People(),
            predictions=run.predictions_file,
        )
        for run in runs
    ]
    assert rows([write_gains(stand_ins, tmp_path).read_text()]) == tables
    benchmark = SimpleNamespace(method="loose", baseline="half", also_compared=[])
    (sentence,) = _gains(benchmark, stand_ins, {}, People(), runs[0].shown)
    said = ", ".join(f"{name} {gain}" for name, gain in gains.items())
    assert sentence.startswith(f"**loose** against half: {said}, with ")


def test_a_metric_that_is_not_redrawn_has_no_interval():
    class Counted:
        num_images = 30

        def redrawn(self, draws):
            return {}

    line = "F1 has no interval: its evaluator does not measure it on redraws of the images."
    assert gain_sentence("a", [Counted()], "b", [Counted()], "F1") == f"**a** against b. {line}"
    assert gains_tables({"a": {}, "b": {}}, "F1", "detector") == [line]
    found = {name: {"AP": np.full(301, value)} for name, value in (("a", 10.0), ("b", 12.0))}
    first, table, explained = gains_tables(found, "F1", "detector")
    assert first == line and "+2.0 (+2.0 to +2.0)" in table and explained.startswith("AP of the")


def test_few_images_with_objects_give_no_interval(tmp_path):
    """With one image, or one of many that has objects, every redraw has the same gain."""
    people = People(tiny=9)

    def read(name, boxes):
        run = run_of(TinyPersonEvaluator, tmp_path, name, boxes, people)
        return run.evaluator.read(run.predictions_file)

    half, loose = read("half", HALF), read("loose", LOOSE)
    too_few = "AP50-tiny has no interval: it rests on fewer than 10 test images, whose redraws say"
    sentence = gain_sentence("loose", [loose], "half", [half], "AP50")
    assert ", AP50-tiny +100.0, with their 95 % intervals" in sentence
    assert re.search(r": AP50 \+\S+ \(\+\S+ to \+\S+\), AP50-tiny", sentence)
    assert f"for both. {too_few} little" in sentence
    tables = gains_tables(dict(zip("ab", redrawn([half, loose]), strict=True)), "AP50", "detector")
    assert rows(tables)[1] == "| **b** | +100.0 |" and tables[-1].startswith(too_few)

    people.tiny = people.larger = 1
    one, other = read("one", HALF), read("other", LOOSE)
    assert "interval " not in (text := gain_sentence("b", [other], "a", [one], "AP50")), text
    assert text.startswith("**b** against a: AP50 +") and "AP50, AP50-tiny have no inter" in text
    tables = gains_tables(dict(zip("ab", redrawn([one, other]), strict=True)), "AP50", "detector")
    assert "interval without 0" not in "".join(tables)


@pytest.mark.filterwarnings("error")
def test_a_test_set_without_objects_gives_no_nan():
    truth = {"images": [{"id": k} for k in range(30)], "annotations": []}
    found = Evaluated(truth, [], [1], 100, lambda _, draws: {"AP": np.full(1 + len(draws), np.nan)})
    text = gain_sentence("a", [found], "b", [found], "AP")
    assert text.startswith("**a** against b: AP n/a. AP has no interval: it rests on fewer than 10")
    tables = gains_tables(dict(zip("ab", redrawn([found, found]), strict=True)), "AP", "detector")
    assert rows(tables) == ["| **b** | n/a |"] and "nan" not in "".join(tables)
