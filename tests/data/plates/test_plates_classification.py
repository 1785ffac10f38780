import json

from lowres_d2.data.datasets import dataset_fingerprint
from lowres_d2.data.plates import PlatesClassification
from lowres_d2.data.plates.glyphs import PLATE_CLASSES
from lowres_d2.data.plates.scene import SceneSettings, lay_out, paint_scene

import numpy as np
import pytest
import torch


def test_images_and_labels_are_those_that_are_drawn(tmp_path):
    plates = PlatesClassification(tmp_path, "val", num_images=12, seed=3)
    assert len(plates) == 12 and plates.classes == PLATE_CLASSES
    settings = SceneSettings(image_size=32, size_range=(16, 24), max_plates=1, max_decoys=0)
    for index, item in enumerate(plates):
        scene = lay_out(3, 1, index, settings)
        assert item["label"] == scene.plates[0].label and item["image_id"] == index + 1
        assert (item["height"], item["width"]) == (32, 32)
        assert np.array_equal(item["image"].permute(1, 2, 0).numpy(), paint_scene(scene))
    with pytest.raises(IndexError, match="image 12 of 12"):
        plates[12]


def test_second_use_reads_the_same_file(tmp_path):
    first = PlatesClassification(tmp_path, num_images=4)
    pixels = first.folder / "images.npy"
    before = pixels.stat().st_mtime_ns
    again = PlatesClassification(tmp_path, num_images=4)
    assert pixels.stat().st_mtime_ns == before
    assert torch.equal(again.images, first.images) and again.labels == first.labels
    assert dataset_fingerprint(again) == dataset_fingerprint(first)


def test_first_images_do_not_depend_on_the_number_and_splits_differ(tmp_path):
    few, more = (PlatesClassification(tmp_path, num_images=n) for n in (3, 5))
    assert torch.equal(few.images, more.images[:3]) and few.labels == more.labels[:3]
    others = [PlatesClassification(tmp_path, split, num_images=3) for split in ("val", "test")]
    assert len({plates.images.numpy().tobytes() for plates in (few, *others)}) == 3


def test_worker_processes_draw_the_same(tmp_path):
    alone = PlatesClassification(tmp_path / "a", num_images=8, num_workers=0)
    together = PlatesClassification(tmp_path / "b", num_images=8, num_workers=2)
    assert torch.equal(alone.images, together.images) and alone.labels == together.labels


def test_plates_may_have_other_sizes(tmp_path):
    usual = PlatesClassification(tmp_path, num_images=3)
    small = PlatesClassification(tmp_path, num_images=3, size_range=[4, 16])
    assert small.folder.name == f"{usual.folder.name}_4-16px" and len(small) == 3
    assert not torch.equal(small.images, usual.images)
    stamp = json.loads((small.folder / "generated.json").read_text())
    assert stamp["scene"]["size_range"] == [4.0, 16.0] and stamp["num_images"] == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "trian"}, "split='trian': expected one of train, val, test"),
        ({"num_images": 0}, "num_images=0: expected at least 1"),
        (
            {"size_range": (4, 25)},
            "size_range 4.0 to 25.0: expected 1 <= smallest <= largest <= 24",
        ),
        ({"size_range": (4, 8, 16)}, "expected the smallest and the largest size in pixels"),
    ],
)
def test_wrong_settings_are_one_line_and_make_nothing(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message) as caught:
        PlatesClassification(tmp_path / "plates", **arguments)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "plates").exists()


@pytest.mark.parametrize("name", ["images.npy", "labels.json"])
@pytest.mark.parametrize("keep", [0, 9, 300])
def test_a_damaged_file_says_what_to_delete(tmp_path, name, keep):
    folder = PlatesClassification(tmp_path, num_images=400, num_workers=0).folder
    path = folder / name
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match="delete the folder, and it is generated again") as caught:
        PlatesClassification(tmp_path, num_images=400)
    assert str(caught.value).startswith(f"{folder}: ") and "\n" not in str(caught.value)


def test_images_of_an_earlier_version_are_replaced(tmp_path):
    folder = PlatesClassification(tmp_path, num_images=2).folder
    (folder / "images.npy").unlink()
    stamp = json.loads((folder / "generated.json").read_text())
    del stamp["pixels"]
    (folder / "images").mkdir()
    for k in range(2):
        (folder / "images" / f"00000{k}.png").write_bytes(b"")
    stamp["files"] = ["images/000000.png", "images/000001.png", "labels.json"]
    (folder / "generated.json").write_text(json.dumps(stamp))
    assert len(PlatesClassification(tmp_path, num_images=2)) == 2
    assert sorted(path.name for path in folder.iterdir()) == [
        "generated.json",
        "images.npy",
        "labels.json",
    ]
