import json

from lowres_d2.data.datasets import CocoDataset
from lowres_d2.data.datasets.sample import EvenSample
from lowres_d2.engine.build import build_datasets
from lowres_d2.engine.startup.teacher import check_teacher_accuracy
from lowres_d2.modeling.teacher import Teacher
from lowres_d2.modeling.tiles import TiledDetector
from lowres_d2.modeling.weights import LoadReport
from lowres_d2.programs.train import main
from lowres_d2.recipes.load import load_recipe

import pytest
import torch
from detectron2.structures import Boxes, Instances
from torch import nn

from toys.one_line_errors import error_of
from toys.runs import STAGED


class Oracle(nn.Module):
    """Detects the ground truth of the first ``good`` images; in others nothing."""

    def __init__(self, dataset, good):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.truth = {record["image_id"]: record["annotations"] for record in dataset}
        self.good, self.seen, self.largest = good, [], 0

    def forward(self, inputs):
        return [{"instances": self.find(x)} for x in inputs]

    def find(self, given):
        self.seen.append(given["image_id"])
        self.largest = max(self.largest, *given["image"].shape[1:])
        objects = self.truth[given["image_id"]] if len(self.seen) <= self.good else []
        boxes = torch.tensor([a["bbox"] for a in objects]).reshape(-1, 4)
        found = Instances((given["height"], given["width"]))
        found.pred_boxes = Boxes(torch.cat([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], dim=1))
        found.scores = torch.ones(len(boxes))
        found.pred_classes = torch.tensor([a["category_id"] for a in objects], dtype=torch.int64)
        return found


@pytest.fixture
def cfg(toy_arguments):
    cfg = load_recipe(STAGED, toy_arguments[2:])
    build_datasets(cfg)
    return cfg


@pytest.mark.parametrize("images", [3, 50])
def test_the_teacher_is_evaluated_on_a_few_images(cfg, images, tmp_path):
    oracle = Oracle(cfg.dataloader.test.dataset, good=99)
    cfg.train.teacher_check.images = images
    whole = cfg.dataloader.test.dataset
    assert check_teacher_accuracy(cfg, Teacher(oracle)) == pytest.approx(100)
    assert len(oracle.seen) == min(images, 6)
    assert not oracle.training
    assert cfg.dataloader.test.dataset is whole
    assert cfg.train.output_dir == str(tmp_path / "run")


def test_of_a_model_in_tiles_the_teacher_sees_tiles(cfg):
    """As the run evaluates; with ``mapper.windows=true`` there are no whole images."""
    oracle = Oracle(cfg.dataloader.test.dataset, good=99)
    cfg.train.teacher_check = {"images": 2, "min_ap": 0.0}
    tiles = TiledDetector(nn.Identity(), size=48, overlap=8)
    check_teacher_accuracy(cfg, Teacher(oracle), tiles)
    assert len(oracle.seen) > 2 and oracle.largest <= 48


def test_a_teacher_below_the_floor_stops_the_run(cfg):
    cfg.train.teacher_check = {"images": 4, "min_ap": 60.0}
    teacher = Teacher(Oracle(cfg.dataloader.test.dataset, good=2))
    with pytest.raises(ValueError, match=r"AP 50\.\d on 4 images .*min_ap is 60: ") as caught:
        check_teacher_accuracy(cfg, teacher)
    assert "\n" not in str(caught.value)
    assert "60: check its weights (model.teacher.checkpoint) and channel" in str(caught.value)


def test_a_teacher_of_a_run_is_below_the_floor_first_of_all_for_a_short_training(cfg):
    cfg.train.teacher_check = {"images": 4, "min_ap": 60.0}
    teacher = Teacher(Oracle(cfg.dataloader.test.dataset, good=2))
    teacher.report = LoadReport("teacher/model_final.pth", 1, iterations=4)
    with pytest.raises(
        ValueError, match=r"60: its weights were trained for 4 iterations: .*=0 for"
    ):
        check_teacher_accuracy(cfg, teacher)


def test_an_untrained_teacher_is_refused_before_the_first_iteration(
    toy_arguments, tmp_path, capsys
):
    toy_arguments[1] = STAGED
    line = error_of([*toy_arguments, "train.teacher_check.images=2"], capsys)
    assert "bbox/AP 0.0 on 2 images" in line and "train.teacher_check.min_ap" in line
    assert not (tmp_path / "run").exists()


def test_the_check_changes_nothing_in_the_run_and_is_not_repeated(toy_arguments, tmp_path):
    toy_arguments[1] = STAGED
    check = ["train.teacher_check.images=2", "train.teacher_check.min_ap=0"]
    main([*toy_arguments, f"train.output_dir={tmp_path / 'unchecked'}"])
    main([*toy_arguments, *check])
    a, b = (
        torch.load(tmp_path / run / "model_final.pth", weights_only=True)["model"]
        for run in ("unchecked", "run")
    )
    assert all(torch.equal(a[name], b[name]) for name in a)
    log = tmp_path / "run" / "log.txt"
    assert log.read_text().count("teacher: bbox/AP 0.0 on 2 images of the test set") == 1
    (tmp_path / "run" / "last_checkpoint").write_text("model_0000002.pth")
    main(["--resume", *toy_arguments, *check])
    assert log.read_text().count("teacher: bbox/AP") == 1


def test_a_sample_is_spread_over_the_images_with_objects(coco_json, tmp_path):
    content = json.loads(coco_json.read_text())
    del content["annotations"][2]  # that of image 3
    content["annotations"][3]["iscrowd"] = 1  # of image 5
    (tmp_path / "some.json").write_text(json.dumps(content))
    dataset = CocoDataset(tmp_path / "some.json", coco_json.parent / "images")
    places = {number: [r["image_id"] for r in EvenSample(dataset, number)] for number in (2, 3, 50)}
    assert places == {2: [1, 4], 3: [1, 2, 4], 50: [1, 2, 4, 6]}
    sample = EvenSample(dataset, 2)
    assert sample.classes == ["red", "green"] and sample.category_ids == [3, 4]
    truth = sample.coco_dict()
    assert {image["id"] for image in truth["images"]} == {1, 4}
    assert {a["image_id"] for a in truth["annotations"]} == {1, 4}
