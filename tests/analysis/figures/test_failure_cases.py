from __future__ import annotations

from lowres_d2.analysis.figures.comparison_sheets import Column
from lowres_d2.analysis.figures.detections import Objects
from lowres_d2.analysis.figures.drawing import Panel
from lowres_d2.analysis.figures.failure_cases import (
    choose_cases,
    choose_mistakes,
    write_failure_cases,
)
from lowres_d2.analysis.figures.outcomes import (
    FOUR_OUTCOMES,
    THREE_OUTCOMES,
    Outcome,
    draw_outcome,
)
from lowres_d2.analysis.figures.outcomes.drawing import _piles
from lowres_d2.analysis.figures.sheets import panel_side

import numpy as np
import pytest
from detectron2.structures import BoxMode
from PIL import Image

A, B, FAR = (10, 10, 30, 30), (60, 60, 90, 90), (100, 10, 120, 30)


def objects(*rows):
    return Objects.from_rows([(box, label, 0.9) for box, label in rows])


TRUTH = objects((A, 0), (B, 1))


def outcome(*rows):
    return Outcome.of(TRUTH, objects(*rows))


def test_detections_are_hits_wrong_classes_or_false_alarms():
    seen = outcome((A, 0), (B, 0), (FAR, 1))
    assert seen.hit.tolist() == [True, False]
    assert seen.right.tolist() == [True, False, False]
    assert seen.wrong_class.tolist() == [False, True, False]
    assert seen.misnamed.tolist() == [False, True]
    assert (seen.misses, seen.mistakes) == (1, 3)
    assert str(seen) == "1 of 2 found, 1 wrong class, 1 false alarm"


def test_a_second_box_of_the_right_class_is_a_false_alarm():
    twice = outcome((A, 0), (A, 0))
    assert twice.right.sum() == 1 and not twice.wrong_class.any()
    assert str(twice) == "1 of 2 found, 1 false alarm"


def test_images_without_objects_or_detections_have_outcomes():
    nothing = objects()
    assert Outcome.of(nothing, nothing).mistakes == 0
    assert Outcome.of(nothing, TRUTH).mistakes == 2
    assert Outcome.of(TRUTH, nothing).misses == 2


ALL, ONE, NONE, BAD = (
    outcome((A, 0), (B, 1)),
    outcome((A, 0)),
    outcome(),
    outcome((FAR, 0)),
)


def test_images_of_largest_difference_in_both_directions_are_chosen_once_each():
    outcomes = {
        "ours": [ONE, ALL, ALL, NONE, BAD, ONE],
        "bicubic": [ONE, ONE, BAD, ONE, ALL, ONE],
        "full": [ALL] * 6,
    }
    wins, losses, lost = choose_cases(outcomes, "ours", "bicubic", "full", 2)
    assert wins.chosen == [2, 1] and "finds more objects than bicubic on 2 of 6" in wins.title
    assert losses.chosen == [4, 3] and "finds fewer objects than bicubic on 2 of 6" in losses.title
    assert lost.chosen == [0, 5] and "than full on 4 of 6" in lost.title


def test_images_of_one_detector_alone_are_those_of_most_mistakes_and_of_most_hits():
    one_object = Outcome.of(objects((A, 0)), objects((A, 0)))
    outcomes = [ALL, one_object, ONE, NONE, BAD, outcome((A, 0), (B, 1), (FAR, 0))]
    misses, alarms, right = choose_mistakes(outcomes, "ours", 2)
    assert misses.chosen == [4, 3]
    assert misses.title == "ours misses objects on 3 of 6 images; those with most of them:"
    assert alarms.chosen == [5] and "false alarms or wrong classes on 2 of 6" in alarms.title
    assert right.chosen == [0, 1] and "all objects and nothing else on 2 of 6" in right.title


def test_equal_differences_in_hits_are_ordered_by_mistakes():
    outcomes = {"ours": [ALL, ALL], "bicubic": [ONE, outcome((A, 0), (FAR, 0))]}
    assert choose_cases(outcomes, "ours", "bicubic", None, 2)[0].chosen == [1, 0]


def test_equal_differences_are_in_the_order_of_the_data_set():
    outcomes = {"ours": [ALL, ALL, ALL], "bicubic": [ONE, NONE, ONE]}
    wins, losses = choose_cases(outcomes, "ours", "bicubic", None, 3)
    assert wins.chosen == [1, 0, 2]
    assert losses.chosen == [] and losses.title.endswith("on 0 of 3 images")


@pytest.fixture
def dataset(tmp_path):
    file = tmp_path / "a.png"
    Image.new("RGB", (128, 128), (40, 40, 40)).save(file)
    annotations = [
        {"bbox": list(box), "bbox_mode": BoxMode.XYXY_ABS, "category_id": label}
        for box, label in ((A, 0), (B, 1))
    ]
    entry = {"file_name": str(file), "height": 128, "width": 128, "annotations": annotations}
    return [{**entry, "image_id": k} for k in range(2)]


def columns_of(path):
    """Pixels of the two columns of a sheet, below its legend."""
    sheet, side, top = np.asarray(Image.open(path)), panel_side(2), 130
    assert sheet.shape[1] == 2 * side + 3 * 16
    return sheet[top:, 16 : 16 + side], sheet[top:, 32 + side : 32 + 2 * side]


def drawn(part, color):
    return (np.abs(part.astype(int) - color).max(-1) <= 4).sum() > 50


@pytest.mark.parametrize("colors", [FOUR_OUTCOMES, THREE_OUTCOMES])
def test_the_sheet_shows_outcomes_in_their_colours(dataset, tmp_path, colors):
    columns = [
        Column("bicubic", {0: objects((B, 0), (FAR, 1)), 1: objects()}),
        Column("ours", {0: objects((A, 0), (B, 1)), 1: objects((B, 1))}),
    ]
    path = tmp_path / "new" / "cases.png"
    write_failure_cases(
        path, dataset, columns, ["x", "y"], "ours", "bicubic", images=1, colors=colors
    )
    left, right = columns_of(path)
    assert drawn(left, colors.miss) and drawn(left, colors.false_alarm)
    assert not drawn(left, colors.hit)
    assert drawn(right, colors.hit) and not drawn(right, colors.false_alarm)
    if colors.wrong_class is not None:
        assert drawn(left, colors.wrong_class) and not drawn(right, colors.wrong_class)


class Noted(Panel):
    """A panel that notes what is drawn on it."""

    def __init__(self):
        super().__init__(Image.new("RGB", (128, 128)), (0, 0, 128, 128))
        self.boxes, self.names = [], []

    def box(self, box, color, dashed=False):
        self.boxes.append((tuple(box), color, dashed))

    def label(self, box, color, text):
        self.names.append(text)


def test_four_outcomes_let_a_wrong_class_stand_for_the_miss():
    panel, colors = Noted(), FOUR_OUTCOMES
    draw_outcome(panel, outcome((B, 0), (FAR, 1)), ["x", "y"], colors)
    assert panel.boxes == [
        (A, colors.miss, True),
        (B, colors.wrong_class, False),
        (FAR, colors.false_alarm, False),
    ]
    assert panel.names == ["x", "y"]


def test_three_outcomes_are_boxes_alone():
    panel, colors = Noted(), THREE_OUTCOMES
    draw_outcome(panel, outcome((B, 0), (FAR, 1), (A, 0)), ["x", "y"], colors)
    assert panel.boxes == [
        (B, colors.miss, False),
        (B, colors.false_alarm, False),
        (FAR, colors.false_alarm, False),
        (A, colors.hit, False),
    ]
    assert panel.names == []


@pytest.mark.parametrize(("side", "line"), [(64, 1), (256, 2)])
def test_lines_are_thin_where_an_image_is_shown_smaller_than_it_is(side, line):
    panel = Panel(Image.new("RGB", (side, side)), (0, 0, 128, 128))
    draw_outcome(panel, Outcome.of(objects((A, 0)), objects((A, 0))), ["x"], THREE_OUTCOMES)
    shown = 20 * side // 128
    drawn = (np.asarray(panel.image) == THREE_OUTCOMES.hit).all(-1).sum()
    assert drawn == (shown + 2 * line) ** 2 - shown**2


def test_mistakes_in_one_place_have_one_label():
    found = Objects.from_rows(
        [(A, 0, 0.3), (FAR, 1, 0.8), ((11, 10, 30, 30), 1, 0.9), ((10, 11, 30, 30), 2, 0.4)]
    )
    assert _piles(found, [0, 1, 2, 3]) == [[2, 3, 0], [1]]
    assert _piles(found, []) == []


def test_an_unknown_column_is_named(dataset, tmp_path):
    with pytest.raises(KeyError, match="no column 'ours': there are bicubic"):
        write_failure_cases(
            tmp_path / "x.png", dataset, [Column("bicubic", {})], [], "ours", "bicubic"
        )
