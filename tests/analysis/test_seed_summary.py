from dataclasses import replace

from lowres_d2.analysis.cost.trade_off import Point
from lowres_d2.analysis.seed_summary import SeedResult, cost_table, gap_closed, summary_table
from lowres_d2.evaluation.shown import ShownMetrics

import pytest

SHOWN = ShownMetrics(size_ranges=("0-12", "12-inf"))


def results():
    accuracies = {"full": (44.0, 43.6), "bicubic": (29.0, 29.2), "ours": (32.0, 32.6)}
    return [
        SeedResult(
            name,
            seed,
            {"AP": ap, "AP50": ap + 20, "AP-0-12": None, "AP-12-inf": ap, "AP-plus": 1.0},
            core_seconds=60.0 * seed,
        )
        for name, aps in accuracies.items()
        for seed, ap in enumerate(aps, 1)
    ]


def test_gap_closed_is_the_percentage_of_the_gap():
    # The paper's 4x: 43.8 at full resolution, 29.1 bicubic, 32.3 with the method.
    assert gap_closed(43.8, 29.1, 32.3) == pytest.approx(21.77, abs=0.01)
    with pytest.raises(ValueError, match="no gap"):
        gap_closed(29.1, 29.1, 32.3)


def test_table_has_means_deviations_drop_rates_and_the_gap():
    rows = {
        line.split("|")[1].strip(): [cell.strip() for cell in line.split("|")[2:-1]]
        for line in summary_table(results(), SHOWN, "bicubic", "full").splitlines()
    }
    head = ["AP", "AP50", "AP-0-12", "AP-12-inf"]
    assert rows[""][:4] == head
    assert rows["full"] == [
        "43.8 ± 0.3",
        "63.8 ± 0.3",
        "n/a (0 GT)",
        "43.8 ± 0.3",
        "",
        "",
        "",
        "1.5",
    ]
    assert rows["bicubic"][4:] == ["33.6 %", "", "", "1.5"]
    # 32.3 against 29.1 of 43.8: drop rates 26.26 and 33.56 %.
    assert rows["ours"][4:] == ["26.3 %", "7.3 points", "21.8 %", "1.5"]


def test_unknown_times_are_left_out_of_the_mean():
    known, *others = results()
    found = [known, *(replace(one, core_seconds=None) for one in others)]
    table = summary_table(found, SHOWN, "bicubic", "full")
    cells = [line.split("|")[-2].strip() for line in table.splitlines()[2:]]
    assert cells == ["1.0", "", ""]


def test_without_a_full_resolution_detector_the_table_shows_gains():
    lines = summary_table(results(), SHOWN, "bicubic", None).splitlines()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in (lines[0], *lines[2:])]
    assert rows[0][5:] == ["gain", "gain 0-12", "gain 12-inf", "core min"]
    assert {row[0]: row[5:8] for row in rows[1:]} == {
        "full": ["+14.7", "", "+14.7"],
        "bicubic": ["", "", ""],
        "ours": ["+3.2", "", "+3.2"],
    }


def test_columns_are_those_of_the_evaluator():
    found = [
        SeedResult(name, 1, {"top1": value, "top5": 99.0, "top1-cat": 1.0}, None)
        for name, value in (("teacher", 90.0), ("student", 80.0), ("ours", 81.0))
    ]
    shown = ShownMetrics("classification", ("top1", "top5"))
    for full, head, ours in (
        ("teacher", ["top1 drop", "drop reduction", "gap closed"], ["10.0 %", "1.1 points"]),
        (None, ["gain"], ["+1.0"]),
    ):
        lines = summary_table(found, shown, "student", full).splitlines()
        rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
        assert rows[0] == ["", "top1", "top5", *head, "core min"]
        assert rows[4][:3] == ["ours", "81.0", "99.0"] and rows[4][3 : 3 + len(ours)] == ours


def test_a_full_resolution_detector_of_zero_ap_gives_no_rates():
    found = [SeedResult(name, 1, {"AP": 0.0, "AP50": 0.0}, 1.0) for name in ("full", "low")]
    assert "%" not in summary_table(found, ShownMetrics(), "low", "full")


def test_costs_are_relative_to_the_first_detector():
    points = [Point("full", 40.0, 10.0, 2e9), Point("low", 30.0, 55.0, 0.25e9)]
    row = cost_table(points).splitlines()[3]
    assert [cell.strip() for cell in row.split("|")[1:-1]] == [
        "low",
        "0.25",
        "8.0 x",
        "55.0",
        "5.5 x",
    ]


def test_costs_of_models_with_layers_of_few_bits_are_operations_and_memory():
    points = [
        Point("real-valued", 40.0, 10.0, 2e9, ops=2e9, memory=80e6),
        Point("1-bit", 30.0, 55.0, 2e9, ops=0.25e9, memory=4e6),
    ]
    head, _, _, row = (
        [c.strip() for c in line.split("|")[1:-1]] for line in cost_table(points).splitlines()
    )
    assert head == ["", "MB", "GMACs", "GOPs", "fewer", "images/s", "faster"]
    assert row == ["1-bit", "4.00", "2", "0.25", "8.0 x", "55.0", "5.5 x"]
