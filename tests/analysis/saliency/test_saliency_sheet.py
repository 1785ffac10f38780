"""Detections beside saliency maps."""

from __future__ import annotations

from lowres_d2.analysis.figures.comparison_sheets import Column
from lowres_d2.analysis.figures.detections import Objects
from lowres_d2.analysis.figures.outcomes import THREE_OUTCOMES
from lowres_d2.analysis.figures.sheets import panel_side
from lowres_d2.analysis.saliency import SaliencyMap, write_saliency
from lowres_d2.analysis.saliency.sheet import _caption, _shown, share_in_objects

import numpy as np
import pytest
from detectron2.structures import BoxMode
from PIL import Image

A, B = (0, 0, 32, 32), (64, 64, 96, 96)


def objects(*boxes):
    return Objects.from_rows([(box, 0, 0.9) for box in boxes])


def entry(folder):
    file = folder / "a.png"
    Image.new("RGB", (128, 128), (40, 40, 40)).save(file)
    annotations = [
        {"bbox": list(box), "bbox_mode": BoxMode.XYXY_ABS, "category_id": 0} for box in (A, B)
    ]
    size = {"height": 128, "width": 128, "image_id": 0}
    return {"file_name": str(file), "annotations": annotations, **size}


def peak():
    """A map of 4 x 4 cells with 3 in the first object and 1 beside it."""
    values = np.zeros((4, 4), np.float32)
    values[0, 0], values[0, 1] = 3, 1
    return SaliencyMap(values, 32.0, "p2")


def test_the_share_in_objects_is_that_of_pixels(tmp_path):
    share = share_in_objects(peak(), objects(A, B), entry(tmp_path))
    assert share == (pytest.approx(3 / 4), pytest.approx(2 / 16))
    half = share_in_objects(peak(), objects((16, 0, 64, 32)), entry(tmp_path))
    assert half == (pytest.approx((3 / 2 + 1) / 4), pytest.approx(1.5 / 16))
    assert share_in_objects(peak(), objects(), entry(tmp_path)) == (0, 0)


def test_captions_say_the_share_or_that_there_is_no_gradient(tmp_path):
    found = _caption(peak(), objects(A, B), entry(tmp_path))
    assert found == "p2: 75% in objects, which are 12.5% of the image"
    empty = SaliencyMap(np.zeros((4, 4), np.float32), 32.0, "p3")
    assert _caption(empty, objects(A), entry(tmp_path)).startswith("p3: no gradient")
    assert (_shown(empty).values == 1).all()


def test_a_map_is_dark_where_it_is_large():
    values = np.zeros((10, 30), np.float32)
    values[0, :10] = np.linspace(2, 20, 10)
    values[2:] = 0.5
    seen = _shown(SaliencyMap(values, 8.0, "p2"))
    limit = np.percentile(values, 99)
    np.testing.assert_allclose(seen.values[..., 0], 1 - np.minimum(values / limit, 1), atol=1e-6)
    assert seen.factor == 8 and (seen.values == seen.values[..., :1]).all()
    assert _shown(SaliencyMap(values, 8.0, "p2", 3.0)).stretch == 3
    few = np.zeros((20, 20), np.float32)
    few[3, 4] = 7  # of which the percentile is 0
    assert _shown(SaliencyMap(few, 8.0, "p2")).values[3, 4].tolist() == [0, 0, 0]


def test_the_sheet_has_two_columns_for_each_detector(tmp_path):
    columns = [
        Column("one-bit", {0: objects((64, 0, 96, 32))}),
        Column("real-valued", {0: objects(A, B)}),
    ]
    flat = SaliencyMap(np.ones((4, 4), np.float32), 32.0, "p2")
    maps = {"one-bit": lambda _: flat, "real-valued": lambda _: peak()}
    path = write_saliency(tmp_path / "new" / "saliency.png", [entry(tmp_path)], columns, maps)
    sheet, side, gap = np.asarray(Image.open(path)).astype(int), panel_side(5), 16
    assert sheet.shape[1] == 5 * side + 6 * gap
    top = 2 * gap + 26 + gap  # below the legend
    cells = [sheet[top:, gap + k * (side + gap) :][:, :side] for k in range(5)]

    def kinds(cell):
        colors = {"hit": THREE_OUTCOMES.hit, "miss": THREE_OUTCOMES.miss}
        colors["false alarm"] = THREE_OUTCOMES.false_alarm
        return {k for k, c in colors.items() if (np.abs(cell - c).max(-1) <= 4).sum() > 50}

    assert list(map(kinds, cells)) == [{"hit"}, {"miss", "false alarm"}, set(), {"hit"}, set()]
    black = [(cell.max(-1) < 8).mean() for cell in cells]
    assert black[2] > 10 * black[4] > 0
