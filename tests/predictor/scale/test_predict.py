"""``lowres-d2 predict``: every input gives what ``load`` gives, once, whatever happens between."""

import importlib.util
import io
import json
import os
import shutil
import signal
import socket
import tarfile
from concurrent.futures import ThreadPoolExecutor
from unittest.mock import patch

import lowres_d2
from lowres_d2.programs.predict import main

import numpy as np
import pytest
import torch
from PIL import Image

from toys.data import CLASSES

pa = pytest.importorskip("pyarrow", reason="needs pyarrow: extra `predict`")
from lowres_d2.predictor.scale.batches import BatchReader  # noqa: E402
from lowres_d2.predictor.scale.shards import SCHEMA  # noqa: E402

import pyarrow.parquet as pq  # noqa: E402

needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None,
    reason="needs ray: extra `scale`",
)
SCORE = 0.021  # between those of random weights
SIZES = [(64, 64), (64, 96), (64, 64), (80, 64), (64, 96), (64, 64), (64, 64)]  # height, width


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A folder of images of several sizes, one of them in a folder below it, and their names."""
    folder = tmp_path_factory.mktemp("images")
    (folder / "below").mkdir()
    draw = np.random.default_rng(0)
    names = [f"{k}.png" for k in range(len(SIZES) - 1)] + ["below/last.png"]
    for name, size in zip(names, SIZES, strict=True):
        Image.fromarray(draw.integers(0, 256, (*size, 3), np.uint8)).save(folder / name)
    (folder / ".hidden.png").write_bytes(b"")
    (folder / "notes.txt").write_text("no image")
    return folder, names


@pytest.fixture(scope="module")
def expected(untrained_run, images):
    """What ``load`` finds on the images, by name."""
    folder, names = images
    detector = lowres_d2.load(untrained_run[0], device="cpu")
    found = detector([folder / name for name in names], SCORE)
    assert all(0 < len(x) < 100 for x in found)
    return dict(zip(names, found, strict=True))


@pytest.fixture
def predict(untrained_run, tmp_path):
    """Runs the program, and gives all rows of its shards."""

    def predict(*inputs, output=tmp_path / "out", more=()):
        main(arguments(untrained_run, inputs, output, *more))
        return rows_in(output)

    return predict


def arguments(run, inputs, output, *more):
    words = ["--weights", run[0], "--output", output, "--score", SCORE, "--workers", 0]
    return [*map(str, [*words, *more, "--input", *inputs, "train.device=cpu"])]


def rows_in(output):
    files = sorted((output / "detections").iterdir())
    assert not [file for file in files if file.name.startswith(".")]
    table = pa.concat_tables([pq.read_table(file) for file in files])
    assert table.schema.equals(SCHEMA)
    assert json.loads(table.schema.metadata[b"classes"]) == CLASSES
    return table.to_pylist()


def check(rows, expected):
    """That rows are those of the images that are expected, in any order."""
    assert sorted(row["file_name"] for row in rows) == sorted(expected)
    for row in rows:
        found = expected[row["file_name"]]
        assert (row["height"], row["width"], row["error"]) == (*found.image_size, None)
        assert row["labels"] == found.pred_classes.tolist()
        for values, of in ((row["boxes"], found.pred_boxes.tensor), (row["scores"], found.scores)):
            torch.testing.assert_close(torch.tensor(values), of, rtol=0, atol=1e-4)


def test_a_folder(predict, images, expected):
    rows = predict(images[0])
    check(rows, expected)
    assert [row["image_id"] for row in rows] == [*range(1, 8)]


def test_a_glob_and_files(predict, images, expected, capsys):
    folder, names = images
    by_path = {f"{folder}/{name}": expected[name] for name in names}
    check(predict(f"{folder}/**/*", f"{folder}/0.png"), by_path)
    said = capsys.readouterr()
    assert said.err == f"--input {folder}/**/*: left out, no images: {folder}/notes.txt\n"
    assert said.out.startswith("7 images in ")


@pytest.fixture
def coco(images, tmp_path):
    """A json file of the images with ids of its own."""
    sizes = [{"height": height, "width": width} for height, width in SIZES]
    entries = [
        {"id": 100 - k, "file_name": name} | size
        for k, (name, size) in enumerate(zip(images[1], sizes, strict=True))
    ]
    shutil.copytree(images[0], tmp_path / "images")
    (tmp_path / "test.json").write_text(json.dumps({"images": entries}))
    return tmp_path / "test.json", entries


def test_a_coco_json_keeps_its_ids(predict, coco, expected, tmp_path):
    file, entries = coco
    rows = predict(file, more=["--coco"])
    check(rows, expected)
    assert {row["file_name"]: row["image_id"] for row in rows} == {
        entry["file_name"]: entry["id"] for entry in entries
    }
    content = json.loads((tmp_path / "out" / "detections.json").read_text())
    assert content["images"] == entries
    assert content["categories"] == [{"id": 1, "name": "red"}, {"id": 2, "name": "green"}]
    assert len({a["id"] for a in content["annotations"]}) == sum(map(len, expected.values()))
    for row in rows:
        of = [a for a in content["annotations"] if a["image_id"] == row["image_id"]]
        assert [a["score"] for a in of] == row["scores"]
        assert [a["category_id"] - 1 for a in of] == row["labels"]
        (x0, y0, x1, y1), (x, y, width, height) = row["boxes"][0], of[0]["bbox"]
        assert (x, y, x + width, y + height) == pytest.approx((x0, y0, x1, y1))


@pytest.mark.parametrize("form", ["bytes", "struct", "paths", "categories"])
def test_parquet(form, predict, images, expected, tmp_path):
    folder, names = images
    content = [(folder / name).read_bytes() for name in names]
    paths = [str(folder / name) for name in names]
    column = {
        "bytes": content,
        "struct": [{"bytes": x, "path": None} for x in content],
        "paths": paths,
        "categories": pa.array(paths).dictionary_encode(),
    }[form]
    more = {"id": [f"n{k}" for k in range(7)]} if form in ("bytes", "struct") else {}
    table = pa.table({"image": column, "label": [*range(7)]} | more)
    # Row groups that end within a piece, and pieces that end within a file.
    pq.write_table(table.slice(0, 4), tmp_path / "a-0.parquet", row_group_size=2)
    pq.write_table(table.slice(4), tmp_path / "a-1.parquet", row_group_size=2)
    rows = predict(f"{tmp_path}/a-*.parquet", more=["--shard-size", "3"])
    ids = [f"n{k}" for k in range(7)]
    if not more:
        ids = [f"a-0.parquet#{k}" for k in range(4)] + [f"a-1.parquet#{k}" for k in range(3)]
    check(rows, dict(zip(ids, expected.values(), strict=True)))


def write_tar(path, folder, names):
    with tarfile.open(path, "w") as tar:
        for name in names:
            tar.add(folder / name, name)
            text = tarfile.TarInfo(f"{name}.cls")
            text.size = 1
            tar.addfile(text, io.BytesIO(b"7"))


def test_tar_shards(predict, images, expected, tmp_path):
    folder, names = images
    write_tar(tmp_path / "shard-000.tar", folder, names[:3])
    write_tar(tmp_path / "shard-001.tar", folder, names[3:])
    rows = predict(f"{tmp_path}/shard-{{000..001}}.tar", more=["--shard-size", "2"])
    tars = ["shard-000.tar"] * 3 + ["shard-001.tar"] * 4
    check(rows, {f"{tars[k]}/{name}": expected[name] for k, name in enumerate(names)})


def test_tiles_are_as_the_recipe_says(predict, untrained_run, images):
    rows = predict(images[0] / "1.png", more=["+tiles.size=64", "+tiles.overlap=16"])
    detector = lowres_d2.load(
        untrained_run[0], device="cpu", overrides=["+tiles.size=64", "+tiles.overlap=16"]
    )
    path = str(images[0] / "1.png")
    check(rows, {path: detector(path, SCORE)})


def dying(arguments):
    """Run the program until it has written shard ``DIES_AT``, which has no name yet."""
    left, rename = int(os.environ["DIES_AT"]), os.replace

    def replace(source, target):
        nonlocal left
        left -= str(target).endswith(".parquet")
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
        rename(source, target)

    with patch("os.replace", replace):
        main(arguments)


def written(file):
    status = file.stat()
    return status.st_ino, status.st_mtime_ns


@pytest.mark.parametrize(
    "engine",
    [
        ["--workers", "2"],
        pytest.param(["--workers", "2", "--engine", "ray"], marks=[pytest.mark.slow, needs_ray]),
    ],
    ids=["local", "ray"],
)
def test_a_killed_run_goes_on_without_doubles_or_gaps(
    engine, ranks, predict, untrained_run, images, expected, tmp_path, capsys
):
    output = tmp_path / "out"
    words = arguments(untrained_run, [images[0]], output, "--shard-size", "2", *engine)
    (end,) = ranks.run("predictor.scale.test_predict:dying", *words, size=1, DIES_AT="3")
    assert end.code == -9
    shards = {file: written(file) for file in (output / "detections").glob("[!.]*")}
    (part,) = (output / "detections").glob(".*")  # was written, and has no name
    assert len(shards) == 2 and not (output / "broken.jsonl").exists()
    check(predict(images[0], more=engine), expected)
    assert all(written(file) == before for file, before in shards.items())
    assert not part.exists()
    done = sum(pq.read_metadata(file).num_rows for file in shards)
    said = capsys.readouterr().out.splitlines()
    assert said[0] == f"{output}: {done} of 7 images were done before"
    assert said[1].startswith(f"{7 - done} images in ")
    # A finished run is left as it is, by either engine.
    check(predict(images[0]), expected)
    assert capsys.readouterr().out.startswith(f"{output}: 7 of 7 images were done before\n0 images")


@pytest.mark.slow
def test_each_device_has_a_process_with_the_model(predict, images, expected):
    check(predict(images[0], more=["--devices", "cpu", "cpu", "--shard-size", "2"]), expected)


def test_a_killed_reader_is_said_and_the_run_can_go_on(
    untrained_run, predict, images, expected, tmp_path, capsys
):
    words = arguments(untrained_run, [images[0]], tmp_path / "out", "--workers", "1")
    with patch.object(BatchReader, "_read", lambda *_: os.kill(os.getpid(), signal.SIGKILL)):
        said = refused(capsys, words)
    assert said.startswith("a process that reads images was killed, perhaps for want of memory: ")
    check(predict(images[0]), expected)


@needs_ray
def test_a_cluster_that_does_not_answer_is_named(untrained_run, images, tmp_path, capsys):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]  # of nobody, once it is closed
    words = ["--engine", "ray", "--workers", "1", "--address", f"127.0.0.1:{port}"]
    said = refused(capsys, arguments(untrained_run, [images[0]], tmp_path / "out", *words))
    assert said.startswith(f"--address 127.0.0.1:{port}: no Ray cluster answers (Connection ref")
    assert not [*(tmp_path / "out" / "detections").glob("*")]


@needs_ray
@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (None, "timed out"),
        (b"", "another server does"),
        (b"HTTP/1.1 400 Bad", "another server does"),
    ],
)
def test_a_server_that_is_no_ray_is_named_in_time(
    reply, reason, untrained_run, images, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr("lowres_d2.predictor.scale.on_ray._PATIENCE", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as pool:
        pool.submit(answer, server, reply)
        port = server.getsockname()[1]
        words = ["--engine", "ray", "--workers", "1", "--address", f"127.0.0.1:{port}"]
        said = refused(capsys, arguments(untrained_run, [images[0]], tmp_path / "out", *words))
    assert said.startswith(f"--address 127.0.0.1:{port}: no Ray cluster answers ({reason}): ")
    assert not (tmp_path / "out").exists()


def answer(server, reply):
    """Hear a client out, and send this; None: nothing, until the other end leaves."""
    connection, _ = server.accept()
    with connection:
        while connection.recv(100) and reply is None:
            pass
        connection.sendall(reply or b"")


def test_broken_images_are_listed_and_stop_nothing(predict, images, expected, tmp_path, capsys):
    folder = tmp_path / "some"
    shutil.copytree(images[0], folder)
    whole = (folder / "0.png").read_bytes()
    (folder / "cut.png").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "gone.png").symlink_to(tmp_path / "nowhere.png")
    rows = predict(folder)
    check([row for row in rows if row["error"] is None], expected)
    listed = [json.loads(line) for line in (tmp_path / "out/broken.jsonl").read_text().splitlines()]
    assert [line["file_name"] for line in listed] == ["cut.png", "empty.jpg", "gone.png"]
    ids = {row["file_name"]: row["image_id"] for row in rows}
    assert all(line["image_id"] == ids[line["file_name"]] for line in listed)
    reasons = ["cannot be read as an image (", "cannot be read as an image (", "no such image"]
    for line, reason in zip(listed, reasons, strict=True):
        assert line["reason"].startswith(f"{folder / line['file_name']}: {reason}")
    assert "3 of 10 images are broken: " in capsys.readouterr().out


def test_rows_without_an_image_are_broken(predict, images, tmp_path):
    content = [None, b"no image", (images[0] / "0.png").read_bytes()]
    pq.write_table(pa.table({"image": content}), tmp_path / "t.parquet")
    rows = predict(tmp_path / "t.parquet")
    assert [row["error"] for row in rows] == [
        "t.parquet#0: has no image",
        "t.parquet#1: is of no format that Pillow reads",
        None,
    ]


def refused(capsys, *words):
    capsys.readouterr()
    with pytest.raises(SystemExit) as caught:
        main(*words)
    assert caught.value.code == 1
    said = capsys.readouterr().err
    assert said.startswith("error: ") and said.count("\n") == 1
    return said.removeprefix("error: ").rstrip("\n")


def test_inputs_that_are_none_are_named(untrained_run, images, tmp_path, capsys):
    def said(*inputs, more=()):
        words = arguments(untrained_run, inputs, tmp_path / "out", *more)
        text = refused(capsys, words)
        assert not (tmp_path / "out").exists() or not [*(tmp_path / "out").iterdir()]
        return text

    (tmp_path / "none").mkdir()
    assert said(tmp_path / "none") == f"--input {tmp_path}/none: has no images"
    assert said("a.png") == "--input a.png: no such file or folder, and no file matches it"
    assert "s-1.tar: no such file" in said(f"{tmp_path}/s-{{1..2}}.tar")
    kinds = "expected a folder, images, a COCO json, .parquet or .tar files"
    (tmp_path / "x.tar.gz").write_bytes(b"")
    text = said(tmp_path / "x.tar.gz")
    assert text.endswith(f"x.tar.gz: is of no known kind: {kinds}, uncompressed: gunzip it first")
    assert "is of no known kind" in said(images[0] / "notes.txt")
    several = said(images[0], images[0] / "0.png")
    assert f"is of several kinds, {images[0]} (folder), {images[0]}/0.png (image)" in several
    assert said(images[0], tmp_path).endswith("are 2: give one folder at a time")
    (tmp_path / "x.json").write_text("[")
    assert "x.json: is not JSON" in said(tmp_path / "x.json")
    (tmp_path / "x.parquet").write_text("no parquet")
    assert "x.parquet: cannot be read as parquet (" in said(tmp_path / "x.parquet")
    write_tar(tmp_path / "cut.tar", *images)
    whole = (tmp_path / "cut.tar").read_bytes()
    (tmp_path / "cut.tar").write_bytes(whole[:20000])
    assert "cut.tar: is no complete, uncompressed tar (" in said(tmp_path / "cut.tar")
    assert "are for parquet files" in said(images[0], more=["--image-column", "x"])
    windows = ["dataloader.test.mapper.windows=true", "+tiles.size=64"]
    windows += ["dataloader.test.mapper.augmentations=[]"]
    assert "add dataloader.test.mapper.windows=false" in said(images[0], more=windows)


@pytest.mark.parametrize(
    ("flag", "expected"),
    [
        (["--workers=-1"], "--workers -1: expected 0 or more"),
        (["--shard-size", "0"], "--shard-size 0: expected 1 or more"),
        (["--score", "2"], "--score 2: expected 0 to 1"),
        (["--address", "auto"], "--address is for --engine ray"),
        (["--engine", "ray", "--workers", "0"], "--workers 0 are for --engine local"),
    ],
)
def test_numbers_that_cannot_be_are_refused(flag, expected, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["--weights", "w", "--input", "i", "--output", "o", *flag])
    assert caught.value.code == 2 and capsys.readouterr().err.endswith(f"{expected}\n")


def test_columns_are_named_where_several_can_be_meant(untrained_run, tmp_path, capsys):
    pq.write_table(pa.table({"a": ["x"], "b": ["y"]}), tmp_path / "t.parquet")
    words = [untrained_run, [tmp_path / "t.parquet"], tmp_path / "out"]
    assert refused(capsys, arguments(*words)).endswith(
        "a, b can hold images: name one with --image-column; it has a (string), b (string)"
    )
    assert "has no column 'c'; it has a, b" in refused(
        capsys, arguments(*words, "--image-column", "c")
    )
    pq.write_table(pa.table({"a": [1]}), tmp_path / "t.parquet")
    assert "no column of bytes or paths" in refused(capsys, arguments(*words))


def test_a_run_of_something_else_is_refused(untrained_run, predict, images, tmp_path, capsys):
    output, folder = tmp_path / "out", tmp_path / "some"
    shutil.copytree(images[0], folder)
    predict(folder)
    files = {file: file.read_bytes() for file in output.rglob("*") if file.is_file()}

    def said(*more, inputs=(folder,), run=untrained_run):
        return refused(capsys, arguments(run, inputs, output, *more))

    begun = f"--output {output}: was begun with"
    assert said("--score", "0.5") == (
        f"{begun} another --score ({SCORE} then, 0.5 now): choose another folder"
    )
    assert said("--shard-size", "5").startswith(f"{begun} another --shard-size (1000 then, 5 now)")
    assert said("+tiles.size=64").startswith(f"{begun} another recipe:")
    others = f"{begun} other images (7 then, 2 now): choose another folder"
    assert said(inputs=[folder / "0.png", folder / "1.png"]) == others
    shutil.copy(folder / "0.png", folder / "new.png")
    assert said() == f"{begun} other images (7 then, 8 now): choose another folder"
    (folder / "new.png").unlink()
    copied = tmp_path / "run"
    shutil.copytree(untrained_run[0], copied)
    state = torch.load(copied / "model_final.pth")
    state["model"]["detector.head.bbox_pred.bias"] += 1
    torch.save(state, copied / "model_final.pth")
    assert said(run=(copied,)) == f"{begun} other weights: choose another folder"
    assert files == {file: file.read_bytes() for file in files}
    shard = output / "detections" / "part-000000.parquet"
    pq.write_table(pa.table({"a": [1]}), shard)
    assert said().endswith("part-000000.parquet: is no shard of this run: choose another --output")
    shard.write_bytes(b"mine")
    advice = "if it is of this run, remove it, and its images are looked at again; otherwise choose"
    assert f"{shard}: cannot be read (" in said() and advice in said()


def test_what_a_run_has_lost_is_made_again(predict, images, expected, tmp_path):
    check(predict(images[0]), expected)
    for name in ("images.arrow", "detections/part-000000.parquet"):
        (tmp_path / "out" / name).unlink()
    check(predict(images[0]), expected)


@pytest.mark.parametrize(
    ("ids", "fault"),
    [
        ([4, 5, 4], "several images have the id 4: give each its own"),
        ([4, None, 5], "t.parquet#1: has no id: fill the column"),
        (pa.array([1, 2**63, 3], pa.uint64()), "its id 9223372036854775808 does not fit into 64"),
    ],
)
def test_ids_are_kept_or_refused(ids, fault, untrained_run, images, tmp_path, capsys):
    content = [(images[0] / name).read_bytes() for name in images[1][:3]]
    pq.write_table(pa.table({"image": content, "id": ids}), tmp_path / "t.parquet")
    words = arguments(untrained_run, [tmp_path / "t.parquet"], tmp_path / "out")
    assert fault in refused(capsys, words)
    assert not [*(tmp_path / "out").iterdir()]


def test_files_of_one_name_are_told_apart(predict, images, expected, tmp_path):
    folder, names = images
    tars = [tmp_path / part / "a.tar" for part in ("x", "y")]
    for tar, name in zip(tars, names, strict=False):
        tar.parent.mkdir()
        write_tar(tar, folder, [name])
    check(
        predict(*tars),
        {f"{tar}/{name}": expected[name] for tar, name in zip(tars, names, strict=False)},
    )


def test_an_exported_file_is_named_as_such(images, tmp_path, capsys):
    said = refused(capsys, arguments(["x.onnx"], [images[0]], tmp_path / "out"))
    assert said.startswith("x.onnx: is an exported file, which lowres_d2.load takes in Python:")


def test_files_of_a_user_are_not_replaced(untrained_run, images, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "detections.json").write_text("mine")
    said = refused(capsys, arguments(untrained_run, [images[0]], tmp_path / "out"))
    assert "detections.json: exists, and no earlier run wrote it" in said
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["detections.json"]


def test_a_run_that_can_use_no_image_fails(untrained_run, tmp_path, capsys):
    (tmp_path / "x.png").write_bytes(b"")
    said = refused(capsys, arguments(untrained_run, [tmp_path / "x.png"], tmp_path / "out"))
    assert said == (
        f"none of the 1 images can be used: {tmp_path / 'out' / 'broken.jsonl'} says why"
    )
