from __future__ import annotations

import json

from lowres_d2.analysis.cost.trade_off import (
    Point,
    measure_points,
    plot_trade_off,
    points_of_comparisons,
    speed,
)

import pytest
import torch
from matplotlib.axes import Axes
from PIL import Image
from torch import nn


def evaluation(folder, name, low, full=50.0, metric="bbox/AP"):
    def measured(accuracy, speed, macs):
        return {"accuracy": accuracy, "images_per_second": speed, "macs": macs}

    file = folder / f"{name}.json"
    comparison = {
        "metric": metric,
        "full_resolution": measured(full, 5.0, 8e9),
        "low_resolution": measured(low, 40.0, 5e8),
    }
    file.write_text(json.dumps({"bbox": {"AP": low}, "comparison": comparison}))
    return file


def test_points_come_from_comparisons_with_one_full_resolution_model(tmp_path):
    files = {"a": evaluation(tmp_path, "a", 20.0), "b": evaluation(tmp_path, "b", 22.0)}
    points = points_of_comparisons(files)
    assert points == [
        Point("full resolution", 50.0, 5.0, 8e9),
        Point("a", 20.0, 40.0, 5e8),
        Point("b", 22.0, 40.0, 5e8),
    ]


def test_errors_name_the_file_that_cannot_be_compared(tmp_path):
    good = evaluation(tmp_path, "a", 20.0)
    with pytest.raises(FileNotFoundError, match=r"none\.json: run train_net\.py --eval-only"):
        points_of_comparisons({"a": tmp_path / "none.json"})
    plain = tmp_path / "plain.json"
    plain.write_text('{"bbox": {"AP": 3}}')
    with pytest.raises(ValueError, match=r"plain\.json has no comparison"):
        points_of_comparisons({"a": good, "b": plain})
    other = evaluation(tmp_path, "other", 20.0, full=30.0)
    with pytest.raises(ValueError, match=r"other\.json was compared with .* AP 30\.0"):
        points_of_comparisons({"a": good, "b": other})
    top1 = evaluation(tmp_path, "top1", 20.0, full=30.0, metric="classification/top1")
    with pytest.raises(ValueError, match=r"top1\.json was compared with .* top1 30\.0"):
        points_of_comparisons({"a": good, "b": top1})


def test_there_is_a_panel_for_each_known_cost(tmp_path):
    points = [Point("full", 50, 5.0, 8e9, 0.5), Point("low", 20, 40.0)]
    points += [Point(f"{k}x", 50 - 10 * k, 5.0 * k, series="one checkpoint") for k in range(1, 4)]
    both = Image.open(plot_trade_off(points, tmp_path / "new" / "both.png", "a machine"))
    one = Image.open(plot_trade_off(points[1:], tmp_path / "one.png"))
    assert both.width > 1.4 * one.width and both.height == one.height
    with pytest.raises(ValueError, match="none of the points has"):
        plot_trade_off([Point("x", 3.0)], tmp_path / "none.png")


def test_speeds_of_classifiers_are_whole_numbers():
    shown = [speed(number) for number in (0.01234, 39.04, 409.4, 999.4, 999.6, 1780.2, 25000.0)]
    assert shown == ["0.0123", "39", "409", "999", "1,000", "1,780", "25,000"]


def test_operations_are_drawn_where_a_model_has_layers_of_few_bits(tmp_path, monkeypatch):
    points = [
        Point("real-valued", 50.0, 5.0, 8e9, ops=8e9),
        Point("1-bit", 40.0, 9.0, 8e9, ops=1e9),
        Point("of an older file", 20.0, 9.0, 8e9),
    ]
    titles = []
    monkeypatch.setattr(Axes, "set_xlabel", lambda self, title: titles.append(title))
    plot_trade_off(points, tmp_path / "few.png")
    plot_trade_off([points[0], points[2]], tmp_path / "real.png")
    assert titles[1] == "OPs per image, G" and titles[3] == "MACs per image, G"


def test_measured_points_have_operations_and_memory():
    layer = nn.Linear(4, 2, bias=False)
    model = nn.Sequential(layer)
    model.forward = lambda inputs: layer(inputs[0]["image"])
    (point,) = measure_points({"a": model}, {"a": 1.0}, [{"image": torch.zeros(3, 4)}], rounds=1)
    assert point.macs == point.ops == 24 and point.memory == 32 and not point.has_low_bits
