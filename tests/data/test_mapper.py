from lowres_d2.data import BrokenImageError, DetectionMapper
from lowres_d2.data.datasets import CocoDataset

import numpy as np
import pytest
import torch
from detectron2.data import transforms as T
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image


def test_test_time_sample(coco):
    record = CocoDataset(coco.json_file)[0]
    sample = DetectionMapper(False, image_format="RGB")(record)
    assert set(sample) == {"image", "file_name", "height", "width", "image_id"}
    assert sample["image"].dtype == torch.uint8 and sample["image"].shape == (3, 40, 60)
    pixels = np.asarray(Image.open(record["file_name"]))
    assert np.array_equal(sample["image"].permute(1, 2, 0).numpy(), pixels)
    bgr = DetectionMapper(False, image_format="BGR")(record)["image"]
    assert torch.equal(bgr.flip(0), sample["image"])
    assert DetectionMapper(False, image_format="L")(record)["image"].shape == (1, 40, 60)


class Darken(T.Augmentation):
    """Writes into the image that it is given, and hands its memory to torch."""

    def get_transform(self, image):
        def halve(pixels):
            shared = torch.from_numpy(pixels)
            shared //= 2
            return pixels

        return T.ColorTransform(halve)


@pytest.mark.parametrize("image_format", ["RGB", "BGR", "L"])
@pytest.mark.filterwarnings("error")
def test_augmentations_may_write_into_the_image(coco, image_format):
    record = CocoDataset(coco.json_file)[0]
    before = DetectionMapper(False, image_format=image_format)(record)["image"]
    after = DetectionMapper(False, [Darken()], image_format)(record)["image"]
    assert torch.equal(after, before // 2)


def test_training_sample_follows_the_augmentations(coco):
    record = CocoDataset(coco.json_file)[3]  # box [3, 2, 10, 11]
    mapper = DetectionMapper(True, [T.Resize((80, 60)), T.HFlipTransform(60)])
    sample = mapper(record)
    assert sample["instances"].image_size == (80, 60)
    assert sample["instances"].gt_boxes.tensor.tolist() == [[47, 4, 57, 26]]
    assert sample["instances"].gt_classes.tolist() == [0]
    assert (sample["height"], sample["width"]) == (40, 60)
    assert "annotations" in record  # the data set's dict is left as it was


def test_crowds_are_left_out_and_lost_boxes_counted(coco):
    crowd = {"id": 90, "image_id": 10, "category_id": 3, "bbox": [1, 1, 5, 5], "iscrowd": 1}
    right = {"id": 91, "image_id": 10, "category_id": 7, "bbox": [50, 1, 5, 5]}
    coco.content["annotations"] += [crowd, right]
    record = CocoDataset(coco.json_file)[0]
    sample = DetectionMapper(True, [T.CropTransform(0, 0, 20, 40)])(record)
    assert sample["instances"].gt_boxes.tensor.tolist() == [[0, 2, 10, 10]]
    assert sample["num_dropped_boxes"] == 1
    large_only = DetectionMapper(True, min_box_side=5)(record)
    assert len(large_only["instances"]) == 1


def test_ignore_regions_are_passed_on_as_asked_for(coco):
    crowd = {"id": 50, "image_id": 10, "category_id": 3, "bbox": [30, 2, 20, 20], "iscrowd": 1}
    gone = {"id": 51, "image_id": 10, "category_id": 3, "bbox": [55, 30, 4, 4], "iscrowd": 1}
    coco.content["annotations"] += [crowd, gone]
    record = CocoDataset(coco.json_file)[0]
    crop = [T.CropTransform(10, 0, 30, 40)]
    sample = DetectionMapper(True, crop, crowds="ignore")(record)
    assert sample["ignored"].gt_boxes.tensor.tolist() == [[20, 2, 30, 22]]
    assert sample["ignored"].image_size == sample["instances"].image_size == (40, 30)
    for other in (DetectionMapper(True, crop), DetectionMapper(False, crowds="ignore")):
        assert "ignored" not in other(record)


def test_image_without_objects_has_empty_instances(coco):
    coco.content["annotations"] = []
    sample = DetectionMapper(True, [T.RandomFlip()])(CocoDataset(coco.json_file)[0])
    assert sample["instances"].gt_boxes.tensor.shape == (0, 4)
    assert sample["instances"].gt_classes.dtype == torch.int64


def test_a_classifiers_label_passes_through(coco):
    record = {"file_name": str(coco.image(0)), "label": 5}
    assert DetectionMapper(True)(record)["label"] == 5


def truncate(path):
    path.write_bytes(path.read_bytes()[:200])


def replace_by_text(path):
    path.write_text("no image")


def replace_by_smaller(path):
    Image.new("RGB", (30, 20)).save(path)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (truncate, "cannot be read as an image"),
        (replace_by_text, "cannot be read as an image"),
        (replace_by_smaller, "is 30x20, but its annotations are for 60x40"),
        (lambda path: path.unlink(), "no such image"),
    ],
)
def test_broken_images_are_named_or_skipped(coco, damage, message, caplog):
    record = CocoDataset(coco.json_file)[2]
    damage(coco.image(2))
    with pytest.raises(BrokenImageError, match=message) as caught:
        DetectionMapper(True)(record)
    assert "2.png" in str(caught.value) and "\n" not in str(caught.value)
    if "cannot be read" in message:  # each mapper has the setting
        assert "set dataloader.train.mapper.on_broken=skip" in str(caught.value)
        with pytest.raises(BrokenImageError, match=r"dataloader\.test\.mapper\.on_broken=skip"):
            DetectionMapper(False)(record)
    assert DetectionMapper(True, on_broken="skip")(record) is None
    assert "2.png" in caplog.text
    with pytest.raises(ValueError, match="on_broken='ignore'"):
        DetectionMapper(True, on_broken="ignore")


class Mistaken(T.Augmentation):
    """As a user's own may be, at every image."""

    def __init__(self, fault):
        self.fault = fault

    def get_transform(self, image):
        return self.fault(image)


def wrong_type(image):
    return None + 1


def wrong_claim(image):
    assert image.shape[2] == 7


@pytest.mark.parametrize(
    ("fault", "kind"), [(wrong_type, TypeError), (wrong_claim, AssertionError)]
)
@pytest.mark.parametrize("on_broken", ["error", "skip"])
def test_a_mistake_in_an_augmentation_is_not_an_images(coco, fault, kind, on_broken):
    mapper = DetectionMapper(True, [Mistaken(fault)], on_broken=on_broken)
    with pytest.raises(kind):
        mapper(CocoDataset(coco.json_file)[0])


def test_an_image_that_an_augmentation_cannot_take_is_skipped(coco):
    refuses = Mistaken(lambda image: T.CropTransform("0", 0, 5, 5))
    mapper = DetectionMapper(True, [refuses], on_broken="skip")
    assert mapper(CocoDataset(coco.json_file)[0]) is None


def test_lengths_in_the_wrong_order_are_named():
    for lengths in ((240, 160), [240, 160]):
        with pytest.raises(ValueError, match=r"mapper\.augmentations\.1\.short_edge_length=\[240"):
            DetectionMapper(True, [T.RandomFlip(), T.ResizeShortestEdge(lengths)])
        DetectionMapper(True, [T.ResizeShortestEdge(lengths, sample_style="choice")])


side = st.floats(0.5, 40)
corner = st.floats(0, 60)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(corner, corner, side, side), max_size=6), st.integers(0, 99))
def test_boxes_stay_inside_whatever_the_augmentation(image_file, boxes, seed):
    annotations = [
        {"bbox": [*box[:2], box[0] + box[2], box[1] + box[3]], "bbox_mode": 0, "category_id": k}
        for k, box in enumerate(boxes)
    ]
    augmentations = [
        T.RandomCrop("relative_range", (0.3, 0.3)),
        T.RandomFlip(),
        T.ResizeShortestEdge([20, 70]),
    ]
    np.random.seed(seed)  # noqa: NPY002 (what augmentations draw from)
    sample = DetectionMapper(True, augmentations)(
        {"file_name": image_file, "annotations": annotations}
    )
    height, width = sample["image"].shape[-2:]
    kept = sample["instances"]
    found = kept.gt_boxes.tensor
    assert len(found) + sample["num_dropped_boxes"] == len(boxes)
    assert (found >= 0).all() and (found <= torch.tensor([width, height] * 2)).all()
    assert (found[:, 2:] > found[:, :2]).all()
    assert kept.gt_classes.tolist() == sorted(kept.gt_classes.tolist())


@pytest.fixture(scope="module")
def image_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("image") / "p.png"
    Image.fromarray(np.zeros((60, 60, 3), np.uint8)).save(path)
    return str(path)
