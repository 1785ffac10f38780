"""Tiles of DOTA's images: where they lie, which part of an object is on them, and the program."""

import json
import logging
import math
from pathlib import Path

from lowres_d2.data.crops import objects_on_crop
from lowres_d2.data.datasets import DOTA_CLASSES, CocoDataset, check_same_classes
from lowres_d2.data.datasets.dota import DotaObject, TileRules, outlines_of
from lowres_d2.programs.prepare_dota import main
from lowres_d2.programs.validate import main as validate
from lowres_d2.structures import Window

import numpy as np
import pytest
from detectron2.config import LazyConfig, instantiate
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

REPOSITORY = Path(__file__).parents[3]
TILE = (100, 100)


@pytest.mark.parametrize(
    ("length", "starts"),
    [
        (60, [0]),
        (100, [0]),
        (101, [0, 1]),
        (180, [0, 80]),
        (181, [0, 80, 81]),
        (300, [0, 80, 160, 200]),
    ],
)
def test_tiles_overlap_and_the_last_one_ends_with_the_image(length, starts):
    assert TileRules(size=100, overlap=20).grid.starts(length) == starts


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 500), st.integers(1, 60), st.integers(0, 59))
def test_tiles_cover_an_image_without_leaving_it(length, size, overlap):
    rules = TileRules(size=size, overlap=min(overlap, size - 1))
    starts = rules.grid.starts(length)
    covered = {pixel for start in starts for pixel in range(start, start + size)}
    assert covered >= {*range(length)}
    assert len({*starts}) == len(starts)
    assert all(start + size <= max(length, size) for start in starts)


def shape(*corners, name="ship", difficult=0):
    return DotaObject(name, tuple((float(x), float(y)) for x, y in corners), difficult)


def box(x, y, w, h, **more):
    return shape((x, y), (x + w, y), (x + w, y + h), (x, y + h), **more)


def on_tile(labelled, corner=(0, 0), **rules):
    rules, (x, y) = TileRules(**rules), corner
    window = Window(x, y, x + TILE[0], y + TILE[1])
    return objects_on_crop(outlines_of([labelled], rules), window, rules.least_inside)


@pytest.mark.parametrize(
    ("labelled", "bbox", "ignored"),
    [
        (box(10, 20, 30, 40), [10, 20, 30, 40], False),
        (box(0, 0, 100, 100), [0, 0, 100, 100], False),
        # 7 and 6 of 10 pixels are on the tile.
        (box(93, 20, 10, 10), [93, 20, 7, 10], False),
        (box(94, 20, 10, 10), [94, 20, 6, 10], True),
        (box(-6, -4, 20, 20), [0, 0, 14, 16], True),
        (box(-50, 40, 400, 20), [0, 40, 100, 20], True),
        (box(10, 10, 5, 5, difficult=1), [10, 10, 5, 5], True),
        # A diamond, three quarters of whose upper half are cut off: narrower than the box cut.
        (shape((50, -10), (70, 10), (50, 30), (30, 10)), [30, 0, 40, 30], False),
        (shape((50, 90), (60, 110), (50, 130), (40, 110)), [45, 90, 10, 10], True),
        # Corners in another order than the outline's.
        (shape((95, 10), (105, 20), (105, 10), (95, 20)), [95, 10, 5, 10], True),
    ],
)
def test_an_object_is_what_is_on_the_tile_of_it(labelled, bbox, ignored):
    (found,) = on_tile(labelled)
    assert found.bbox == pytest.approx(bbox) and found.ignored == ignored


@pytest.mark.parametrize(
    "labelled",
    [
        box(100, 0, 10, 10),  # beside
        box(-10, 0, 10, 10),
        # The box around it has a corner on the tile, the outline passes it by.
        shape((95, -30), (130, 5), (125, 10), (90, -25)),
        box(50, 50, 0, 10),  # no area
    ],
)
def test_what_is_not_on_a_tile_is_left_out(labelled):
    assert on_tile(labelled) == []


def test_rules_decide():
    half = box(95, 0, 10, 10)
    assert on_tile(half)[0].ignored and not on_tile(half, least_inside=0.5)[0].ignored
    hard = box(1, 1, 9, 9, difficult=1)
    assert not on_tile(hard, difficult="object")[0].ignored
    assert on_tile(box(824, 1650, 9, 9), corner=(824, 1648))[0].bbox == [0, 2, 9, 9]


def test_rules_out_of_range_are_named():
    for wrong, message in (
        ({"size": 100, "overlap": 100}, "size 100, overlap 100: expected an overlap"),
        ({"overlap": -1}, "overlap -1"),
        ({"least_inside": 0}, "least_inside 0: expected a share"),
        ({"difficult": "no"}, "difficult='no'"),
    ):
        with pytest.raises(ValueError, match=message):
            TileRules(**wrong)


@settings(max_examples=150, deadline=None)
@given(
    st.floats(-60, 160), st.floats(-60, 160), st.floats(2, 90), st.floats(2, 90), st.floats(0, 7)
)
def test_the_part_is_that_of_points_of_the_object(x, y, width, height, angle):
    """A grid of points in a rotated rectangle, as an independent reference."""
    u, v = np.meshgrid(np.linspace(-0.5, 0.5, 81), np.linspace(-0.5, 0.5, 81))
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    points = np.stack([u.ravel() * width, v.ravel() * height], axis=1) @ turn.T + (x, y)
    ends = np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]]) * (width, height)
    labelled = shape(*(ends @ turn.T + (x, y)))
    inside = points[((points >= 0) & (points <= 100)).all(axis=1)]
    share = len(inside) / len(points)
    found = on_tile(labelled, least_inside=0.5)
    if not found:
        assert share < 0.03
        return
    if abs(share - 0.5) > 0.04:
        assert found[0].ignored == (share < 0.5)
    if len(inside):
        left, top, w, h = found[0].bbox
        # The points are up to a cell of the grid from the part's own ends.
        cell = math.hypot(width, height) / 40
        low, high = inside.min(axis=0), inside.max(axis=0)
        assert np.all(low >= np.array([left, top]) - 1e-6)
        assert np.all(high <= np.array([left + w, top + h]) + 1e-6)
        if share > 0.1:
            assert np.all(low <= np.array([left, top]) + 4 * cell)
            assert np.all(high >= np.array([left + w, top + h]) - 4 * cell)


def pixels(width, height, seed):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture
def root(tmp_path, monkeypatch):
    """Two splits of small images, one smaller than a tile, where the recipe looks for them."""
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    header = "imagesource:GoogleEarth\ngsd:0.14\n"
    rows = {
        ("train", "P0000", 150, 70): ["20 30 40 30 40 50 20 50 plane 0", "1 1 5 1 5 5 1 5 ship 1"],
        ("train", "P0001", 50, 40): ["5 5 9 5 9 9 5 9 helipad 0"],
        ("val", "P0003", 90, 160): ["70 70 84 70 84 84 70 84 small-vehicle 0"],
    }
    for seed, ((split, name, width, height), lines) in enumerate(rows.items()):
        for part in ("images", "labelTxt"):
            (tmp_path / "dota" / split / part).mkdir(parents=True, exist_ok=True)
        image = Image.fromarray(pixels(width, height, seed))
        image.save(tmp_path / f"dota/{split}/images/{name}.png")
        text = header + "\n".join(lines) + "\n"
        (tmp_path / f"dota/{split}/labelTxt/{name}.txt").write_text(text)
    return tmp_path / "dota"


SMALL = ["--size", "100", "--overlap", "20", "--workers", "0"]


def test_an_object_on_an_edge_of_two_sizes_counts_once(root, capsys):
    (root / "val/labelTxt/P0003.txt").write_text("1 1 17 1 17 17 1 17 ship 0\n")
    main([*SMALL, "--count"])
    row = next(row for row in capsys.readouterr().out.splitlines() if row.startswith("| val"))
    assert [int(cell) for cell in row.split("|")[2:-1]] == [1, 0, 0, 0, 0, 1, 0, 0]


def test_the_program_counts_and_cuts(root, capsys):
    main([*SMALL, "--count"])
    said = capsys.readouterr().out
    assert "| train   |         3 |           1 |" in said and "| helipad            |" in said
    assert not (root / "tiles_100_20").exists()
    main(SMALL)
    said = capsys.readouterr().out
    assert "tiles_100_20/train: 3 tiles of 2 images, 2 objects on 2 of them, 1 ignore" in said
    assert "tiles_100_20/val: 2 tiles of 1 images, 2 objects on 2 of them, 0 ignore regions" in said
    tiles = root / "tiles_100_20/train/images"
    names = ["P0000__1__0___0.png", "P0000__1__50___0.png", "P0001__1__0___0.png"]
    assert sorted(path.name for path in tiles.iterdir()) == names
    whole = pixels(150, 70, 0)
    for name, part in zip(names, (whole[:, :100], whole[:, 50:], pixels(50, 40, 1)), strict=True):
        assert np.array_equal(np.asarray(Image.open(tiles / name)), part)
    train, val = (
        CocoDataset(root / f"tiles_100_20/{split}/annotations.json") for split in ("train", "val")
    )
    check_same_classes(train, val)
    assert train.classes == DOTA_CLASSES
    assert [(r["width"], r["height"]) for r in train] == [(100, 70), (100, 70), (50, 40)]
    # The vehicle is on both tiles of its image; the second one begins at y 60.
    assert [a["bbox"] for r in val for a in r["annotations"]] == [
        [70, 70, 14, 14],
        [70, 10, 14, 14],
    ]


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGBA", "I;16"])
def test_images_of_any_mode_keep_it(root, mode):
    path = root / "train/images/P0000.png"
    deep = Image.fromarray(pixels(150, 70, 0)[..., 0].astype(np.uint16) * 257)
    image = deep if mode == "I;16" else Image.open(path).convert(mode)
    image.save(path)
    main([*SMALL, "--splits", "train"])
    stored = Image.open(path)
    tile = Image.open(root / "tiles_100_20/train/images/P0000__1__50___0.png")
    assert tile.mode == stored.mode == mode
    assert np.array_equal(np.asarray(tile), np.asarray(stored)[:, 50:])
    if mode == "P":
        assert tile.getpalette() == stored.getpalette()


def test_images_of_other_formats_are_cut_too(root):
    path = root / "train/images/P0000.png"
    Image.open(path).save(path.with_suffix(".tif"))
    path.unlink()
    main([*SMALL, "--splits", "train"])
    tile = Image.open(root / "tiles_100_20/train/images/P0000__1__50___0.png")
    assert np.array_equal(np.asarray(tile), pixels(150, 70, 0)[:, 50:])


def test_tiles_are_made_once(root, capsys):
    main(SMALL)
    stamp = root / "tiles_100_20/train/generated.json"
    before = stamp.stat().st_mtime_ns
    main(SMALL)
    assert stamp.stat().st_mtime_ns == before
    main([*SMALL, "--difficult", "object"])
    assert "train: 3 tiles of 2 images, 3 objects on 2 of them, 0 ignore" in capsys.readouterr().out
    (root / "train/labelTxt/P0001.txt").write_text("")
    main(SMALL)
    assert "train: 3 tiles of 2 images, 1 objects on 1 of them, 1 ignore" in capsys.readouterr().out


def test_processes_make_the_same_tiles(root):
    main([*SMALL, "--output", str(root / "alone")])
    main([*SMALL[:-1], "2", "--output", str(root / "together")])
    alone, together = (
        {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.*")}
        for folder in (root / "alone/train", root / "together/train")
    )
    assert alone == together


def fails(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    return line


@pytest.mark.parametrize("workers", ["0", "2"])
def test_mistakes_are_one_line(root, capsys, workers):
    small = [*SMALL[:-1], workers]
    assert "tset/images: no such folder; expected DOTA's" in fails(["--splits", "tset"], capsys)
    assert "size 100, overlap 100" in fails([*small, "--overlap", "100"], capsys)
    image = root / "train/images/P0000.png"
    image.write_bytes(image.read_bytes()[:3000])
    line = fails(small, capsys)
    assert line.startswith(f"error: {image}: cannot be cut into tiles")
    image.write_text("no image")
    assert fails(small, capsys).startswith(f"error: {image}: is not an image that can be read")
    (root / "train/labelTxt/P0000.txt").write_text("1 1 5 1 5 5 1 5 boat 0\n")
    assert "class 'boat', which is none of DOTA's 18" in fails(small, capsys)
    assert not (root / "tiles_100_20/train").exists()
    assert not [*root.glob("tiles_100_20/.*.part")]


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("30 30 30 30 30 40 30 40 plane 0", "has no area"),
        ("200 9 220 9 220 20 200 20 plane 0", "lies outside the image of 150x70"),
        ("-30 -30 -5 -30 -5 -5 -30 -5 plane 0", "lies outside the image of 150x70"),
    ],
)
def test_objects_that_cannot_be_on_a_tile_are_named_or_counted(root, capsys, caplog, line, fault):
    labels = root / "train/labelTxt/P0000.txt"
    labels.write_text(labels.read_text() + line + "\n")
    for arguments in (SMALL, ["--count"]):
        found = fails(arguments, capsys)
        assert "train/labelTxt: object 3 (plane) (image " in found and fault in found
    with caplog.at_level(logging.WARNING):
        main([*SMALL, "--invalid-boxes", "skip"])
    assert "train/labelTxt: 1 invalid boxes skipped" in caplog.text
    assert "train: 3 tiles of 2 images, 2 objects on 2 of them, 1 ignore" in capsys.readouterr().out


def test_two_images_of_one_label_file_are_named(root, capsys):
    Image.new("RGB", (20, 20)).save(root / "train/images/P0001.jpg")
    line = fails(SMALL, capsys)
    assert "train/images: has P0001.jpg and P0001.png, for which there is one label file" in line


def test_a_folder_of_ones_own_is_not_replaced(root, capsys):
    (root / "tiles_100_20/train").mkdir(parents=True)
    (root / "tiles_100_20/train/notes.txt").write_text("mine")
    assert "was not generated by this program" in fails(SMALL, capsys)


def test_the_recipes_data_are_these_tiles(root, tmp_path, capsys, caplog):
    main(["--workers", "0"])  # 1024 px, so that each image is a tile
    data = REPOSITORY / "configs/common/data/dota.py"
    cfg = LazyConfig.load(str(data))
    cfg.train = {"seed": 0, "output_dir": str(tmp_path / "out")}
    cfg.dataloader.train.num_workers = 0
    batch = next(iter(instantiate(cfg.dataloader.train)))
    assert {tuple(s["image"].shape[1:]) for s in batch} <= {(70, 150), (40, 50)}
    with caplog.at_level(logging.WARNING):
        evaluator = instantiate(cfg.dataloader.evaluator)
    assert evaluator.max_dets == 1500
    known = evaluator.metric_objects()
    assert (known["bbox/AP-small"], known["bbox/AP-tiny"], known["bbox/AP-medium"]) == (0, 1, 0)
    assert "bbox/AP-32-inf" in known and "bbox/oLRP-helipad" in known
    capsys.readouterr()
    files = [str(root / f"tiles_1024_200/{split}/annotations.json") for split in ("train", "val")]
    validate(["--annotations", *files, "--size-ranges", "aitod-64"])
    said = capsys.readouterr().out
    assert "very-tiny" in said and "error" not in said.strip().splitlines()[-1]


def test_annotations_say_what_is_difficult(root):
    main([*SMALL, "--splits", "train"])
    content = json.loads((root / "tiles_100_20/train/annotations.json").read_text())
    rows = [(a["difficult"], a["iscrowd"], a["area"]) for a in content["annotations"]]
    assert sorted(rows) == [(0, 0, 16.0), (0, 0, 400.0), (1, 1, 16.0)]
