from __future__ import annotations

import json
import re
import shutil

from lowres_d2.analysis.figures.outcomes import THREE_OUTCOMES
from lowres_d2.engine.build import build_model
from lowres_d2.engine.evaluation_file import subject_of, write_evaluation
from lowres_d2.engine.identity import recipe_text
from lowres_d2.evaluation.found_boxes import PREDICTIONS
from lowres_d2.own_files import own_path
from lowres_d2.programs.train import main as train
from lowres_d2.programs.visualize import ALL, draw_thumbnails, main, open_run
from lowres_d2.recipes.load import load_recipe

import numpy as np
import pytest
import torch
from detectron2.config import LazyConfig
from PIL import Image

from toys.runs import PLAIN

LOW = "configs/own_data/bicubic4_fcos_small_own.py"


@pytest.fixture(scope="module")
def opts(coco_json):
    data = [f"data.train_json={coco_json}", f"data.val_json={coco_json}"]
    return [*data, "train.device=cpu", "dataloader.test.num_workers=0"]


@pytest.fixture(scope="module")
def runs(opts, tmp_path_factory):
    """Two runs with random weights."""
    given = []
    for name, recipe in (("full", PLAIN), ("bicubic", LOW)):
        weights = tmp_path_factory.mktemp("weights") / "weights.pth"
        torch.save({"model": build_model(load_recipe(recipe, opts)).state_dict()}, weights)
        given.append(f"{name}={recipe}@{weights}")
    return given


def write_results(run, found, results):
    """An evaluation of a run, where the program itself would write it."""
    folder = run.folders[-1]
    folder.mkdir(parents=True)
    for name, content in ((PREDICTIONS, found), ("sized_coco.json", {"max_dets": 100})):
        with own_path(folder / name) as part:
            part.write_text(json.dumps(content))
    write_evaluation(folder, results, subject_of(run.cfg, run.model))


def test_all_leaves_out_figures_that_the_runs_have_nothing_for(
    runs, opts, tmp_path, capsys, monkeypatch
):
    drawn = tmp_path / "trade_off.png"
    monkeypatch.setattr("lowres_d2.programs.visualize.draw_trade_off", lambda *_: drawn)
    write_results(open_run(runs[0], tmp_path, opts), [], {"bbox": {"AP": 0.0, "max-dets": 100}})
    main(["all", "--runs", runs[0], "--output", str(tmp_path), *opts])
    assert capsys.readouterr().out.splitlines() == [
        "left out: thumbnails: none of the runs lowers the resolution",
        str(tmp_path / "detections.png"),
        str(drawn),
        "left out: gains: expected at least two runs to compare",
    ]
    with pytest.raises(SystemExit):  # asked for by name
        main(["thumbnails", "--runs", runs[0], "--output", str(tmp_path), *opts])
    assert "thumbnails: none of the runs" in capsys.readouterr().err


@pytest.mark.slow
def test_one_command_draws_all(runs, opts, tmp_path, capsys):
    main(["all", "--runs", *runs, "--output", str(tmp_path), "--images", "1", *opts])
    said = capsys.readouterr().out
    for name in ("thumbnails", "detections", "trade_off"):
        assert f"{name}.png" in said
        assert min(Image.open(tmp_path / f"{name}.png").size) > 150  # no images where none differ
    assert (tmp_path / "evaluations" / "bicubic" / "evaluation.json").is_file()
    assert "| **bicubic** | " in (tmp_path / "gains.md").read_text()


@pytest.mark.parametrize("part", ["outcomes", "saliency"])
def test_detections_in_three_colours_are_drawn_by_name(
    part, runs, opts, tmp_path, coco_json, capsys
):
    truth = json.loads(coco_json.read_text())
    right = [a | {"score": 0.9} for a in truth["annotations"]]
    for run, found in zip(runs, (right, []), strict=True):
        write_results(open_run(run, tmp_path, opts), found, {"bbox": {"AP": 1.0, "max-dets": 100}})
    main([part, "--runs", *runs, "--output", str(tmp_path), "--images", "1", *opts])
    path = tmp_path / f"{part}.png"
    assert capsys.readouterr().out.splitlines() == [str(path)]
    sheet = np.asarray(Image.open(path)).astype(int)
    for color in (THREE_OUTCOMES.hit, THREE_OUTCOMES.miss):
        boxes = np.abs(sheet - color).max(-1) <= 4
        assert boxes.sum() > 1000  # more than the legend's square
    assert part not in ALL["bbox"]


def test_one_run_alone_shows_what_it_finds_and_misses(runs, opts, tmp_path, coco_json, capsys):
    truth = json.loads(coco_json.read_text())
    found = [a | {"score": 0.9} for a in truth["annotations"][1:]]
    write_results(open_run(runs[0], tmp_path, opts), found, {"bbox": {"AP": 1, "max-dets": 100}})
    main(["outcomes", "--runs", runs[0], "--output", str(tmp_path), *opts])
    path = tmp_path / "outcomes.png"
    assert capsys.readouterr().out.splitlines() == [str(path)]
    sheet = np.asarray(Image.open(path)).astype(int)
    for color in (THREE_OUTCOMES.hit, THREE_OUTCOMES.miss):
        assert (np.abs(sheet - color).max(-1) <= 4).sum() > 400  # more than the legend's square


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["outcomes", "--ours", "ful"],
            "--ours ful: is the name of none of --runs, nearest: 'full'",
        ),
        (["detections", "--full", "x"], "--full x: is the name of none of --runs; there are full,"),
        (["outcomes", "--baseline", "bicubic"], "--baseline bicubic: is compared with itself"),
    ],
)
def test_roles_are_checked_before_a_model_is_opened(
    arguments, message, runs, opts, tmp_path, capsys, monkeypatch
):
    monkeypatch.delattr("lowres_d2.programs.visualize.open_run")
    with pytest.raises(SystemExit):
        main([*arguments, "--runs", *runs, "--output", str(tmp_path), *opts])
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("part", ["gains", "confusion"])
def test_what_a_figure_needs_is_asked_for_before_a_model_is_opened(
    part, runs, opts, tmp_path, capsys, monkeypatch
):
    monkeypatch.delattr("lowres_d2.programs.visualize.open_run")
    run = runs[0] if part == "gains" else LOW
    with pytest.raises(SystemExit):
        main([part, "--runs", run, "--output", str(tmp_path), *opts])
    expected = "expected at least two runs" if part == "gains" else "has no weights: give RECIPE@"
    assert expected in capsys.readouterr().err


def test_gains_of_runs_are_a_table(runs, opts, tmp_path, coco_json, capsys):
    truth = json.loads(coco_json.read_text())
    right = [a | {"score": 0.9} for a in truth["annotations"]]
    for run, found in zip(runs, (right, right[:3]), strict=True):
        results = {"bbox": {"AP": 1.0, "max-dets": 100}}
        write_results(open_run(run, tmp_path, opts), found, results)
    main(["gains", "--runs", *runs, "--output", str(tmp_path), *opts])
    _, _, row, *_, said = (tmp_path / "gains.md").read_text().splitlines()
    (value,) = map(float, re.findall(r"[+-][0-9.]+", row))
    # Three of six objects are missing: of one class one, of the other two of its three.
    assert value == pytest.approx(-100 * (1 - (67 + 34) / 202), abs=0.06)
    assert said.startswith("AP has no interval: it rests on fewer than 10 test images")


def test_a_run_is_shown_with_metrics_of_its_own_weights_alone(trained, tmp_path, capsys):
    """Other weights were evaluated into its folder, or its own on other settings."""
    folder, drawn = tmp_path / "run", tmp_path / "drawn"
    shutil.copytree(trained.folder, folder)
    own = open_run(str(folder), drawn)
    assert own.folder == folder and own.evaluation["bbox"]["GT-all"] > 0
    assert "evaluating" not in capsys.readouterr().out

    state = trained.checkpoint()
    state["model"]["detector.head.cls_score.bias"] += 1
    torch.save(state, tmp_path / "other.pth")
    evaluate = ["--eval-only", *trained.arguments(folder)]
    others = [f"train.init_checkpoint={tmp_path / 'other.pth'}"]
    stricter = [f"train.init_checkpoint={trained.file}", "model.detector.test_score_thresh=0.9"]
    for change in (others, stricter):
        train([*evaluate, *change])
        shown = open_run(str(folder), drawn)
        assert shown.folder == drawn / "evaluations" / "run"
        assert shown.evaluation == own.evaluation
        found = (shown.folder / PREDICTIONS).read_text()
        assert found == (trained.folder / PREDICTIONS).read_text()
        assert found != (folder / PREDICTIONS).read_text()
    assert capsys.readouterr().out.count("run: evaluating, in ") == 1  # and then read

    train([*evaluate, f"train.init_checkpoint={trained.file}"])
    assert open_run(str(folder), drawn).folder == folder
    other = open_run(f"{folder}@{tmp_path / 'other.pth'}", drawn)
    assert other.folder == drawn / "evaluations" / "run"
    assert (other.folder / PREDICTIONS).read_text() != found


def test_a_bare_recipe_shows_how_its_resampler_starts(opts, tmp_path):
    cfg = load_recipe(LOW, opts)
    cfg.model.resampler = {
        "_target_": "lowres_d2.modeling.resample.LearnedDownsampler",
        "factor": 4,
    }
    LazyConfig.save(cfg, str(tmp_path / "learned.yaml"))
    run = open_run(f"ours={tmp_path / 'learned.yaml'}", tmp_path)
    assert run.name == "ours (untrained: box filter)"
    assert run.lowers_resolution


def test_training_images_are_drawn_of_one_run_or_several(opts, tmp_path, capsys):
    main(["data", "--runs", LOW, "--output", str(tmp_path), "--images", "1", *opts])
    assert capsys.readouterr().out.split() == [str(tmp_path / "data.png")]
    assert Image.open(tmp_path / "data.png").width == 3 * 512 + 4 * 16  # with the thumbnail
    runs = [f"low={LOW}", f"a b={PLAIN}"]
    main(["data", "--output", str(tmp_path), "--images", "2", "--runs", *runs, *opts])
    names = ["data_low.png", "data_a_b.png"]
    assert capsys.readouterr().out.splitlines() == [str(tmp_path / name) for name in names]
    assert Image.open(tmp_path / names[1]).width == 2 * 512 + 3 * 16
    assert not list(tmp_path.glob("evaluations"))


def test_weights_that_say_their_recipe_are_a_run(opts, tmp_path):
    cfg = load_recipe(LOW, opts)
    file = tmp_path / "weights.pth"
    torch.save({"model": build_model(cfg).state_dict(), "recipe": recipe_text(cfg)}, file)
    run = open_run(f"ours={file}", tmp_path)
    assert run.name == "ours" and run.lowers_resolution
    for key, value in torch.load(file)["model"].items():
        assert torch.equal(run.model.state_dict()[key], value)
    assert run.dataset.source == load_recipe(LOW, opts).data.val_json


def test_thumbnails_are_beside_what_was_downsampled(opts, tmp_path, monkeypatch):
    """Runs that resize in the mapper, one of them to another size."""
    drawn = {}

    def write(path, entries, views, original):
        views = {"original": original, **views}
        drawn.update({name: view(entries[0]) for name, view in views.items()})

    monkeypatch.setattr("lowres_d2.programs.visualize.write_thumbnails", write)
    resize = "dataloader.test.mapper.augmentations.0.short_edge_length="
    runs = [open_run(f"{side}={LOW}", tmp_path, [*opts, f"{resize}{side}"]) for side in (80, 96)]
    draw_thumbnails(runs, tmp_path, 1)
    sizes = {name: seen.values.shape[:2] for name, seen in drawn.items()}
    assert sizes == {"original": (80, 80), "80": (20, 20), "input of 96": (96, 96), "96": (24, 24)}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["data", "--runs", LOW, LOW], "two runs are called"),
        (["detections", "--runs", f"a={LOW}"], "a has no weights: give RECIPE@WEIGHTS"),
        (["thumbnails", "--runs", LOW, LOW], "two runs are called"),
        (["thumbnails", "--runs", PLAIN], "none of the runs lowers the resolution"),
        (["thumbnails", "--runs", "{folder}"], "is no finished run"),
        (["data", "--runs", f"a b={LOW}", f"a_b={PLAIN}"], "'a b' and another run would write the"),
        (["thumbnails", "--runs", f"a/b={LOW}", f"a_b={LOW}"], "'a/b' and another run would"),
        (["thumbnails", "--images", "0", "--runs", LOW], "--images 0: expected"),
        (["thumbnails", "--runs", LOW, "train.max_itr=8"], "train.max_itr"),  # no run
    ],
)
def test_mistakes_are_said_in_one_line(arguments, message, opts, tmp_path, capsys):
    given = [argument.format(folder=tmp_path) for argument in arguments]
    with pytest.raises(SystemExit):
        main([*given, "--output", str(tmp_path), *opts])
    said = capsys.readouterr().err.strip()
    assert message in said and "\n" not in said


def test_runs_at_two_caps_on_detections_are_not_compared(runs, opts, tmp_path, capsys):
    for run, cap in zip(runs, (100, 1500), strict=True):
        results = {"bbox": {"AP": 50.0, "max-dets": cap}}
        write_results(open_run(run, tmp_path, opts), [], results)
    with pytest.raises(SystemExit):
        main(["trade-off", "--runs", *runs, "--output", str(tmp_path), *opts])
    assert "maxDets differ (full 100, bicubic 1500)" in capsys.readouterr().err
    assert not (tmp_path / "trade_off.png").exists()
