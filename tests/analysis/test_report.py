from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

from lowres_d2.analysis import (
    REPORT_FILES,
    Run,
    comparison_sheet,
    input_view,
    plot_training,
    read_metrics,
    stored_view_of,
    write_report,
)
from lowres_d2.analysis.figures.confusion import confusions_table, plot_confusion
from lowres_d2.analysis.figures.curves import _detector_loss
from lowres_d2.analysis.gains import gain_sentence
from lowres_d2.data import DetectionMapper
from lowres_d2.evaluation import SizedCOCOEvaluator

import numpy as np
import pytest
import torch
from detectron2.structures import Boxes, BoxMode, Instances
from PIL import Image


class Squares(list):
    """Three images of 64 px, each with an object of 6 and one of 20 px."""

    classes = ["one", "two"]
    category_ids = [4, 2]

    def __init__(self, folder):
        self.coco = {"images": [], "annotations": [], "categories": [{"id": 4}, {"id": 2}]}
        for k in range(3):
            file = folder / f"{k}.png"
            Image.fromarray(np.full((64, 64, 3), 50 * k, np.uint8)).save(file)
            boxes = [[5, 5, 6, 6], [30, 30, 20, 20]]
            self.coco["images"].append({"id": k, "height": 64, "width": 64})
            annotations = []
            for label, box in enumerate(boxes):
                row = {"image_id": k, "category_id": self.category_ids[label], "bbox": box}
                self.coco["annotations"].append(row | {"id": 10 * k + label})
                annotations.append(
                    {"bbox": box, "bbox_mode": BoxMode.XYWH_ABS, "category_id": label}
                )
            self.append(
                {"file_name": str(file), "image_id": k, "height": 64, "width": 64}
                | {"annotations": annotations}
            )

    def coco_dict(self):
        return self.coco


def make_run(dataset, folder, name, found, **settings):
    """A run that finds the objects of the given labels in every image."""
    evaluator = SizedCOCOEvaluator(
        dataset,
        **({"size_ranges": {"s": [0, 8], "m": [8, 32], "l": [32, None]}} | settings),
        output_dir=folder / name,
    )
    corners = torch.tensor([[5.0, 5, 11, 11], [30, 30, 50, 50]])[found]
    for record in dataset:
        instances = Instances((64, 64), pred_boxes=Boxes(corners))
        instances.scores = torch.full((len(found),), 0.8)
        instances.pred_classes = torch.tensor(found)
        evaluator.process([record], [{"instances": instances}])
    rows = [{"iteration": k, "total_loss": 1 / (k + 1), "bbox/AP": 10.0 * k} for k in range(5)]
    metrics = folder / f"{name}.json"
    metrics.write_text("".join(json.dumps(row) + "\n" for row in rows))
    predictions = folder / name / "coco_instances_results.json"
    return Run(name, evaluator.evaluate(), metrics, predictions, 5, 75.0, evaluator)


@pytest.fixture
def squares(tmp_path):
    return Squares(tmp_path)


def test_report_has_the_metrics_of_each_run_and_its_images(squares, tmp_path):
    runs = [
        make_run(squares, tmp_path, "full", [0, 1]),
        make_run(squares, tmp_path, "low", [1]),
    ]
    path = write_report(tmp_path / "report", runs, squares, "Two runs", notes="A note.")
    text = " ".join(path.read_text().split())
    assert text.startswith("# Two runs A note. 3 test images, 6 objects.")
    assert "| full | 5 | 1 min 15 s | 100.0 |" in text
    assert "| low | 5 | 1 min 15 s | 50.0 |" in text
    assert "s (<=8 px), 3 GT" in text and "l (>=32 px), 0 GT" in text
    assert "| AP, low | 0.0 | 100.0 | n/a (0 GT) |" in text
    assert "| one | 3 | 100.0 | 0.0 |" in text
    assert "| recall50, low | 0.0 | 100.0 | n/a (0 GT) |" in text
    assert "| **low** | -50.0 |" in text and "AP has no interval: it rests on fewer" in text
    files = {p.name for p in path.parent.iterdir() if not p.name.startswith(".")}
    assert files == set(REPORT_FILES) - {"trade_off.png"}
    for name in files - {"report.md"}:
        assert f"({name})" in text
        assert min(Image.open(path.parent / name).size) > 300


def test_agreement_with_a_detector_is_not_reported_as_accuracy(squares, tmp_path):
    squares.labelled_by = "detections of teacher.pth with scores from 0.5"
    runs = [make_run(squares, tmp_path, "low", [1])]
    text = write_report(tmp_path / "report", runs, squares, "A run").read_text()
    assert "**Agreement with the detections of teacher.pth with scores from 0.5; there is" in text


def test_the_ground_truth_is_on_the_image_that_the_runs_read(squares, tmp_path, monkeypatch):
    for entry in squares:  # four bands, which the default reader refuses
        entry["file_name"] = entry["file_name"].replace(".png", ".npy")
        np.save(entry["file_name"], np.full((64, 64, 4), 3000, np.uint16))
    mapper = DetectionMapper(False, image_format=None, value_range=[2000, 4000])
    run = make_run(squares, tmp_path, "bands", [0, 1])
    run = replace(run, view=input_view(mapper), stored=stored_view_of(mapper))
    columns = []

    def keep(entries, shown, classes):
        columns.extend(shown)
        return comparison_sheet(entries, shown, classes)

    monkeypatch.setattr("lowres_d2.analysis.findings.boxes.comparison_sheet", keep)
    write_report(tmp_path / "report", [run], squares, "Bands")
    truth = columns[0].view(squares[0])
    assert columns[0].title == "ground truth" and truth.factor == 1
    assert truth.values.shape == (64, 64, 3) and set(truth.pixels.flat) == {128}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_dets": 300}, "max_dets 100 and 300"),
        ({"size_ranges": "coco"}, "size ranges or objects"),
    ],
)
def test_runs_that_were_evaluated_differently_are_not_compared(
    squares, tmp_path, settings, message
):
    runs = [
        make_run(squares, tmp_path, "a", [0, 1]),
        make_run(squares, tmp_path, "b", [1], **settings),
    ]
    with pytest.raises(ValueError, match=f"'a' and 'b' cannot be compared: .*{message}"):
        write_report(tmp_path / "report", runs, squares, "No")
    assert not (tmp_path / "report").exists()


def test_four_runs_with_costs_stay_readable(squares, tmp_path):
    found = {"full": [0, 1], "bicubic 4x": [], "learned 4x": [1], "learned + distilled 4x": [0, 1]}
    runs = [
        replace(make_run(squares, tmp_path, name, labels), images_per_second=speed, macs=macs)
        for (name, labels), speed, macs in zip(
            found.items(), (5, 40, None, 39.0), (8e9, 5e8, None, 5.1e8), strict=True
        )
    ]
    path = write_report(tmp_path / "report", runs, squares, "Four runs", images=1)
    text = " ".join(path.read_text().split())
    assert "| AP drop, % | MACs, G | images/s |" in text
    assert "| full | 5 | 1 min 15 s | 100.0 | 100.0 | 100.0 | 100.0 | 100.0 | | 8 | 5 |" in text
    assert "| learned 4x | 5 | 1 min 15 s | 50.0 | 50.0 | 50.0 | 50.0 | 50.0 | 50.0 | | |" in text
    assert "(trade_off.png)" in text
    assert Image.open(path.parent / "images.png").width < 1750


def test_the_loss_curve_leaves_out_the_losses_of_objectives():
    def series_of(*values):
        return np.arange(len(values)), np.array(values, float)

    series = {
        "total_loss": series_of(9, 9),
        "loss_cls": series_of(1, 2),
        "loss_box": (np.array([1]), np.array([4.0])),
        "loss_feature_res3": series_of(5, 5),
        "[metric]feature/res3": series_of(50, 50),
    }
    iterations, values = _detector_loss(series)
    assert iterations.tolist() == [0, 1] and values.tolist() == [1, 6]
    assert _detector_loss({"total_loss": series["total_loss"]})[1].tolist() == [9, 9]


def test_metrics_of_a_resumed_run_count_once_and_an_incomplete_line_not(tmp_path):
    file = tmp_path / "metrics.json"
    file.write_text(
        '{"iteration": 1, "loss": 3}\n{"iteration": 2, "loss": 9}\n'
        '{"iteration": 2, "loss": 2, "name": "x"}\n{"itera'
    )
    iterations, values = read_metrics(file)["loss"]
    assert iterations.tolist() == [1, 2] and values.tolist() == [3, 2]


def test_wrong_metrics_are_named(tmp_path):
    file = tmp_path / "metrics.json"
    with pytest.raises(FileNotFoundError, match="no metrics at"):
        read_metrics(file)
    file.write_text('{"loss": 1}\n{"iteration": 2, "loss": 2}\n')
    with pytest.raises(ValueError, match=r"metrics\.json, line 1: expected a JSON object"):
        read_metrics(file)


def test_a_run_without_evaluations_has_loss_curves(tmp_path):
    series = {"a": {"total_loss": (np.arange(3), np.array([3.0, 2.0, 1.0]))}}
    plot_training(series, tmp_path / "new" / "t.png")
    assert Image.open(tmp_path / "new" / "t.png").size[0] > 1000


def test_one_run_has_no_intervals(squares, tmp_path):
    runs = [make_run(squares, tmp_path, "a", [1])]
    text = write_report(tmp_path / "report", runs, squares, "No").read_text()
    assert "more than chance" not in text and "## Confusions" in text


def test_runs_of_other_tasks_are_refused(squares, tmp_path):
    boxes = make_run(squares, tmp_path, "a", [1])
    other = replace(boxes, name="b", evaluator=SimpleNamespace(main_metric="segm/AP"))
    for runs, message in (
        ([boxes, other], "'a' and 'b' cannot be compared: .* bbox and segm"),
        ([other], "'segm' cannot be reported: expected an evaluator with a main_metric of bbox"),
    ):
        with pytest.raises(ValueError, match=message):
            write_report(tmp_path / "report", runs, squares, "No")


def test_many_classes_have_a_table_of_confusions():
    counts = np.zeros((4, 4), int)
    counts[0, 1], counts[2, 0], counts[1, 1], counts[3, 2] = 5, 7, 99, 50
    other = np.zeros((4, 4), int)
    other[1, 2] = 1
    table = confusions_table({"a": counts, "b": other}, ["cat", "dog", "cow"])
    rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in table.splitlines()]
    assert rows[0] == ["a", "b"]
    assert rows[2:] == [["cow as cat: 7", "dog as cow: 1"], ["cat as dog: 5", ""]]


def test_confusion_matrices_of_several_runs_are_one_figure(tmp_path):
    counts = np.diag([3, 2, 0])
    plot_confusion(dict.fromkeys("abc", counts), ["cat", "dog"], tmp_path / "confusion.png")
    width, height = Image.open(tmp_path / "confusion.png").size
    assert 0.8 < width / height < 1.25  # two by two panels


def test_a_gain_over_seeds_is_a_sentence(squares, tmp_path):
    half, whole = (
        run.evaluator.read(run.predictions_file)
        for run in (
            make_run(squares, tmp_path, "half", [1]),
            make_run(squares, tmp_path, "whole", [0, 1]),
        )
    )
    text = gain_sentence("ours", [whole, half], "theirs", [half], "AP")
    assert text.startswith("**ours** against theirs: AP +25.0. AP has no interval")
