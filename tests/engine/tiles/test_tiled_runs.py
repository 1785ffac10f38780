"""Tiles through a recipe alone: training, --eval-only, the demo, analyze, and who looks inside."""

import json
import logging

from lowres_d2.analysis.matching.match_report import GroundTruth, match_shares
from lowres_d2.modeling import LowResDetector
from lowres_d2.modeling.resample import Bicubic
from lowres_d2.modeling.tiles import TiledDetector
from lowres_d2.programs.analyze import main as analyze
from lowres_d2.programs.demo import main as demo
from lowres_d2.programs.train import main as train

import pytest
import torch

from toys.data import ToyData
from toys.detectors import fcos

IN_FOUR = ["+tiles.size=48", "+tiles.overlap=32"]
AS_THEY_ARE = "dataloader.test.mapper.augmentations=[]"


def evaluated(trained, folder, *overrides):
    arguments = trained.arguments(folder)
    train(["--eval-only", *arguments, f"train.init_checkpoint={trained.file}", *overrides])
    detections = json.loads((folder / "coco_instances_results.json").read_text())
    return json.loads((folder / "evaluation.json").read_text())["bbox"], detections


def test_images_no_larger_than_a_tile_are_evaluated_as_ever(trained, tmp_path):
    plain = evaluated(trained, tmp_path / "plain", AS_THEY_ARE)
    assert plain[1] == evaluated(trained, tmp_path / "tiles", AS_THEY_ARE, "+tiles.size=128")[1]


def test_whole_images_are_evaluated(trained, tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        metrics, found = evaluated(trained, tmp_path / "a", AS_THEY_ARE, *IN_FOUR)
    assert "48x48 px, overlapping by 32, 4 at a time" in caplog.text
    assert "tiles are cut from images that the mapper has resized" not in caplog.text
    assert metrics["AP"] is not None and found
    assert {row["image_id"] for row in found} == {10, 11, 12, 13}
    plain = evaluated(trained, tmp_path / "b", AS_THEY_ARE)[1]
    assert found != plain
    ends = [(x + w, y + h) for x, y, w, h in (row["bbox"] for row in found)]
    assert max(map(max, ends)) > 48  # in the frame of the image, not of a tile


def test_resized_images_are_warned_of(trained, tmp_path, caplog):
    evaluated(trained, tmp_path / "a", "+tiles.size=128")
    assert "the mapper has resized (ResizeShortestEdge): dataloader.test.mapper.aug" in caplog.text


def test_the_demo_takes_tiles(trained, tmp_path):
    arguments = ["--weights", str(trained.file), "--input", str(trained.data.images)]
    arguments += ["--confidence-threshold", "0.01", AS_THEY_ARE]
    demo([*arguments, "--output", str(tmp_path / "plain")])
    demo([*arguments, "--output", str(tmp_path / "one"), "+tiles.size=64"])
    demo([*arguments, "--output", str(tmp_path / "four"), *IN_FOUR])
    plain, one, four = (
        [
            record["detections"]
            for record in json.loads((tmp_path / name / "detections.json").read_text())
        ]
        for name in ("plain", "one", "four")
    )
    assert plain == one and len(four) == 4 and four != plain


def test_training_sees_whole_images_and_evaluation_tiles(tmp_path, caplog):
    data = ToyData(tmp_path / "data")
    data.write()
    folder = tmp_path / "run"
    recipe = ["--config-file", "configs/own_data/full_fcos_small_own.py"]
    with caplog.at_level(logging.INFO):
        train([*recipe, *data.overrides(), f"train.output_dir={folder}", AS_THEY_ARE, *IN_FOUR])
    names = torch.load(folder / "model_final.pth", weights_only=True)["model"]
    assert all(name.startswith("detector.") and ".detector." not in name for name in names)
    again = ["train.init_checkpoint=" + str(folder / "model_final.pth")]
    first = json.loads((folder / "coco_instances_results.json").read_text())
    train(
        [
            "--eval-only",
            "--config-file",
            str(folder / "config.yaml"),
            *again,
            f"train.output_dir={folder / 'b'}",
        ]
    )
    assert json.loads((folder / "b/coco_instances_results.json").read_text()) == first


def test_analyze_counts_all_tiles(trained, capsys):
    def macs(*arguments):
        analyze(["--weights", str(trained.file), "--json", *arguments])
        return json.loads(capsys.readouterr().out)["full resolution"]

    tile = macs("--size", "48", "48")
    image = macs("--size", "64", "80", "+tiles.size=48", "+tiles.overlap=32")
    assert image["parameters"] == tile["parameters"]
    assert image["macs"].keys() == tile["macs"].keys()
    for part, number in tile["macs"].items():
        assert image["macs"][part] == pytest.approx(6 * number), part


def test_objects_are_matched_on_the_tile_that_has_most_of_them():
    boxes = torch.tensor([[4.0, 4, 12, 12], [70, 4, 94, 20], [60, 100, 84, 130]])
    sizes = torch.tensor([8.0, 19.6, 26.8])
    truth = GroundTruth((140, 160), boxes, sizes)
    model = TiledDetector(LowResDetector(fcos(), Bicubic(factor=2)), 100, 20)
    found = match_shares(model, [truth], [0, 16, 64])
    assert [row.objects for row in found.size_ranges] == [1, 2]
    # At half the resolution; nothing of them is cut away.
    small, large = (row.seen_sizes for row in found.size_ranges)
    assert small == [4.0]
    assert sorted(large) == pytest.approx([384**0.5 / 2, 720**0.5 / 2])
