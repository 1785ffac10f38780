"""Labels in any script: a font that has the letters where the machine has one."""

from __future__ import annotations

import warnings

from lowres_d2 import fonts
from lowres_d2.analysis import Point, plot_trade_off
from lowres_d2.analysis.figures.confusion import plot_confusion
from lowres_d2.analysis.figures.curves import (
    plot_by_size,
    plot_over_value,
    plot_precision_recall,
    plot_training,
)
from lowres_d2.analysis.figures.drawing import Panel
from lowres_d2.analysis.figures.sheets import headings
from lowres_d2.evaluation.coco_engine import RECALLS
from lowres_d2.programs.variant_study import plot_accuracy

import numpy as np
import pytest
from detectron2.utils.visualizer import Visualizer
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib.figure import Figure
from PIL import Image


def square():
    pen = TTGlyphPen(None)
    pen.moveTo((0, 0))
    for corner in ((0, 900), (900, 900), (900, 0)):
        pen.lineTo(corner)
    pen.closePath()
    return pen.glyph()


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Gives the machine a font that has some letters, all of them black squares."""

    def give(letters):
        files = []
        if letters:
            build = FontBuilder(1000, isTTF=True)
            names = [".notdef", *(f"uni{ord(letter):04X}" for letter in letters)]
            build.setupGlyphOrder(names)
            build.setupCharacterMap({ord(letter): f"uni{ord(letter):04X}" for letter in letters})
            build.setupGlyf({name: square() for name in names})
            build.setupHorizontalMetrics(dict.fromkeys(names, (1000, 0)))
            build.setupHorizontalHeader(ascent=1000, descent=0)
            build.setupNameTable({"familyName": "Squares", "styleName": "Regular"})
            build.setupOS2()
            build.setupPost()
            build.save(tmp_path / "Squares.ttf")
            files = [str(tmp_path / "broken.ttf"), str(tmp_path / "Squares.ttf")]
            (tmp_path / "broken.ttf").write_bytes(b"no font")
        monkeypatch.setattr("matplotlib.font_manager.findSystemFonts", lambda: files)
        clear()

    yield give
    clear()


def clear():
    for cached in (fonts._find, fonts._others, fonts._letters_of, fonts._open):
        cached.cache_clear()


@pytest.mark.parametrize("name", ["螺栓", "ボルト", "나사", "สลัก"])
def test_a_font_of_the_machine_is_taken_where_it_has_all_letters(machine, name):
    machine(f"{name} 0.95")
    assert fonts.font_for(f"{name} 0.95", 12).path.endswith("Squares.ttf")
    assert fonts.drawable_names(["red", name]) == ["red", name]
    assert fonts.font_for("red", 12).path.endswith("DejaVuSans.ttf")
    assert fonts.font_for("grün, Ελ, жук", 12, bold=True).path.endswith("DejaVuSans-Bold.ttf")


@pytest.mark.parametrize("letters", ["", "螺"])
def test_the_class_has_its_number_where_no_font_has_all(machine, letters):
    machine(letters)
    assert fonts.drawable_names(["red", "螺栓", "a\nb"]) == ["red", "class 1", "class 2"]
    assert fonts.font_for("螺栓", 12).path.endswith("DejaVuSans.ttf")


def label(text):
    panel = Panel(Image.new("RGB", (128, 128)), (0, 0, 128, 128), text=20)
    panel.label((40, 40, 90, 90), (255, 255, 255), text)
    return np.asarray(panel.image)


def test_labels_are_drawn_with_it(machine):
    machine("螺栓")
    shown, black = label("螺栓"), label("")
    assert not np.array_equal(shown, black)
    machine("")
    assert not np.array_equal(shown, label("螺栓"))  # DejaVu's frames in place of squares


def drawn_labels(counts, classes, path):
    """The sheet of a confusion matrix; a letter that no font has is a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plot_confusion({"run $1 $2": counts}, classes, path)
        plot_trade_off([Point(classes[1], 50.0, 10.0), Point("$a$ $", 40.0, 20.0)], path)
    return path.stat().st_size


def test_plots_have_their_letters_and_no_formulas(machine, tmp_path):
    counts = np.eye(3, dtype=int)
    machine("螺栓")
    assert drawn_labels(counts, ["$\\frac$", "螺栓"], tmp_path / "a.png") > 1000
    machine("")
    plot_confusion({"a\udcff": counts}, ["$x$", "螺栓"], tmp_path / "b.png")  # class 1
    assert fonts.plot_text("a$b\udcff") == r"a\$b\udcff"


RUN_NAMES = ["螺栓", "스크류", "a\x07b\tc\nd", "\udcff", "_hidden", "$x$"]


@pytest.fixture
def legend_of(monkeypatch):
    """Draws a figure without warnings, and gives the labels of its legend and their fonts."""
    saved = []
    save = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda f, *a, **k: (saved.append(f), save(f, *a, **k)))

    def draw(plot, *arguments):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            plot(*arguments)
        (legend,) = saved.pop().legends
        return {text.get_text(): text.get_fontfamily() for text in legend.get_texts()}

    return draw


@pytest.mark.parametrize(
    "kind", ["training", "by size", "precision over recall", "over a value", "trade-off"]
)
def test_every_figure_names_its_runs_in_any_script(machine, legend_of, tmp_path, kind):
    """A letter that no font has is its escape, not a box; no name is left out."""
    machine("螺栓")
    path = tmp_path / "figure.png"
    sizes = [{"GT": 3, "low": 8, "high": 16, "AP": 50.0, "recall50": 60.0}]
    labels = legend_of(
        *{
            "training": (
                plot_training,
                {n: {"total_loss": (np.arange(3), np.ones(3))} for n in RUN_NAMES},
            ),
            "by size": (plot_by_size, dict.fromkeys(RUN_NAMES, sizes)),
            "precision over recall": (
                plot_precision_recall,
                dict.fromkeys(RUN_NAMES, dict.fromkeys((0.5, 0.75), np.ones(len(RECALLS)))),
            ),
            "over a value": (
                lambda runs, path: plot_over_value(runs, {}, path, "λ", "top1"),
                {name: {0.1: 50.0, 2: 60.0} for name in RUN_NAMES},
            ),
            "trade-off": (plot_trade_off, [Point(name, 50.0, 10.0) for name in RUN_NAMES]),
        }[kind],
        path,
    )
    names = [label.split("\n")[0] for label in labels]
    escaped = [r"\uc2a4\ud06c\ub958", r"a\x07b\tc\nd", r"\udcff", " _hidden", r"\$x\$"]
    assert names == ["螺栓", *escaped]
    assert "Squares" in next(iter(labels.values()))


def test_a_plot_of_variants_names_the_metric_of_a_class(machine, tmp_path, monkeypatch):
    machine("螺栓")
    labels, save = [], Figure.savefig

    def kept(figure, *arguments, **settings):
        labels.append(figure.axes[0].yaxis.label)
        save(figure, *arguments, **settings)

    monkeypatch.setattr(Figure, "savefig", kept)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plot_accuracy(tmp_path / "a.png", "bbox/AP-螺栓", lambda ax: ax.plot([10.0], [50.0]))
        plot_accuracy(tmp_path / "b.png", "bbox/AP-$a$ 螺나", lambda ax: ax.plot([10.0], [50.0]))
    assert labels[0].get_text() == "bbox/AP-螺栓, %" and "Squares" in labels[0].get_fontfamily()
    assert labels[1].get_text() == r"bbox/AP-\$a\$ 螺\ub098, %"


def test_a_curve_has_its_points_in_order_and_the_level_that_it_is_compared_with(
    tmp_path, monkeypatch
):
    axes, save = [], Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda f, *a, **k: (axes.append(f.axes[0]), save(f, *a, **k))
    )
    plot_over_value({"A": {2: 60.0, 0.1: 50.0}}, {"A": 48.0}, tmp_path / "a.png", "λ", "top1")
    curve, level = axes[0].lines
    assert curve.get_xdata().tolist() == [0.1, 2] and curve.get_ydata().tolist() == [50, 60]
    assert list(level.get_ydata()) == [48, 48] and level.get_color() == curve.get_color()
    assert axes[0].get_ylabel() == "top1, %" and axes[0].get_xlabel() == "λ"


def test_headings_of_sheets_have_no_boxes(machine):
    machine("")
    shown = np.asarray(headings(["螺\x07"], 400)[0])
    assert np.array_equal(shown, np.asarray(headings([r"\u87ba\x07"], 400)[0]))
    machine("螺栓")
    assert not np.array_equal(shown, np.asarray(headings(["螺栓"], 400)[0]))
    assert fonts.drawable_text("螺a") == r"\u87baa" and fonts.drawable_text("螺") == "螺"


def test_the_visualizer_of_the_core_writes_names_or_numbers(machine):
    from detectron2.utils import visualizer

    if not visualizer.__file__.endswith("bundled/detectron2/utils/visualizer.py"):
        pytest.skip("upstream's own")
    machine("")
    assert visualizer._create_text_labels([0, 1], None, ["red", "螺栓"]) == ["red", "1"]
    machine("螺栓 90%")
    assert visualizer._create_text_labels([1], [0.9], ["red", "螺栓"]) == ["螺栓 90%"]
    drawn = Visualizer(np.zeros((64, 64, 3), np.uint8))
    assert drawn.draw_text("螺栓", (32, 8)).get_image().any()
