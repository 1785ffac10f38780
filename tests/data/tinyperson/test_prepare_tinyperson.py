"""The program that counts TinyPerson, and the data piece of recipes."""

import json
from pathlib import Path

from lowres_d2.data.validation import Findings, validate
from lowres_d2.data.validation.read import split_of_dataset
from lowres_d2.evaluation import TinyPersonEvaluator
from lowres_d2.programs.prepare_tinyperson import main

import pytest
from detectron2.config import LazyConfig, instantiate
from PIL import Image

REPOSITORY = Path(__file__).parents[3]
CATEGORIES = [{"id": 1, "name": "sea_person"}, {"id": 2, "name": "earth_person"}]


def box(number, image_id, side, category=1, **flags):
    bbox = [10, 10, side, side]
    return {"id": number, "image_id": image_id, "category_id": category, "bbox": bbox} | flags


def image(number, **corner):
    return {"id": number, "file_name": "labeled_images/a.png", "width": 60, "height": 50} | corner


@pytest.fixture
def root(tmp_path):
    whole = {
        "images": [image(1), image(2)],
        "annotations": [
            box(1, 1, 8),
            box(2, 1, 30, 2),
            box(3, 1, 20, uncertain=True),
            box(4, 2, 5, in_dense_image=True),
        ],
        "categories": CATEGORIES,
    }
    tiles = {
        "images": [image(1, corner=[0, 0, 60, 50]), image(2, corner=[30, 10, 90, 60])],
        "annotations": [box(1, 1, 8), box(2, 2, 9)],
        "categories": [{"id": 1, "name": "person"}],
    }
    corner = "corner/task/tiny_set_train_sw640_sh512_all.json"
    (tmp_path / "annotations/corner/task").mkdir(parents=True)
    for name, content in {"tiny_set_train.json": whole, corner: tiles}.items():
        (tmp_path / "annotations" / name).write_text(json.dumps(content))
    (tmp_path / "annotations/tiny_set_test.json").write_text(json.dumps(whole))
    for split in ("train", "test"):
        (tmp_path / split / "labeled_images").mkdir(parents=True)
        Image.new("RGB", (90, 60)).save(tmp_path / split / "labeled_images/a.png")
    return tmp_path


def test_program_counts_persons(root, capsys):
    main(["--root", str(root)])
    text = capsys.readouterr().out
    rows = [[cell.strip() for cell in x.split("|")[1:-1]] for x in text.splitlines() if "|" in x]
    assert rows[2] == ["train", "1", "2", "1", "19.0 ± 11.0", "0.347 ± 0.201", "50.0%", "100.0%"]
    assert rows[4] == [
        "train tiles",
        "2",
        "2",
        "0",
        "8.5 ± 0.5",
        "0.155 ± 0.009",
        "100.0%",
        "100.0%",
    ]
    assert "dense images left out: 1 of train, 1 of test, 0 of train tiles" in text
    main(["--root", str(root), "--task", "earth", "--dense", "object"])
    text = capsys.readouterr().out
    rows = [[cell.strip() for cell in x.split("|")[1:-1]] for x in text.splitlines() if "|" in x]
    assert rows[2][:5] == ["train", "2", "1", "3", "30.0 ± 0.0"]
    assert rows[-1] == ["earth_person", "1", "1"]
    (root / "test/labeled_images/a.png").unlink()
    with pytest.raises(SystemExit):
        main(["--root", str(root)])
    assert "error: " in capsys.readouterr().err


def test_data_piece_trains_on_tiles_and_tests_whole_images(root, monkeypatch):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(root.parent))
    (root.parent / "tiny_set").symlink_to(root)
    cfg = LazyConfig.load(str(REPOSITORY / "configs/common/data/tinyperson.py"))
    cfg.train = {"seed": 0, "output_dir": str(root / "out")}
    cfg.dataloader.train.num_workers = 0
    batch = next(iter(instantiate(cfg.dataloader.train)))
    assert sorted(item["image"].shape[1:] for item in batch) == [(50, 60), (50, 60)]
    test = instantiate(cfg.dataloader.test.dataset)
    assert [len(record["annotations"]) for record in test] == [3]
    assert isinstance(instantiate(cfg.dataloader.evaluator), TinyPersonEvaluator)
    # Tiles share their files, which are checked as images of the whole ones.
    split = split_of_dataset(instantiate(cfg.dataloader.train.dataset), "train")
    assert split.root is None
    assert split.images[1]["file_name"] == "labeled_images/a.png [30, 10, 90, 60]"
    findings = Findings()
    validate([split], findings, {"all": (0, 1e6)}, level="none")
    assert not {"file-twice", "file-outside"} & {f.check.name for f in findings}
