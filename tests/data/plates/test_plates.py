import json
import multiprocessing
import sys
import zlib
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from lowres_d2.data.generated import ensure_generated
from lowres_d2.data.plates import PlatesDataset, plate_sheet
from lowres_d2.data.plates import scene as scenes_module
from lowres_d2.data.plates.dataset import VARIANTS
from lowres_d2.data.plates.glyphs import (
    DECOYS,
    GLYPHS,
    OUTLINES,
    PLATE_CLASSES,
)
from lowres_d2.data.plates.scene import (
    Plate,
    Scene,
    SceneSettings,
    lay_out,
    paint_scene,
)

import numpy as np
import pytest
from PIL import Image
from scipy.stats import kstest

# Layout of seed 0, training image 0: the same on any machine and with any library version.
KNOWN_LAYOUT = json.loads((Path(__file__).parent / "plates_seed0_image0.json").read_text())


def as_lists(scene):
    return [[plate.label, *plate.box] for plate in scene.plates]


def test_layout_is_the_known_one():
    assert as_lists(lay_out(0, 0, 0, SceneSettings())) == KNOWN_LAYOUT


def drawn(seed):
    """Boxes and checksums of the first three validation images."""
    scenes = [lay_out(seed, 1, index, SceneSettings()) for index in range(3)]
    boxes = [as_lists(scene) for scene in scenes]
    return boxes, [zlib.crc32(paint_scene(scene).tobytes()) for scene in scenes]


@pytest.mark.slow
def test_a_fresh_process_draws_the_same_layouts_and_pixels(tmp_path):
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        there = pool.submit(drawn, 3).result()
    assert there == drawn(3)
    assert there != drawn(4)


def test_classes_may_be_chosen(tmp_path):
    every = PlatesDataset(tmp_path, num_images=4)
    classes = every.classes[5:2:-1]
    chosen = PlatesDataset(tmp_path, num_images=4, classes=classes)
    names = [[every.classes[a["category_id"]] for a in record["annotations"]] for record in every]
    assert [[classes[a["category_id"]] for a in record["annotations"]] for record in chosen] == [
        [name for name in found if name in classes] for found in names
    ]


def test_layout_does_not_depend_on_backgrounds(tmp_path):
    photo = np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    Image.fromarray(photo).save(tmp_path / "photo.png")
    plain = PlatesDataset(tmp_path / "a", num_images=4)
    on_photos = PlatesDataset(tmp_path / "a", num_images=4, photos=tmp_path)
    assert [r["annotations"] for r in plain] == [r["annotations"] for r in on_photos]
    assert plain.image_root != on_photos.image_root
    images = [Path(d[0]["file_name"]).read_bytes() for d in (plain, on_photos)]
    assert images[0] != images[1]


@pytest.mark.parametrize("variant", VARIANTS)
def test_plates_lie_inside_apart_and_within_the_size_range(variant):
    settings = VARIANTS[variant]
    low, high = settings.size_range
    for index in range(200):
        plates = lay_out(1, 0, index, settings).plates
        boxes = np.array([plate.box for plate in plates])
        assert (boxes >= 0).all() and (boxes <= settings.image_size).all()
        assert all(low - 0.02 <= plate.size <= high + 0.02 for plate in plates)
        for k, (x0, y0, x1, y1) in enumerate(boxes):
            others = np.delete(boxes, k, axis=0)
            apart = (others[:, 0] >= x1) | (others[:, 2] <= x0)
            assert (apart | (others[:, 1] >= y1) | (others[:, 3] <= y0)).all()


def test_sizes_are_log_uniform_and_classes_even():
    settings = SceneSettings(size_range=(4, 24))  # small enough that every plate finds its place
    plates = [p for i in range(400) for p in lay_out(2, 0, i, settings).plates]
    position = np.log([p.size / 4 for p in plates]) / np.log(24 / 4)
    assert kstest(position, "uniform").pvalue > 0.01
    counts = np.bincount([p.label for p in plates if p.label is not None])
    assert len(counts) == len(PLATE_CLASSES)
    expected = counts.sum() / len(counts)
    assert ((counts - expected) ** 2 / expected).sum() < 24.3  # chi-square of 7, 0.1 %


def test_splits_and_seeds_differ_and_first_images_do_not_depend_on_the_number(tmp_path):
    few = PlatesDataset(tmp_path, "val", num_images=3)
    more = PlatesDataset(tmp_path, "val", num_images=5)
    assert [few[k]["annotations"] for k in range(3)] == [more[k]["annotations"] for k in range(3)]
    first = {
        str(as_lists(lay_out(seed, split, 0, SceneSettings())))
        for seed in range(2)
        for split in range(3)
    }
    assert len(first) == 6


@pytest.mark.parametrize("size", [64.0, 7.0])
@pytest.mark.parametrize("label", [None, 0, 4])
def test_painted_pixels_fill_the_box(size, label, monkeypatch):
    box = (20.25, 30.5, 20.25 + size, 30.5 + size)
    # The same image with and without the plate, without the camera's noise and blur.
    monkeypatch.setattr(scenes_module, "_through_camera", lambda rng, image: image)
    monkeypatch.setattr(scenes_module, "_paint_post", lambda rng, image, plate: None)
    settings = SceneSettings(image_size=128)

    def paint(plates):
        return paint_scene(Scene(settings, plates, np.random.default_rng(5)))

    changed = np.abs(paint([Plate(box, label)]) - paint([])).max(axis=2) > 0
    rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
    painted = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
    assert np.abs(painted - np.array(box)).max() <= 1.01


def test_glyphs_differ_from_each_other_and_stay_on_their_plate():
    assert len(GLYPHS) == 8
    for polygons in [*GLYPHS.values(), *DECOYS]:
        for polygon in polygons:
            assert np.hypot(*polygon.T).max() <= 0.86 * 0.92 * np.sqrt(2) / np.sqrt(2)
    flat = {name: np.round(np.concatenate(g), 6).tobytes() for name, g in GLYPHS.items()}
    assert len(set(flat.values())) == 8
    assert all(polygon.shape[1] == 2 for polygon in OUTLINES)


def test_second_use_reads_what_is_there(tmp_path):
    first = PlatesDataset(tmp_path, num_images=3)
    image = Path(first[0]["file_name"])
    before = image.stat().st_mtime_ns
    again = PlatesDataset(tmp_path, num_images=3)
    assert image.stat().st_mtime_ns == before
    assert list(again) == list(first)
    (first.json_file.parent / "generated.json").write_text("{}")  # of another generator version
    PlatesDataset(tmp_path, num_images=3)
    assert image.stat().st_mtime_ns > before


def test_interrupted_generation_leaves_nothing_that_looks_whole(tmp_path):
    def write_half(part):
        (part / "half").write_text("")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ensure_generated(tmp_path / "set", {"a": 1}, write_half)
    assert not [p for p in tmp_path.iterdir() if p.suffix != ".lock"]

    killed = tmp_path / ".set.part"  # what a killed run leaves
    killed.mkdir()
    (killed / "half").write_text("")
    ensure_generated(tmp_path / "set", {"a": 1}, lambda part: (part / "whole").write_text(""))
    assert sorted(p.name for p in (tmp_path / "set").iterdir()) == ["generated.json", "whole"]
    assert not killed.exists()


def test_a_folder_of_someone_else_is_not_overwritten(tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "mine.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="was not generated by this program"):
        ensure_generated(tmp_path / "set", {}, lambda part: None)
    assert (tmp_path / "set" / "mine.txt").read_text() == "mine"


def test_a_generated_folder_with_files_of_the_user_is_kept(tmp_path):
    def write(part):
        (part / "file").write_text("x")

    for settings in ({"a": 1}, {"a": 2}):
        ensure_generated(tmp_path / "set", settings, write)
    assert [path.name for path in tmp_path.glob("s*")] == ["set"]
    (tmp_path / "set" / "notes.txt").write_text("mine")
    ensure_generated(tmp_path / "set", {"a": 3}, write)
    assert (tmp_path / "set-earlier1" / "notes.txt").read_text() == "mine"
    assert sorted(p.name for p in (tmp_path / "set").iterdir()) == ["file", "generated.json"]


def test_a_smaller_set_replaces_a_larger_one(tmp_path):
    def writer(number):
        def write(part):
            (part / "images").mkdir()
            for k in range(number):
                (part / "images" / f"{k}.txt").write_text("x")

        return write

    for number in (3, 2, 5):
        ensure_generated(tmp_path / "set", {"number": number}, writer(number))
        assert len(list((tmp_path / "set" / "images").iterdir())) == number
        assert [path.name for path in tmp_path.glob("set*")] == ["set"]
    (tmp_path / "set" / "images" / "mine.txt").write_text("mine")
    ensure_generated(tmp_path / "set", {"number": 2}, writer(2))
    assert (tmp_path / "set-earlier1" / "images" / "mine.txt").read_text() == "mine"


def _generate_and_note(root, notes):
    def write(part):
        notes.put("wrote")
        (part / "file").write_text("x")

    ensure_generated(root / "set", {"a": 1}, write)


def test_processes_at_once_generate_once(tmp_path):
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    notes = context.Queue()
    processes = [context.Process(target=_generate_and_note, args=(tmp_path, notes)) for _ in "abc"]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert notes.get(timeout=5) == "wrote"
    assert notes.empty()


def test_worker_processes_make_the_same_set(tmp_path):
    alone = PlatesDataset(tmp_path / "a", num_images=6, num_workers=0)
    together = PlatesDataset(tmp_path / "b", num_images=6, num_workers=2)
    for a, b in zip(alone, together, strict=True):
        assert a["annotations"] == b["annotations"]
        assert Path(a["file_name"]).read_bytes() == Path(b["file_name"]).read_bytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "trian"}, "split='trian': expected one of train, val, test"),
        ({"variant": "huge"}, "variant='huge': expected one of standard, tiny"),
        ({"num_images": 0}, "num_images=0: expected at least 1"),
        ({"seed": -1}, "seed=-1"),
        ({"size_range": (30, 20)}, "size_range 30.0 to 20.0"),
        ({"size_range": (6, 500)}, "size_range 6.0 to 500.0"),
        ({"size_range": 6}, "size_range=6: expected the smallest and the largest size"),
        ({"size_range": [6]}, r"size_range=\[6\]: expected the smallest and the largest size"),
        ({"photos": "/nowhere"}, "no such folder of photographs"),
    ],
)
def test_wrong_arguments_are_named(tmp_path, arguments, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message) as caught:
        PlatesDataset(tmp_path / "plates", **arguments)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "plates").exists()


def test_sheet_is_an_image(tmp_path):
    plate_sheet(tmp_path / "sheet.png")
    sheet = np.asarray(Image.open(tmp_path / "sheet.png"))
    assert sheet.shape[1] == 4 * 256 + 5 * 8 and sheet.std() > 20
