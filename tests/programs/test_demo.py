from __future__ import annotations

import json
from pathlib import Path

from lowres_d2.engine.build import build_model
from lowres_d2.own_files import LIST
from lowres_d2.programs.demo import main
from lowres_d2.programs.demo_files import find_targets
from lowres_d2.recipes.load import load_recipe

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

RECIPE = "configs/own_data/bicubic4_fcos_small_own.py"


@pytest.fixture(scope="module")
def trained_weights(coco_json, tmp_path_factory):
    """The command line's start, for a detector with random weights that finds something."""
    opts = [f"data.train_json={coco_json}", f"data.val_json={coco_json}", "train.device=cpu"]
    model = build_model(load_recipe(RECIPE, opts))
    weights = tmp_path_factory.mktemp("demo") / "weights.pth"
    torch.save({"model": model.state_dict(), "classes": ["rot", "gruen"]}, weights)
    images = coco_json.parent / "images"
    flags = ["--config-file", RECIPE, "--confidence-threshold", "0.01", "--weights", str(weights)]
    return flags, opts, images


def run(trained_weights, inputs, output, *more):
    flags, opts, _ = trained_weights
    main([*flags, "--output", str(output), *more, "--input", *map(str, inputs), "--", *opts])


def test_folder_globs_and_files_become_images_and_a_json(trained_weights, tmp_path):
    images = trained_weights[2]
    run(trained_weights, [images, f"{images}/0*.png", images / "1.png"], tmp_path)
    names = {path.name for path in tmp_path.iterdir()} - {LIST}
    assert names == {f"{k}.png" for k in range(6)} | {"0-2.png", "1-2.png", "detections.json"}
    assert Image.open(tmp_path / "3.png").size == (512, 512)  # 64 px, enlarged
    records = json.loads((tmp_path / "detections.json").read_text())
    assert len(records) == 8 and (records[0]["height"], records[0]["width"]) == (64, 64)
    found = records[0]["detections"]
    assert found[0]["category"] in ("rot", "gruen") and found[0]["score"] >= 0.01
    assert all(x >= 0 and x + w <= 64.001 for x, _, w, _ in (row["bbox"] for row in found))


def test_a_video_is_detected_frame_by_frame(trained_weights, tmp_path):
    source = tmp_path / "in.mp4"
    sink = cv2.VideoWriter(str(source), cv2.VideoWriter.fourcc(*"mp4v"), 5, (96, 64))
    for k in range(3):
        sink.write(np.full((64, 96, 3), 80 * k, np.uint8))
    sink.release()
    run(trained_weights, [source], tmp_path / "out.mp4")
    records = json.loads((tmp_path / "out.json").read_text())
    assert [record["frame"] for record in records] == [0, 1, 2]
    video = cv2.VideoCapture(str(tmp_path / "out.mp4"))
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) == 3 and video.read()[1].shape == (320, 480, 3)


def test_broken_inputs_are_named_and_the_others_done(trained_weights, tmp_path, capsys):
    broken, video = tmp_path / "broken.png", tmp_path / "broken.mp4"
    broken.write_bytes(b"no image")
    video.write_bytes(b"no video")
    with pytest.raises(SystemExit) as stop:
        run(trained_weights, [broken, trained_weights[2] / "2.png", video], tmp_path / "out")
    assert stop.value.code == 1
    shown = capsys.readouterr()
    assert "1 of 3 inputs done" in shown.out
    assert f"error: 2 of 3 inputs are broken: {broken}, {video}" in shown.err
    assert {path.name for path in (tmp_path / "out").glob("[!.]*")} == {"2.png", "detections.json"}


@pytest.mark.parametrize(
    ("inputs", "more", "message"),
    [
        (["none/*.png"], [], "--input none/*.png: no such file or folder"),
        (["."], ["--weights", "none.pth"], "no weights at none.pth"),
        (["."], ["--config-file", "none.py"], "no recipe none.py"),
        (["."], ["--confidence-threshold", "7"], "--confidence-threshold 7.0: expected 0 to 1"),
    ],
)
def test_mistakes_end_in_one_line_and_leave_nothing(
    trained_weights, tmp_path, capsys, inputs, more, message
):
    inputs = [trained_weights[2] if item == "." else item for item in inputs]
    with pytest.raises(SystemExit) as stop:
        run(trained_weights, inputs, tmp_path / "out", *more)
    error = capsys.readouterr().err
    assert stop.value.code == 1 and error.count("\n") == 1
    assert error.startswith(f"error: {message}")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("files", "output", "message"),
    [
        (["a.png", "b.png"], "out.png", "a folder is needed for 2 inputs"),
        (["a.png"], "out.mp4", "an image makes an image"),
        (["a.mp4"], "out.png", "an image makes an image"),
        (["x/a.png"], "x", "would overwrite the input"),
        (["y/a.png", "x/a-2.png", "z/a.png"], "x", "would overwrite the input"),
        (["a.png"], "a.png", "would overwrite the input"),
        (["x/../a.mp4"], "a.mp4", "would overwrite the input"),
    ],
)
def test_outputs_that_do_not_fit_are_refused(files, output, message):
    with pytest.raises(ValueError, match=message):
        find_targets([Path(file) for file in files], Path(output))
