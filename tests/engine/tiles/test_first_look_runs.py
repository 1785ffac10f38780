"""A thumbnail first, through a recipe: evaluation, analyze, and the program that compares."""

import json
import logging

from lowres_d2.programs.analyze import main as analyze
from lowres_d2.programs.tiles import main as tiles
from lowres_d2.programs.train import main as train

import pytest

IN_NINE = ["+tiles.size=32", "+tiles.overlap=16", "dataloader.test.mapper.augmentations=[]"]
FIRST = [*IN_NINE, "+tiles.first=2"]
BOXES = "coco_instances_results.json"


def test_each_way_to_see_images_is_evaluated_and_timed(trained, tmp_path):
    recipe, *overrides = trained.arguments(tmp_path)[1:]
    weights = f"train.init_checkpoint={trained.file}"
    named = ["--config-file", recipe, "--unsure", "0,1", "1,1"]
    tiles([*named, *overrides, weights, *FIRST])
    found = json.loads((tmp_path / "tiles.json").read_text())
    chosen = ["thumbnail, then 0 to 1", "thumbnail, then 1 to 1"]
    assert list(found) == ["thumbnail", *chosen, "all tiles", "full frame"]
    seen = [row["looked_at"] and row["looked_at"]["tiles"] for row in found.values()]
    assert seen == [0, 36, 0, None, None]  # of four images of nine tiles
    assert all(row["seconds"] > 0 and row["accuracy"] is not None for row in found.values())
    boxes = {folder.name: (folder / BOXES).read_text() for folder in tmp_path.glob("*/")}
    # Half the image is as large as a tile, so the thumbnail is what all tiles have beside them.
    assert boxes["thumbnail_0_to_1"] == boxes["all_tiles"] != boxes["thumbnail"]
    assert boxes["thumbnail_1_to_1"] == boxes["thumbnail"]
    train(["--eval-only", *trained.arguments(tmp_path / "plain"), weights, IN_NINE[-1]])
    assert (tmp_path / "plain" / BOXES).read_text() == boxes["full_frame"]
    table = " ".join((tmp_path / "tiles.md").read_text().split())
    assert "| thumbnail, then 0 to 1 | 100.0 |" in table and "| all tiles | 100.0 |" in table
    assert (tmp_path / "tiles.png").stat().st_size > 1000


def test_evaluation_and_analyze_report_the_share_of_tiles(trained, tmp_path, caplog, capsys):
    weights = f"train.init_checkpoint={trained.file}"
    every = [*FIRST, "+tiles.unsure=[0,1]"]
    with caplog.at_level(logging.INFO):
        train(["--eval-only", *trained.arguments(tmp_path), weights, *every])
    assert "tiles looked at: 36 of 36 (100.0 %)" in caplog.text
    assert "at 1/2, then tiles with scores from 0 to 1 or objects under 32 px" in caplog.text
    size = ["--weights", str(trained.file), "--size", "64", "80"]
    analyze([*size, *FIRST, "+tiles.unsure=null"])
    assert "full resolution: tiles looked at: 0 of 12 (0.0 %)" in capsys.readouterr().out
    analyze([*size, "--json", *every])
    found = json.loads(capsys.readouterr().out)["full resolution"]
    assert found["tiles"] == {"looked_at": 12, "of": 12}


def test_what_looks_at_no_thumbnail_is_named(trained, tmp_path, capsys):
    recipe, *overrides = trained.arguments(tmp_path)[1:]
    named = ["--config-file", recipe, *overrides, f"train.init_checkpoint={trained.file}"]
    for more, message in (
        ([*IN_NINE], "looks at no thumbnail first: add +tiles.first=4"),
        (["--unsure", "0.4", *FIRST], "--unsure 0.4: expected two scores, such as 0.1,0.5"),
    ):
        with pytest.raises(SystemExit):
            tiles([*named, *more])
        assert message in capsys.readouterr().err
