"""Figures of classifier runs."""

from unittest.mock import Mock

from lowres_d2.evaluation.classification import CLASSIFICATIONS
from lowres_d2.programs.demo import main as demo
from lowres_d2.programs.shown_runs import check_comparable
from lowres_d2.programs.train import main as train
from lowres_d2.programs.validate import main as validate
from lowres_d2.programs.visualize import main, open_run

import pytest
from PIL import Image

from toys.labelled import write_cifar
from toys.runs import PLAIN

RECIPE = "tests/toys/recipes/classifier.py"
FULL = "tests/toys/recipes/classifier_full.py"
TRAINED = "a trained classifier"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return f"data.root={write_cifar(tmp_path_factory.mktemp('cifar'))}"


@pytest.fixture(scope="module")
def runs(data, tmp_path_factory):
    """A finished run at full resolution, and one with another seed on degraded images."""
    folder = tmp_path_factory.mktemp("runs")
    for name, recipe in (("full", FULL), ("low", RECIPE)):
        place = f"train.output_dir={folder / name}"
        train(["--config-file", recipe, data, place, f"train.seed={len(name)}"])
    return [str(folder / name) for name in ("full", "low")]


def test_all_figures_of_classifiers_are_drawn(runs, tmp_path, capsys):
    main(["all", "--runs", *runs, "--output", str(tmp_path)])
    names = ["thumbnails.png", "classified.png", "confusion.png", "trade_off.png", "gains.md"]
    assert capsys.readouterr().out.splitlines() == [str(tmp_path / name) for name in names]
    for name in names[:-1]:
        assert min(Image.open(tmp_path / name).size) > 200
    text = (tmp_path / "gains.md").read_text()
    assert text.startswith("| top1 gain ") and "the row's classifier" in text
    assert not list(tmp_path.glob("evaluations"))  # the runs' own are read
    assert (open_run(runs[1], tmp_path).folder / CLASSIFICATIONS).is_file()


def test_one_classifier_is_compared_with_none(runs, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("lowres_d2.programs.visualize.draw_trade_off", lambda *_: "speed")
    main(["all", "--runs", runs[0], "--output", str(tmp_path)])
    assert capsys.readouterr().out.splitlines() == [
        "left out: thumbnails: none of the runs lowers the resolution",
        str(tmp_path / "classified.png"),
        str(tmp_path / "confusion.png"),
        "speed",
        "left out: gains: expected at least two runs to compare",
    ]


@pytest.mark.parametrize(
    ("recipe", "more"),
    [(RECIPE, ["resampled"]), (FULL, [])],
    ids=["with the degraded image", "augmented alone"],
)
def test_training_images_are_drawn_with_their_classes(recipe, more, data, tmp_path, monkeypatch):
    drawn = []

    def draw(title, seen, texts, colors=None):
        drawn.append((title, [one.values.shape for one in seen], list(texts)))
        return Image.new("RGB", (9, 9))

    monkeypatch.setattr("lowres_d2.analysis.figures.classified_images._row", draw)
    main(["data", "--runs", recipe, "--output", str(tmp_path), "--images", "9", data])
    titles = ["stored", "augmented", *more]
    assert [title for title, *_ in drawn] == 2 * titles  # eight images in a row
    assert {shape for _, shapes, _ in drawn for shape in shapes} == {(32, 32, 3)}
    assert all(text.startswith("class ") for text in drawn[0][2])
    assert (tmp_path / "data.png").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["detections", "--runs", TRAINED], "detections: there is none of classification runs"),
        (["classified", "--runs", "thumbdet4"], "classified: there is none of bbox runs"),
        (["classified", "--runs", f"a={RECIPE}"], "a has no weights"),
        (["confusion", "--runs", f"a={RECIPE}"], "a has no weights"),
        (["classified", "--runs", PLAIN], "full_fcos_small_own has no weights"),
    ],
)
def test_what_the_runs_have_no_figure_of_is_said(arguments, message, runs, data, tmp_path, capsys):
    arguments = [runs[0] if argument is TRAINED else argument for argument in arguments]
    opts = [data] if RECIPE in " ".join(arguments) else []
    with pytest.raises(SystemExit):
        main([*arguments, "--output", str(tmp_path), *opts])
    said = capsys.readouterr().err.strip()
    assert message in said and "\n" not in said


def test_programs_for_boxes_refuse_a_classifier_in_one_line(runs, data, tmp_path, capsys):
    image = tmp_path / "image.png"
    Image.new("RGB", (32, 32)).save(image)
    weights = ["--weights", runs[0], "--input", str(image), "--output", str(tmp_path / "out")]
    for program, arguments, message in (
        (demo, weights, f'lowres_d2.load("{runs[0]}")("image.jpg") gives the class'),
        (validate, ["--config-file", RECIPE, data], "its images have no boxes"),
    ):
        with pytest.raises(SystemExit):
            program(arguments)
        said = capsys.readouterr().err.strip()
        assert message in said and "\n" not in said


def test_classifiers_are_not_compared_with_detectors():
    runs = [Mock(task=task) for task in ("classification", "bbox")]
    for run, name in zip(runs, "ab", strict=True):
        run.name = name
    with pytest.raises(ValueError, match=r"several tasks \(a classification, b bbox\)"):
        check_comparable(runs)
