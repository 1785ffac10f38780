"""The pieces of ``configs/common/data`` load, dump, and build."""

from pathlib import Path

from lowres_d2.data.datasets import check_same_classes

import pytest
from detectron2.config import LazyConfig, instantiate
from omegaconf import OmegaConf

FOLDER = Path(__file__).parents[2] / "configs/common/data"


def load(name, output_dir="unused"):
    cfg = LazyConfig.load(str(FOLDER / f"{name}.py"))
    cfg.train = {"seed": 0, "output_dir": str(output_dir)}
    return cfg


@pytest.mark.parametrize("name", sorted(p.stem for p in FOLDER.glob("*.py")))
def test_piece_survives_a_dump(name, tmp_path):
    cfg = load(name)
    first, second = tmp_path / "first.yaml", tmp_path / "second.yaml"
    LazyConfig.save(cfg, str(first))
    LazyConfig.save(LazyConfig.load(str(first)), str(second))
    assert first.read_text() == second.read_text()
    assert set(cfg.dataloader) == {"train", "test", "evaluator"}
    modes = [cfg.dataloader[part].mapper.is_train for part in ("train", "test")]
    assert modes == [True, False]
    formats = [cfg.dataloader[part].mapper.image_format for part in ("train", "test")]
    assert formats[0] == formats[1]


@pytest.mark.parametrize("name", ["plates", "plates_tiny"])
def test_plates_build(name, tmp_path, monkeypatch):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    cfg = load(name, tmp_path / "out")
    OmegaConf.update(cfg, "dataloader.train.dataset.num_images", 8)
    OmegaConf.update(cfg, "dataloader.test.dataset.num_images", 4)
    train = instantiate(cfg.dataloader.train)
    batch = next(iter(train))
    assert len(batch) == 16 and batch[0]["image"].shape == (3, 256, 256)
    samples = [sample for batch in instantiate(cfg.dataloader.test) for sample in batch]
    assert len(samples) == 4 and "instances" not in samples[0]
    check_same_classes(
        instantiate(cfg.dataloader.train.dataset), instantiate(cfg.dataloader.test.dataset)
    )
    assert instantiate(cfg.dataloader.evaluator) is not None


def test_own_data_builds_from_two_paths(coco, tmp_path):
    cfg = load("coco_format", tmp_path / "out")
    cfg.data.train_json = cfg.data.val_json = str(coco.json_file)
    batch = next(iter(instantiate(cfg.dataloader.train)))
    assert batch[0]["image"].shape == (3, 480, 720)
    cfg.data.classes = ["mouse"]
    assert instantiate(cfg.dataloader.test.dataset).classes == ["mouse"]
    cfg.data.val_json = "nowhere.json"
    with pytest.raises(FileNotFoundError, match=r"nowhere.json"):
        instantiate(cfg.dataloader.test.dataset)
