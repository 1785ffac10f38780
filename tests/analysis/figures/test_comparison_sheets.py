from __future__ import annotations

from lowres_d2.analysis.figures import comparison_sheets
from lowres_d2.analysis.figures.cells import zoom_windows
from lowres_d2.analysis.figures.comparison_sheets import Column, choose_images, comparison_sheet
from lowres_d2.analysis.figures.detections import Objects, true_objects
from lowres_d2.analysis.figures.drawing import Panel, class_colors, look
from lowres_d2.analysis.figures.sheets import (
    LARGEST_PANEL,
    MOST_BYTES,
    SMALLEST_PANEL,
    headings,
    legend,
    panel_side,
    save_sheet,
    text_block,
)
from lowres_d2.analysis.figures.views import Seen, model_view
from lowres_d2.data import DetectionMapper
from lowres_d2.modeling import LowResDetector
from lowres_d2.modeling.resample import Bicubic, DownUp

import numpy as np
import pytest
from detectron2.data import transforms as T
from detectron2.structures import BoxMode
from PIL import Image
from torch import nn

GREEN = (0, 255, 0)


def entry(folder, name="a", boxes=((10, 10, 8, 8), (40, 20, 16, 16)), size=(64, 96)):
    file = folder / f"{name}.png"
    if not file.exists():
        pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(file)
    annotations = [
        {"bbox": list(box), "bbox_mode": BoxMode.XYWH_ABS, "category_id": k % 2, "iscrowd": 0}
        for k, box in enumerate(boxes)
    ]
    return {
        "file_name": str(file),
        "image_id": name,
        "height": size[0],
        "width": size[1],
        "annotations": annotations,
    }


def test_a_degraded_image_says_which_size_it_had(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(
        comparison_sheets,
        "text_block",
        lambda text, *more: said.append(text) or text_block(text, *more),
    )
    view = model_view(LowResDetector(nn.Identity(), DownUp(4)))
    comparison_sheet([entry(tmp_path)], [Column("a", view=view)], ["a", "b"])
    assert said == ["24 x 16 pixels, enlarged to 96 x 64"]


def test_enlarged_pixels_are_whole_squares():
    pixels = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
    shown = np.asarray(look(pixels, 1.0, (0, 0, 6, 4), (12, 18)))
    assert np.array_equal(shown, np.kron(pixels, np.ones((3, 3, 1), np.uint8)))


def test_a_low_resolution_image_lies_in_the_frame_of_the_original():
    low = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)  # of 4 x 6 or 3 x 5 pixels
    shown = np.asarray(look(low, 2.0, (1, 0, 5, 3), (3, 4)))
    assert np.array_equal(shown[..., 0], low[[[0], [0], [1]], [[0, 1, 1, 2]], 0])


def test_an_image_of_another_aspect_ratio_fills_the_frame_of_the_original():
    low = np.arange(2 * 2 * 3, dtype=np.uint8).reshape(2, 2, 3)  # of 2 x 6 pixels
    shown = np.asarray(look(low, 1.0, (1, 0, 6, 2), (2, 5), stretch=3.0))
    assert np.array_equal(shown[..., 0], low[[[0], [1]], [[0, 0, 1, 1, 1]], 0])


def test_a_window_may_leave_the_image_and_a_large_one_is_downsampled():
    pixels = np.full((40, 80, 3), 7, np.uint8)
    assert np.asarray(look(pixels, 1.0, (-4, -4, 4, 4), (16, 16))).min() == 7
    assert look(pixels, 1.0, (0, 0, 80, 40), (10, 20)).size == (20, 10)


@pytest.mark.parametrize("dashed", [False, True])
def test_a_box_hides_no_pixel_of_its_object(dashed):
    panel = Panel(Image.new("RGB", (100, 100), (9, 9, 9)), (0, 0, 50, 50))
    panel.box((10, 10, 14, 13), GREEN, dashed=dashed)
    panel.label((10, 10, 14, 13), GREEN, "word 0.50")
    pixels = np.asarray(panel.image)
    assert (pixels[20:26, 20:28] == 9).all()
    assert tuple(pixels[19, 18]) == GREEN


@pytest.mark.parametrize("box", [(0, 0, 3, 3), (47, 0, 50, 3), (0, 47, 3, 50), (47, 47, 50, 50)])
def test_labels_stay_in_the_image(box):
    panel = Panel(Image.new("RGB", (150, 150)), (0, 0, 50, 50))
    panel.label(box, GREEN, "word")
    x0, y0, x1, y1 = panel._taken[0]
    assert 0 <= x0 < x1 <= 150 and 0 <= y0 < y1 <= 150
    width, height = x1 - x0, y1 - y0
    assert np.count_nonzero((np.asarray(panel.image) == GREEN).all(-1)) > 0.4 * width * height


def test_class_colors_differ_and_do_not_depend_on_the_number_of_classes():
    assert len(set(class_colors(60))) == 60
    assert class_colors(60)[:5] == class_colors(5)


@pytest.mark.parametrize("image_format", ["RGB", "BGR", "L"])
def test_the_view_is_what_mapper_and_resampler_give(tmp_path, image_format):
    record, mapper = entry(tmp_path), DetectionMapper(False, image_format=image_format)
    seen = model_view(nn.Identity(), mapper)(record)
    assert seen.factor == 1 and seen.values.shape == (64, 96, 3)
    if image_format != "L":
        assert np.array_equal(seen.pixels, np.asarray(Image.open(record["file_name"])))
    low = model_view(LowResDetector(nn.Identity(), Bicubic(4)), mapper)(record)
    assert low.factor == 4 and low.values.shape == (16, 24, 3)


def test_the_factor_of_a_view_includes_the_resizing_of_the_mapper(tmp_path):
    half = DetectionMapper(False, [T.Resize((32, 48))])
    seen = model_view(LowResDetector(nn.Identity(), Bicubic("3/2")), half)(entry(tmp_path))
    assert seen.factor == pytest.approx(3) and seen.values.shape == (22, 32, 3)


def test_values_that_leave_the_range_are_counted_and_clipped_only_for_display():
    values = np.float32([[[0, 1.5, -0.1], [1, 2, 0.5]]])
    seen = Seen(values, 4)
    assert seen.share_outside().tolist() == [0, 1, 0.5]
    assert seen.pixels.tolist() == [[[0, 255, 0], [255, 255, 128]]]


def test_chosen_images_are_those_with_smaller_objects_in_order(tmp_path):
    entries = [entry(tmp_path, str(k), [(5, 5, 4 + k, 4 + k)]) for k in range(6)]
    entries.insert(2, entry(tmp_path, "none", []))
    assert [e["image_id"] for e in choose_images(entries, 2)] == ["0", "1"]
    assert len(choose_images(entries, 99)) == 3


def test_zooms_show_the_smallest_objects_first_and_stay_inside(tmp_path):
    boxes = [(0, 0, 16, 16), (90, 60, 4, 4), (86, 56, 4, 4), (50, 30, 8, 8)]
    windows = zoom_windows(true_objects(entry(tmp_path, boxes=boxes)), 96, 64)
    assert windows[0] == (64, 32, 96, 64)  # the neighbour of 4 px is in it
    assert all(x0 >= 0 and y0 >= 0 and x1 <= 96 and y1 <= 64 for x0, y0, x1, y1 in windows)
    assert len(windows) == 2  # a window on the object of 16 px would not enlarge it
    truth = true_objects(entry(tmp_path, boxes=boxes))
    chosen = zoom_windows(truth, 96, 64, first=np.array([False, False, False, True]))
    assert chosen == windows[::-1]


def test_a_sheet_has_a_column_for_each_run_and_draws_missed_objects(tmp_path):
    record = entry(tmp_path)
    truth = true_objects(record)
    columns = [Column("truth"), Column("all", {"a": truth}), Column("none", {})]
    sheet = np.asarray(comparison_sheet([record], columns, ["x", "y"]))
    side = panel_side(3)
    assert sheet.shape[1] == 3 * side + 4 * 16
    parts = [sheet[50:350, 16 + k * (side + 16) :][:, :side] for k in range(3)]
    red = [(part == class_colors(1)[0]).all(-1).sum() for part in parts]
    assert red[0] > 0 and red[1] > 0 and red[2] == 0
    white = [(part == 255).all(-1).sum() for part in parts]
    assert white[2] > white[0] + 50


def test_an_empty_image_has_a_cell_too(tmp_path):
    sheet = comparison_sheet(
        [entry(tmp_path, boxes=[])],
        [Column("truth"), Column("run", {"a": Objects.from_rows([])})],
        [],
    )
    assert sheet.width == 2 * panel_side(2) + 3 * 16


@pytest.mark.parametrize("columns", range(1, 9))
def test_many_columns_have_smaller_panels(columns):
    side = panel_side(columns)
    assert SMALLEST_PANEL <= side <= LARGEST_PANEL and side % 64 == 0
    assert columns > 6 or columns * side <= 1600


def test_headings_are_wrapped_and_of_one_height():
    short, long = headings(["one", "a heading of several words that is wider than that"], 200)
    assert short.size == long.size and short.width == 200 and short.height > 56
    assert np.asarray(short)[:28].min() == 255  # the shorter one is at the bottom


def test_a_legend_takes_the_lines_it_needs():
    entries = [(f"name {k}", (k, 0, 0)) for k in range(10)]
    assert legend(entries, 300).height > legend(entries, 3000).height
    assert legend(entries, 300).width == 300


def test_a_large_sheet_is_written_in_fewer_shades_and_a_small_one_exactly(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (600, 600, 3), dtype=np.uint8)
    file = save_sheet(Image.fromarray(noise), tmp_path / "new" / "large.png")
    written = np.asarray(Image.open(file))
    assert file.stat().st_size < MOST_BYTES
    assert np.abs(written.astype(int) - noise).max() <= 6
    assert (written[noise == 255] == 255).all() and (written[noise == 0] == 0).all()
    small = Image.fromarray(noise[:100])
    assert np.array_equal(Image.open(save_sheet(small, tmp_path / "small.png")), small)
