from pathlib import Path

import lowres_d2

import numpy as np
import pytest
import torch
from detectron2.data import DatasetMapper, MetadataCatalog
from detectron2.data import detection_utils as utils
from detectron2.data import transforms as T
from detectron2.structures import Boxes, BoxMode, Instances
from PIL import Image

bundled_only = pytest.mark.skipif(
    lowres_d2.detectron2_provider() != "bundled", reason="an error of the bundled core"
)

RGB = np.random.RandomState(0).randint(0, 255, (4, 6, 3)).astype(np.uint8)


@pytest.fixture
def png(tmp_path):
    path = tmp_path / "image.png"
    Image.fromarray(RGB).save(path)
    return str(path)


def test_formats_of_a_read_image(png):
    np.testing.assert_array_equal(utils.read_image(png), RGB)
    np.testing.assert_array_equal(utils.read_image(png, "RGB"), RGB)
    np.testing.assert_array_equal(utils.read_image(png, "BGR"), RGB[:, :, ::-1])
    grey = utils.read_image(png, "L")
    assert grey.shape == (4, 6, 1)
    np.testing.assert_allclose(grey[..., 0], RGB @ [0.299, 0.587, 0.114], atol=1)
    luma = utils.read_image(png, "YUV-BT.601")[..., 0]
    np.testing.assert_allclose(luma, RGB / 255 @ [0.299, 0.587, 0.114])


@pytest.mark.parametrize("format", ["BGR", "YUV-BT.601", "RGB"])
def test_a_read_image_converts_back_to_rgb(png, format):
    back = utils.convert_image_to_rgb(utils.read_image(png, format), format)
    np.testing.assert_allclose(back, RGB, atol=0.02)


def test_a_grey_image_converts_to_equal_channels(png):
    grey = utils.read_image(png, "L")
    rgb = utils.convert_image_to_rgb(torch.from_numpy(grey.copy()), "L")
    np.testing.assert_array_equal(rgb, np.repeat(grey, 3, axis=2))


@pytest.mark.parametrize(
    ("orientation", "turned"),
    [
        (1, lambda x: x),
        (2, lambda x: x[:, ::-1]),
        (3, lambda x: x[::-1, ::-1]),
        (4, lambda x: x[::-1]),
        (5, lambda x: x.transpose(1, 0, 2)),
        (6, lambda x: np.rot90(x, -1)),
        (7, lambda x: x[::-1, ::-1].transpose(1, 0, 2)),
        (8, lambda x: np.rot90(x)),
    ],
)
def test_images_are_rotated_as_their_exif_says(tmp_path, orientation, turned):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(RGB).save(tmp_path / "turned.png", exif=exif)
    np.testing.assert_array_equal(utils.read_image(str(tmp_path / "turned.png")), turned(RGB))


@bundled_only
@pytest.mark.parametrize("mode", ["I;16", "F"])
def test_values_that_a_format_cannot_hold_are_an_error_and_not_255(tmp_path, mode):
    path = str(tmp_path / "deep.tif")
    values = np.full((4, 6), 7200, np.uint16 if mode == "I;16" else np.float32)
    Image.fromarray(values).save(path)
    with pytest.raises(OSError, match=rf"deep\.tif: .*mode {mode} has more than 8 bits"):
        utils.read_image(path, "BGR")
    np.testing.assert_array_equal(utils.read_image(path), values)


@bundled_only
def test_an_image_of_too_many_pixels_is_named(png, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 11)
    with pytest.raises(OSError, match=r"image\.png: .*exceeds limit"):
        utils.read_image(png, "RGB")


@bundled_only
@pytest.mark.parametrize("content", [b"no image", None])
def test_a_broken_image_is_named(tmp_path, png, content):
    path = tmp_path / "broken.png"
    path.write_bytes(content or Path(png).read_bytes()[:60])
    with pytest.raises(OSError, match=r"broken\.png"):
        utils.read_image(str(path), "RGB")


def test_a_missing_image_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"gone\.png"):
        utils.read_image(str(tmp_path / "gone.png"))


def test_the_stated_size_is_checked_or_filled_in():
    facts = {"file_name": "a.png"}
    utils.check_image_size(facts, RGB)
    assert (facts["height"], facts["width"]) == (4, 6)
    with pytest.raises(utils.SizeMismatchError, match=r"a\.png"):
        utils.check_image_size({"file_name": "a.png", "height": 6, "width": 4}, RGB)


@pytest.mark.parametrize(
    ("box", "mode", "expected"),
    [
        ([10, 10, 200, 300], BoxMode.XYXY_ABS, [200, 10, 390, 300]),
        ([10, 10, 190, 290], BoxMode.XYWH_ABS, [200, 10, 390, 300]),
        ([-50, 10, 200, 999], BoxMode.XYXY_ABS, [200, 10, 400, 500]),  # clipped
    ],
)
def test_boxes_are_moved_converted_and_clipped(box, mode, expected):
    annotation = {"bbox": box, "bbox_mode": mode, "category_id": 3}
    moved = utils.transform_instance_annotations(annotation, [T.HFlipTransform(400)], (500, 400))
    np.testing.assert_allclose(moved["bbox"], expected)
    assert moved["bbox_mode"] == BoxMode.XYXY_ABS and moved["category_id"] == 3


def test_annotations_become_instances():
    annotations = [
        {"bbox": [1, 2, 3, 4], "bbox_mode": BoxMode.XYWH_ABS, "category_id": 5},
        {"bbox": np.array([1.5, 2, 3, 4]), "bbox_mode": BoxMode.XYXY_ABS, "category_id": 0},
    ]
    instances = utils.annotations_to_instances(annotations, (10, 20))
    assert instances.image_size == (10, 20)
    expected = torch.tensor([[1.0, 2, 4, 6], [1.5, 2, 3, 4]])
    torch.testing.assert_close(instances.gt_boxes.tensor, expected)
    assert instances.gt_classes.tolist() == [5, 0] and instances.gt_classes.dtype == torch.int64
    empty = utils.annotations_to_instances([], (10, 20))
    assert len(empty.gt_boxes) == len(empty.gt_classes) == 0


@bundled_only
@pytest.mark.parametrize("key", ["segmentation", "keypoints"])
def test_masks_and_keypoints_need_upstream(key):
    annotation = {"bbox": [0, 0, 1, 1], "bbox_mode": 0, "category_id": 0, key: [[0, 0, 1, 0, 1, 1]]}
    with pytest.raises(NotImplementedError, match=f"{key}.*needs upstream"):
        utils.transform_instance_annotations(annotation, T.NoOpTransform(), (2, 2))
    with pytest.raises(NotImplementedError, match=f"{key}.*needs upstream"):
        utils.annotations_to_instances([annotation], (2, 2))


def test_empty_boxes_are_filtered_out():
    instances = Instances((10, 10))
    instances.gt_boxes = Boxes(torch.tensor([[0.0, 0, 5, 5], [3, 3, 3, 9], [1, 1, 1 + 1e-6, 2]]))
    kept, mask = utils.filter_empty_instances(instances, return_mask=True)
    assert mask.tolist() == [True, False, False] and len(kept) == 1


def test_a_crop_contains_the_centre_of_its_object():
    instance = {"bbox": [10, 30, 40, 20], "bbox_mode": BoxMode.XYWH_ABS}
    for _ in range(50):
        crop = utils.gen_crop_transform_with_instance((12, 16), (60, 80), instance)
        assert crop.x0 <= 30 <= crop.x0 + crop.w <= 80 and crop.w == 16
        assert crop.y0 <= 40 <= crop.y0 + crop.h <= 60 and crop.h == 12


def test_metadata_must_agree_to_be_joined():
    for name, classes in (("utils_a", ["x"]), ("utils_b", ["x"]), ("utils_c", ["y"])):
        MetadataCatalog.get(name).thing_classes = classes
    utils.check_metadata_consistency("thing_classes", ["utils_a", "utils_b"])
    with pytest.raises(ValueError):
        utils.check_metadata_consistency("thing_classes", ["utils_a", "utils_c"])


@pytest.fixture
def dataset_dict(png):
    def annotation(box, category, **more):
        facts = {"bbox": box, "bbox_mode": BoxMode.XYWH_ABS, "category_id": category, "iscrowd": 0}
        return {**facts, **more}

    return {
        "file_name": png,
        "height": 4,
        "width": 6,
        "image_id": 9,
        "annotations": [
            annotation([1, 1, 2, 2], 3, segmentation=[[1, 1, 3, 1, 3, 3]], keypoints=[1, 1, 2]),
            annotation([0, 0, 6, 4], 1, iscrowd=1),
            annotation([5, 1, 0, 2], 2),  # no area
        ],
    }


def test_the_mapper_moves_boxes_with_the_image(dataset_dict):
    mapper = DatasetMapper(
        True, augmentations=[T.Resize((8, 12)), T.RandomFlip(1.0)], image_format="BGR"
    )
    mapped = mapper(dataset_dict)
    assert mapped["image"].shape == (3, 8, 12) and mapped["image"].dtype == torch.uint8
    expected = np.asarray(Image.fromarray(RGB).resize((12, 8), Image.BILINEAR))[:, ::-1, ::-1]
    np.testing.assert_array_equal(mapped["image"].permute(1, 2, 0).numpy(), expected)
    assert mapped["instances"].gt_boxes.tensor.tolist() == [[6, 2, 10, 6]]
    assert mapped["instances"].gt_classes.tolist() == [3]
    assert mapped["instances"].image_size == (8, 12)
    assert (mapped["height"], mapped["width"], mapped["image_id"]) == (4, 6, 9)
    assert "annotations" not in mapped
    assert dataset_dict["annotations"][0]["bbox"] == [1, 1, 2, 2]  # the input is as it was


def test_the_mapper_gives_no_ground_truth_in_evaluation(dataset_dict):
    mapped = DatasetMapper(False, augmentations=[], image_format="RGB")(dataset_dict)
    np.testing.assert_array_equal(mapped["image"].permute(1, 2, 0).numpy(), RGB)
    assert "instances" not in mapped and "annotations" not in mapped


def test_the_mapper_moves_class_maps_too(dataset_dict, tmp_path):
    classes = (np.arange(24).reshape(4, 6) % 5).astype(np.uint8)
    Image.fromarray(classes).save(tmp_path / "classes.png")
    dataset_dict["sem_seg_file_name"] = str(tmp_path / "classes.png")
    flip = DatasetMapper(True, augmentations=[T.RandomFlip(1.0)], image_format="RGB")
    np.testing.assert_array_equal(flip(dataset_dict)["sem_seg"].numpy(), classes[:, ::-1])


@bundled_only
@pytest.mark.parametrize(
    "option", [{"use_instance_mask": True}, {"use_keypoint": True}, {"recompute_boxes": True}]
)
def test_the_mapper_refuses_what_it_does_not_cover(option):
    with pytest.raises(NotImplementedError, match=f"{next(iter(option))}.*needs upstream"):
        DatasetMapper(True, augmentations=[], image_format="RGB", **option)
