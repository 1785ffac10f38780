from __future__ import annotations

import json
import os
from pathlib import Path

from lowres_d2.engine.build import build_model
from lowres_d2.engine.identity import recipe_text
from lowres_d2.own_files import LIST
from lowres_d2.programs.demo import main
from lowres_d2.programs.demo_files import find_targets
from lowres_d2.programs.demo_video import VideoSink, VideoSource
from lowres_d2.recipes.load import load_recipe

import cv2
import numpy as np
import pytest
import torch
from detectron2.structures import BoxMode
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
    for record in records:  # each says what it is
        assert record["bbox_mode"] == "XYWH_ABS" and BoxMode[record["bbox_mode"]]
        assert record["classes"] == ["rot", "gruen"] and record["score_threshold"] == 0.01
        assert {d["category"] for d in record["detections"]} <= {*record["classes"]}
        assert "pixels of the image of this height and width" in record["bbox_frame"]


def test_a_video_is_detected_frame_by_frame(trained_weights, tmp_path):
    source = tmp_path / "in.mp4"
    sink = cv2.VideoWriter(str(source), cv2.VideoWriter.fourcc(*"mp4v"), 5, (96, 64))
    for k in range(3):
        sink.write(np.full((64, 96, 3), 80 * k, np.uint8))
    sink.release()
    for name in ("out.mp4", "found/in.mp4"):
        output = tmp_path / name if name == "out.mp4" else tmp_path / "found"
        run(trained_weights, [source], output)
        json_file = output / "detections.json" if output.is_dir() else output.with_suffix(".json")
        records = json.loads(json_file.read_text())
        assert [record["frame"] for record in records] == [0, 1, 2]
        assert {record["file_name"] for record in records} == {str(source)}
        video = cv2.VideoCapture(str(tmp_path / name))
        assert video.get(cv2.CAP_PROP_FRAME_COUNT) == 3 and video.read()[1].shape == (320, 480, 3)


def test_records_say_whether_exif_turned_the_image(trained_weights, tmp_path):
    flags, opts, images = trained_weights
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    Image.new("RGB", (64, 48)).save(tmp_path / "turned.jpg", exif=exif)
    for rule, size, words in (("apply", (64, 48), "rotated as"), ("ignore", (48, 64), "as stored")):
        changed = [*opts, f"dataloader.test.mapper.exif={rule}"]
        run((flags, changed, images), [tmp_path / "turned.jpg"], tmp_path / rule)
        (record,) = json.loads((tmp_path / rule / "detections.json").read_text())
        assert (record["height"], record["width"]) == size and words in record["bbox_frame"]
        shown = Image.open(tmp_path / rule / "turned.jpg")
        assert (shown.height > shown.width) == (rule == "apply")


def test_geotiffs_become_geojson_too(trained_weights, tmp_path, capsys):
    rasterio = pytest.importorskip("rasterio", reason="needs rasterio: extra `geo`")
    image = np.asarray(Image.open(trained_weights[2] / "1.png").convert("RGB")).transpose(2, 0, 1)
    place = dict(crs="EPSG:4326", transform=rasterio.Affine(0.5, 0, 10, 0, -0.25, 50))
    form = dict(driver="GTiff", count=3, height=64, width=64, dtype="uint8")
    for name, more in (("a.tif", place), ("b.tif", {})):
        with rasterio.open(tmp_path / name, "w", **form, **more) as file:
            file.write(image)
    run(trained_weights, [tmp_path / "a.tif", tmp_path / "b.tif"], tmp_path / "out")
    names = {path.name for path in (tmp_path / "out").glob("[!.]*")}
    assert names == {"a.tif", "a.geojson", "b.tif", "detections.json"}
    with Image.open(tmp_path / "out/a.tif") as drawn:
        assert drawn.info["compression"] == "tiff_adobe_deflate"
    said = capsys.readouterr().err.splitlines()
    assert [line for line in said if "GeoJSON" in line] == [
        f"{tmp_path / 'b.tif'}: no GeoJSON: it has no geotransform and no CRS"
    ]
    (record, same) = json.loads((tmp_path / "out" / "detections.json").read_text())
    features = json.loads((tmp_path / "out" / "a.geojson").read_text())["features"]
    assert len(features) == len(record["detections"]) > 0
    for feature, row, other in zip(features, record["detections"], same["detections"], strict=True):
        x, y, width, height = row["bbox"]
        assert row["bbox"] == other["bbox"] and feature["properties"]["score"] == row["score"]
        upper_left, _, lower_right, *_ = feature["geometry"]["coordinates"][0]
        assert upper_left == pytest.approx([10 + x / 2, 50 - y / 4], abs=1e-7)
        assert lower_right == pytest.approx([10 + (x + width) / 2, 50 - (y + height) / 4], abs=1e-7)


def test_inputs_that_cannot_hold_a_drawing_become_png(trained_weights, tmp_path):
    array = np.zeros((40, 50, 3), np.uint8)
    np.save(tmp_path / "a.npy", array)
    Image.fromarray(array[..., 0]).save(tmp_path / "b.pgm")
    run(trained_weights, [tmp_path], tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").glob("*.png")} == {"a.png", "b.png"}
    records = json.loads((tmp_path / "out" / "detections.json").read_text())
    assert [record["file_name"] for record in records] == [
        str(tmp_path / name) for name in ("a.npy", "b.pgm")
    ]


def test_nothing_in_a_folder_is_passed_over_without_a_word(trained_weights, tmp_path, capsys):
    folder = tmp_path / "in"
    (folder / "deeper").mkdir(parents=True)
    image = next(trained_weights[2].glob("*.png")).read_bytes()
    for name in ("frame_0001", "frame_0002.png", "frame_0003.img"):
        (folder / name).write_bytes(image)
    (folder / "labels.txt").write_text("0 0.5 0.5 1 1\n")
    (folder / ".hidden").touch()
    with pytest.raises(SystemExit):  # as with the same files by name
        run(trained_weights, [folder], tmp_path / "out")
    said = capsys.readouterr().err
    assert f"--input {folder}: neither images nor videos: deeper/, labels.txt\n" in said
    assert "frame_0001: has no ending" in said and "frame_0003.img: has the ending .img" in said
    assert ".hidden" not in said
    (record,) = json.loads((tmp_path / "out" / "detections.json").read_text())
    assert record["file_name"] == str(folder / "frame_0002.png")


@pytest.mark.parametrize("ending", [".mp4", ".webm"])
def test_videos_have_a_codec_that_browsers_play(tmp_path, capfd, ending):
    sink = VideoSink(tmp_path / f"out{ending}", 10)
    for k in range(6):
        frame = np.zeros((61, 97, 3), np.uint8)
        frame[:, : 16 * k] = (250, 30, 30)
        sink.write(frame)
    sink.close()
    assert sink.encoder in ("avc1", "vp09", "VP90")
    source = VideoSource(tmp_path / f"out{ending}")
    frames = list(source)
    assert source.rate == 10 and len(frames) == 6
    assert frames[0].shape == (62, 98, 3)  # even sides, which H.264 needs
    assert np.abs(frames[4][20, 20].astype(int) - (30, 30, 250)).max() < 40  # BGR
    assert "codec" not in capfd.readouterr().err or ending == ".webm"


def test_a_recipe_is_not_needed_for_a_runs_own_weights(trained_weights, tmp_path):
    flags, opts, images = trained_weights
    run_folder = tmp_path / "run"
    run_folder.mkdir()
    contents = torch.load(flags[-1]) | {"recipe": recipe_text(load_recipe(RECIPE, opts))}
    torch.save(contents, run_folder / "model_final.pth")
    found = []
    for k, given in enumerate((run_folder, run_folder / "model_final.pth")):
        output = tmp_path / str(k)
        words = ["--weights", given, "--input", images / "1.png", "train.seed=3"]
        main([*map(str, words), "--output", str(output), "--confidence-threshold", "0.01"])
        found.append(json.loads((output / "detections.json").read_text())[0])
    run(trained_weights, [images / "1.png"], tmp_path / "given")
    with_recipe = json.loads((tmp_path / "given" / "detections.json").read_text())[0]
    assert found == [with_recipe, with_recipe] and with_recipe["detections"]


def test_weights_that_do_not_say_their_recipe_need_one(trained_weights, tmp_path, capsys):
    flags, _, images = trained_weights
    with pytest.raises(SystemExit):
        main([*flags[2:], "--input", str(images / "1.png"), "--output", str(tmp_path / "out")])
    line = capsys.readouterr().err
    assert "does not say which recipe" in line and "--config-file RECIPE" in line
    assert not (tmp_path / "out").exists()


def test_changes_to_the_recipe_may_stand_behind_the_inputs(trained_weights, tmp_path, capsys):
    flags, opts, images = trained_weights
    odd = tmp_path / "a.b=c.png"  # a file stays one
    Image.open(images / "1.png").save(odd)
    words = [*flags, "--output", str(tmp_path / "out"), "--input", str(images / "1.png"), str(odd)]
    main([*words, *opts])
    assert "2 of 2 inputs done" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main([*words, *opts, "model.detector.nothing=1"])
    assert "model.detector.nothing" in capsys.readouterr().err


def test_inputs_without_an_ending_are_named_and_the_others_done(trained_weights, tmp_path, capsys):
    images = trained_weights[2]
    for name in ("frame_1", "frame_2.xyz"):
        Image.open(images / "1.png").save(tmp_path / name, "png")
    inputs = [tmp_path / "frame_1", tmp_path / "frame_2.xyz", images / "1.png"]
    with pytest.raises(SystemExit) as stop:
        run(trained_weights, inputs, tmp_path / "out")
    assert stop.value.code == 1
    shown = capsys.readouterr()
    assert f"skipped: {inputs[0]}: has no ending; rename it" in shown.err
    assert f"skipped: {inputs[1]}: has the ending .xyz; rename it" in shown.err
    assert "1 of 3 inputs done" in shown.out
    assert {path.name for path in (tmp_path / "out").glob("[!.]*")} == {"1.png", "detections.json"}


def test_an_image_that_the_model_cannot_take_is_named(trained_weights, tmp_path, capsys):
    flags, opts, images = trained_weights
    Image.new("RGB", (2, 2)).save(tmp_path / "tiny.png")
    inputs = [tmp_path / "tiny.png", images / "1.png"]
    stored = "dataloader.test.mapper.augmentations=[]"  # 2 pixels, downsampled by 4
    with pytest.raises(SystemExit):
        run((flags, [*opts, stored], images), inputs, tmp_path / "out")
    shown = capsys.readouterr()
    assert f"skipped: {inputs[0]}: " in shown.err and "1 of 2 inputs done" in shown.out
    assert shown.err.splitlines()[-1].startswith("error: 1 of 2 inputs are broken")


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


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
def test_a_pipe_is_named_as_what_it_is(trained_weights, tmp_path, capsys):
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(SystemExit):
        run(trained_weights, [tmp_path / "pipe.png"], tmp_path / "out")
    assert "pipe.png: is no regular file, but a pipe or device" in capsys.readouterr().err


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
        (["a.npy"], "out.npy", "expected one of"),
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
