"""Reports on classifiers."""

from __future__ import annotations

import json

from lowres_d2.analysis import write_report
from lowres_d2.analysis.figures.confusion import _figure, plot_confusion
from lowres_d2.analysis.gains import gain_sentence, redrawn
from lowres_d2.evaluation.classified import Classified

import numpy as np
import pytest
from PIL import Image

from toys.labelled import LabelledToys, classified_run


@pytest.fixture
def toys():
    return LabelledToys()


def cells(text, start):
    """Cells of the first table row that starts so."""
    line = next(line for line in text.splitlines() if line.startswith(f"| {start} "))
    return [cell.strip() for cell in line.split("|")[2:-1]]


def test_report_has_accuracy_gains_confusions_and_images(toys, tmp_path):
    runs = [
        classified_run(toys, tmp_path, "teacher", {0}, (5.0, 2e7)),
        classified_run(toys, tmp_path, "student", {0, 1, 3}, (40.0, 2e7)),
        classified_run(toys, tmp_path, "ours", {3}, (40.0, 2e7)),
    ]
    path = write_report(tmp_path / "report", runs, toys, "Three runs", notes="A note.")
    text = path.read_text()
    assert text.startswith(
        "# Three runs\n\nA note.\n\n12 test images, 3 classes. Metrics in percent; the standard "
        "error of top1 over images is at most 12.50."  # sqrt(0.75 x 0.25 / 12)
    )
    assert cells(text, "classifier") == [
        *("iterations", "time", "top1", "top1 drop, %", "MACs, G", "images/s")
    ]
    assert cells(text, "student") == ["5", "1 min 15 s", "75.0", "18.2", "0.02", "40"]
    assert cells(text, "red") == ["4", "75.0", "50.0", "75.0"]
    assert cells(text, "green") == ["4", "100.0", "75.0", "100.0"]
    assert cells(text, "**ours**")[1].startswith("+16.7 (")
    for boxes in ("object", "detect", "IoU", "AP", " GT"):
        assert boxes not in text
    names = {p.name for p in path.parent.iterdir() if not p.name.startswith(".")}
    assert names == {*("report.md", "training.png", "trade_off.png", "confusion.png", "images.png")}
    for name in names - {"report.md"}:
        assert f"({name})" in text
        assert min(Image.open(path.parent / name).size) > 300


def test_one_classifier_of_many_classes_has_a_report(tmp_path):
    toys = LabelledToys(70, [f"class {k}" for k in range(35)])
    text = write_report(
        tmp_path / "report", [classified_run(toys, tmp_path, "one", {0, 35})], toys, "One"
    ).read_text()
    assert cells(text, "one") == ["5", "1 min 15 s", "97.1", "100.0"]
    assert "5 more classes are in evaluation.json." in text
    assert "class 0 as class 1: 2" in text and "more than chance" not in text


def test_predictions_of_other_data_are_refused(toys, tmp_path):
    run = classified_run(toys, tmp_path, "a", {0})
    for others, message in (
        (LabelledToys(11), "has image 12, which the data set does not have"),
        (LabelledToys(12, ["red", "green"]), "image 3 has label 2 there and 0 in the data set"),
    ):
        with pytest.raises(ValueError, match=message):
            write_report(tmp_path / "report", [run], others, "No")
    assert not (tmp_path / "report").exists()


def test_an_image_that_was_not_shown_is_wrong_and_confused_with_none(toys, tmp_path):
    file = tmp_path / "classifications.json"
    rows = [
        {"image_id": entry["image_id"], "label": entry["label"], "classes": [0], "scores": [0.7]}
        for entry in toys[2:]
    ]
    file.write_text(json.dumps(rows))
    found = Classified.read(toys, file)
    assert found.right.tolist() == [False] * 3 + [True, False, False] * 3
    assert found.confusion().tolist() == [[3, 0, 0], [3, 0, 0], [4, 0, 0]]
    assert found.by_class() == [(4, 75.0), (4, 0.0), (4, 0.0)]
    run = classified_run(toys, tmp_path, "run", set())
    file.replace(run.predictions_file)
    write_report(tmp_path / "report", [run], toys, "Not all")
    assert (tmp_path / "report" / "images.png").is_file()


def test_accuracy_of_redraws_is_that_of_their_images():
    found = Classified(np.array([0, 1, 1]), np.array([0, 1, 0]), np.ones(3), 2)
    draws = np.array([[0, 1, 2], [2, 2, 2], [0, 0, 2]])
    assert found.redrawn(draws)["top1"] == pytest.approx([200 / 3, 200 / 3, 0, 200 / 3])


def test_gains_are_paired_by_image(toys, tmp_path):
    better, worse = (
        Classified.read(toys, classified_run(toys, tmp_path, name, wrong).predictions_file)
        for name, wrong in (("better", {1, 2}), ("worse", {1, 2, 3}))
    )
    gain = np.subtract(*(own["top1"] for own in redrawn([better, worse])))
    # Only image 3 tells them apart: it is drawn a whole number of times, and never counts against.
    assert gain[0] == pytest.approx(100 / 12) and gain.min() == 0
    assert np.allclose(gain * 12 / 100, np.round(gain * 12 / 100))
    text = gain_sentence("ours", [better], "theirs", [worse], "top1")
    assert text.startswith("**ours** against theirs: top1 +8.3 (+0.0 to +")


def test_a_class_without_images_has_no_accuracy(tmp_path):
    toys = LabelledToys(3, ["red", "green", "blue", "black"])
    run = classified_run(toys, tmp_path, "run", set())
    text = write_report(tmp_path / "report", [run], toys, "A class lacks").read_text()
    assert cells(text, "black") == ["0", "n/a (0 GT)"]


def test_a_classifiers_matrix_has_its_classes_alone(tmp_path):
    figures = []
    for size in (2, 3):
        plot_confusion({"a": np.eye(size, dtype=int)}, ["cat", "dog"], tmp_path / f"{size}.png")
        figures.append(Image.open(tmp_path / f"{size}.png").convert("L"))
    assert figures[0].size == figures[1].size  # both of the least size
    assert figures[0].tobytes() != figures[1].tobytes()


def test_titles_and_names_of_a_matrix_are_inside_the_figure():
    names = [f"automobile {k}" for k in range(10)]
    for size in (10, 11):  # of a classifier, of a detector
        matrices = dict.fromkeys(("one", "two"), np.ones((size, size), int))
        figure = _figure(matrices, names)
        figure.draw_without_rendering()
        for ax in figure.axes:
            (left, bottom), (right, top) = ax.get_tightbbox().get_points() / figure.dpi
            width, height = figure.get_size_inches()
            assert left >= 0 and bottom >= 0 and right <= width and top <= height


def test_few_images_give_no_interval_and_no_standard_error(tmp_path):
    toys = LabelledToys(9)
    runs = [classified_run(toys, tmp_path, *wrong) for wrong in (("a", {0, 1}), ("b", set()))]
    text = write_report(tmp_path / "report", runs, toys, "Few").read_text()
    assert "percent; so few images give top1 no standard error." in text
    assert cells(text, "**b**") == ["+22.2"]
    assert "top1 has no interval: it rests on fewer than 10 test images" in text
