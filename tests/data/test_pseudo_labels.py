import json

from lowres_d2.data import DetectionMapper
from lowres_d2.data.crowds import blank_crowds
from lowres_d2.data.datasets import CocoDataset, with_classes
from lowres_d2.data.datasets.pseudo_labels import PseudoLabels, labelled_by
from lowres_d2.data.datasets.sample import EvenSample
from lowres_d2.data.datasets.unlabelled import UnlabelledImages
from lowres_d2.evaluation import SizedCOCOEvaluator
from lowres_d2.programs.train import main as train

import numpy as np
import pytest
import torch
from detectron2.data import transforms as T
from detectron2.structures import Boxes, BoxMode, Instances
from PIL import Image

from toys.data import SIDE, ToyData

DISTILLED = "tests/toys/recipes/distilled.py"
IMAGES = [{"id": k, "file_name": f"{k}.png", "height": 40, "width": 60} for k in (10, 11)]


def detection(score, bbox=(1, 2, 30, 10), image=10, category=3):
    return {"image_id": image, "category_id": category, "bbox": list(bbox), "score": score}


def test_scores_decide_between_objects_ignore_regions_and_nothing():
    found = [detection(score) for score in (0.9, 0.5, 0.49, 0.2, 0.19)]
    found += [detection(0.9, image=12)]  # of the other part of the images
    content = PseudoLabels("w.pth", 0.5, 0.2).coco(IMAGES, found, {3: "cat", 7: "dog"})
    rows = [(a["id"], a["score"], a["iscrowd"], a["area"]) for a in content["annotations"]]
    assert rows == [(1, 0.9, 0, 300), (2, 0.5, 0, 300), (3, 0.49, 1, 300), (4, 0.2, 1, 300)]
    assert content["images"] == IMAGES
    assert content["categories"] == [{"id": 3, "name": "cat"}, {"id": 7, "name": "dog"}]
    assert labelled_by(content) == "detections of w.pth with scores from 0.5"


@pytest.mark.parametrize("scores", [(0.5, 0.6), (1.1, 0.5), (0.5, 0), (float("nan"), 0.1)])
def test_scores_that_make_no_sense_are_refused(scores):
    with pytest.raises(ValueError, match=r"--threshold .*--ignore-from"):
        PseudoLabels("w.pth", *scores)


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        (None, ""),
        ([], ""),
        ({"year": 2020}, ""),
        ({"pseudo_labels": 3}, ""),
        ({"pseudo_labels": {}}, "a detector"),
        ({"pseudo_labels": {"weights": "w", "threshold": "?"}}, "a detector"),
    ],
)
def test_other_info_of_a_json_is_no_pseudo_label(info, expected):
    assert labelled_by({"info": info}) == expected


@pytest.fixture
def folder(tmp_path):
    for name in ("b.png", "a.JPG", "night/c.png", ".hidden/d.png", "notes.txt"):
        file = tmp_path / "camera" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (60, 40)).save(file, "png") if file.suffix != ".txt" else file.touch()
    return tmp_path / "camera"


def test_images_of_a_folder_come_in_the_order_of_their_names(folder):
    images = UnlabelledImages(folder)
    assert images.names == {1: "a.JPG", 2: "b.png", 3: "night/c.png"}
    assert images[-1] == {"file_name": str(folder / "night/c.png"), "image_id": 3}
    assert [record["image_id"] for record in images] == [1, 2, 3]
    sample = DetectionMapper(False, [T.Resize((20, 30))])(images[0])
    assert (sample["height"], sample["width"]) == (40, 60)
    assert sample["image"].shape == (3, 20, 30)


def test_numbers_in_names_are_numbers(tmp_path):
    """Without leading zeros, too, the frames of a video are in its order."""
    right = ["a/9.png", "a1/2.png", "a1/10.png", "b/f2.png", "b/f10.png", "b/f010.png", "c.png"]
    for name in sorted(right, key=lambda name: name[::-1]):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    right[4:6] = ["b/f010.png", "b/f10.png"]
    assert [*UnlabelledImages(tmp_path).names.values()] == right


def test_images_of_a_json_keep_their_ids_and_lose_their_labels(tmp_path):
    data = ToyData(tmp_path, 3)
    for annotations in (data.content["annotations"], None):
        if annotations is None:
            del data.content["annotations"], data.content["categories"]
        images = UnlabelledImages(data.write())
        assert images.names == {10: "0.png", 11: "1.png", 12: "2.png"}
        assert images.image_root == data.images
        assert images[0].keys() == {"file_name", "height", "width", "image_id"}


def test_sources_without_images_are_named(folder, tmp_path):
    (tmp_path / "empty").mkdir()
    for source, error, words in (
        (tmp_path / "empty", ValueError, "has no images"),
        (folder / "b.png", ValueError, "one image: give its folder"),
        (tmp_path / "nothing", FileNotFoundError, "no such folder or file; give a folder"),
    ):
        with pytest.raises(error, match=words) as caught:
            UnlabelledImages(source)
        assert str(source) in str(caught.value) and "\n" not in str(caught.value)


def annotation(bbox, iscrowd):
    mode = BoxMode.XYWH_ABS
    return {"bbox": bbox, "bbox_mode": mode, "iscrowd": iscrowd, "category_id": 0}


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_ignore_regions_get_the_mean_colour_where_no_object_is(dtype):
    image = np.arange(8 * 10 * 2).reshape(8, 10, 2).astype(dtype)
    before = image.copy()
    crowd, object_ = annotation([1.5, 2, 4, 3], 1), annotation([4, 0, 2.5, 3.5], 0)
    found = blank_crowds(image, [object_, crowd])
    hidden = np.zeros((8, 10), bool)
    hidden[2:5, 1:6] = True
    hidden[0:4, 4:7] = False
    assert np.array_equal(image, before)
    assert np.array_equal(found[~hidden], image[~hidden]) and found.dtype == dtype
    mean = image.reshape(-1, 2).mean(0, np.float64)
    assert (found[hidden] == (mean.round() if dtype == np.uint8 else mean)).all()
    assert blank_crowds(image, [object_]) is image


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_each_ignore_region_may_get_its_own_mean_colour(dtype):
    image = np.arange(8 * 10 * 2).reshape(8, 10, 2).astype(dtype)
    crowds = [annotation([0, 0, 3, 2], 1), annotation([7.5, 5.5, 9, 9], 1)]
    beyond, object_ = annotation([40, 40, 3, 3], 1), annotation([1, 0, 1, 1], 0)
    found = blank_crowds(image, [*crowds, beyond, object_], region_mean=True)
    expected = image.copy()
    # Pixels of an object count for the mean, and stay.
    expected[:2, :3] = [12, 13]
    expected[0, 1] = image[0, 1]
    expected[5:, 7:] = [136, 137]
    assert np.array_equal(found, expected) and found.dtype == dtype


def pseudo_labelled(data, folder, found, **scores):
    """The json of a toy data set, with these detections as its annotations."""
    labels = PseudoLabels("teacher.pth", **scores)
    content = labels.coco(data.content["images"], found, {3: "red", 4: "green"})
    file = folder / "pseudo.json"
    file.write_text(json.dumps(content))
    return file


def truth_as_detections(data, score=0.8):
    return [
        detection(score, a["bbox"], a["image_id"], a["category_id"])
        for a in data.content["annotations"]
    ]


def test_training_sees_mirrored_objects_and_blank_ignore_regions(tmp_path):
    data = ToyData(tmp_path, 2)
    found = [detection(0.9, [4, 8, 16, 20]), detection(0.4, [40, 10, 20, 30])]
    dataset = CocoDataset(pseudo_labelled(data, tmp_path, found))
    assert (dataset.num_objects, dataset.num_crowds) == (1, 1)
    assert dataset[1]["annotations"] == []
    flip = [T.HFlipTransform(SIDE)]
    plain, blank = (
        DetectionMapper(True, flip, "RGB", crowds=crowds)(dataset[0])
        for crowds in ("background", "blank")
    )
    for sample in (plain, blank):
        assert sample["instances"].gt_boxes.tensor.tolist() == [[SIDE - 20, 8, SIDE - 4, 28]]
        assert sample["instances"].gt_classes.tolist() == [0]
    region = (slice(None), slice(10, 40), slice(SIDE - 60, SIDE - 40))
    assert len(blank["image"][region].flatten(1).unique(dim=1)[0]) == 1
    assert len(plain["image"][region].flatten(1).unique(dim=1)[0]) > 1
    outside = torch.ones(SIDE, SIDE, dtype=torch.bool)
    outside[region[1:]] = False
    assert torch.equal(plain["image"][:, outside], blank["image"][:, outside])
    own = DetectionMapper(True, flip, "RGB", crowds="region_mean")(dataset[0])["image"]
    mean = plain["image"][region].double().mean(dim=(1, 2), keepdim=True).round()
    assert torch.equal(own[region], mean.to(torch.uint8).expand_as(own[region]))
    assert torch.equal(own[:, outside], plain["image"][:, outside])
    tested = [
        DetectionMapper(False, flip, "RGB", crowds=crowds)(dataset[0])["image"]
        for crowds in ("background", "region_mean")
    ]
    assert torch.equal(*tested)
    with pytest.raises(ValueError, match="crowds='none': expected one of 'background'"):
        DetectionMapper(True, crowds="none")


def test_evaluation_says_that_it_is_agreement_and_ignores_what_was_uncertain(tmp_path):
    data = ToyData(tmp_path, 4)
    certain = truth_as_detections(data)
    uncertain = [detection(0.4, [40, 40, 20, 20], k) for k in (10, 11)]
    dataset = CocoDataset(pseudo_labelled(data, tmp_path, certain + uncertain))
    assert dataset.labelled_by == "detections of teacher.pth with scores from 0.5"
    more = with_classes(dataset, ["red", "green", "blue"])
    assert more.classes == ["red", "green", "blue"] and more.labelled_by == dataset.labelled_by
    for each in (dataset, more, EvenSample(dataset, 2)):
        assert labelled_by(each.coco_dict()) == dataset.labelled_by
    evaluator = SizedCOCOEvaluator(dataset, output_dir=tmp_path / "out")
    for record in dataset:
        boxes = torch.tensor([a["bbox"] for a in record["annotations"]], dtype=torch.float32)
        boxes[:, 2:] += boxes[:, :2]
        instances = Instances((SIDE, SIDE), pred_boxes=Boxes(boxes))
        # What the teacher was not certain of comes first: wrong, it would cost AP.
        instances.scores = torch.tensor([0.3, 0.9])[: len(boxes)]
        labels = [a["category_id"] for a in record["annotations"]]
        instances.pred_classes = torch.tensor(labels)
        evaluator.process([record], [{"instances": instances}])
    results = evaluator.evaluate()
    assert results["bbox"]["AP"] == pytest.approx(100) and results["bbox"]["GT-all"] == 4
    words = "AGREEMENT with the detections of teacher.pth with scores from 0.5"
    assert evaluator.tables().startswith(words)
    written = json.loads((tmp_path / "out" / "sized_coco.json").read_text())
    assert written["labelled_by"] == dataset.labelled_by
    plain = SizedCOCOEvaluator(CocoDataset(data.write()))
    plain.evaluate()
    assert "AGREEMENT" not in plain.tables()


def test_a_student_comes_to_agree_with_its_teacher(tmp_path, caplog):
    data = ToyData(tmp_path, 4, noise=False)
    file = pseudo_labelled(data, tmp_path, truth_as_detections(data), ignored_from=0.5)
    overrides = [
        *(word for word in data.overrides() if "_json=" not in word),
        *(f"data.{split}_json={file}" for split in ("train", "val")),
        f"train.output_dir={tmp_path / 'run'}",
        "train.max_iter=60",
        "train.eval_period=15",
        "train.log_period=15",
        "optimizer.lr=0.003",
        "model.teacher.checkpoint=null",
        "dataloader.train.total_batch_size=4",
        "dataloader.train.mapper.crowds=blank",
    ]
    with caplog.at_level("INFO"):
        train(["--config-file", DISTILLED, *overrides])
    rows = [json.loads(line) for line in (tmp_path / "run/metrics.json").read_text().splitlines()]
    agreement = [row["bbox/AP"] for row in rows if "bbox/AP" in row]
    assert agreement[-1] > agreement[0] + 20, agreement
    assert any("loss_feature_res3" in row for row in rows)  # the objectives stay
    said = "agreement with the detections of teacher.pth with scores from 0.5"
    assert f"no ground truth: metrics are the {said}" in caplog.text
    assert f"metrics    {said}; there is no ground truth" in caplog.text
    results = json.loads((tmp_path / "run/evaluation.json").read_text())
    assert results["evaluated"]["labelled_by"] == said.removeprefix("agreement with the ")
