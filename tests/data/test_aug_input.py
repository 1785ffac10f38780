"""Augmentations of images of any depth and number of channels, and of very thin ones."""

from lowres_d2.data import BrokenImageError, DetectionMapper
from lowres_d2.data.aug_input import ImageInput, keep_a_pixel

import cv2
import numpy as np
import pytest
from detectron2.data import transforms as T
from PIL import Image

RNG = np.random.default_rng(5)
COLOURS = RNG.integers(0, 256, (40, 60, 3), dtype=np.uint8)


def applied(transform, image):
    held = ImageInput(image.copy())
    held.transform(transform)
    return held.image


MOVES = [
    T.ResizeTransform(40, 60, 15, 22),
    T.ResizeTransform(40, 60, 80, 90, Image.BOX),
    T.RotationTransform(40, 60, 20),
    T.ExtentTransform((5.5, 3, 50, 33), (20, 31)),
    T.TransformList([T.CropTransform(3, 4, 30, 20), T.ResizeTransform(20, 30, 9, 9)]),
    T.HFlipTransform(60),
    T.PadTransform(0, 0, 4, 8, 60, 40, 128.0),
]


@pytest.mark.parametrize("transform", MOVES, ids=lambda t: type(t).__name__)
def test_every_channel_is_moved_as_those_of_a_colour_image(transform):
    expected = transform.apply_image(COLOURS.copy())
    assert np.array_equal(applied(transform, COLOURS), expected)
    six = np.concatenate([COLOURS, 255 - COLOURS], axis=2)
    assert np.array_equal(applied(transform, six)[..., :3], expected)
    # Four are not colours and alpha, which would be multiplied into them.
    four = np.concatenate([COLOURS, np.zeros_like(COLOURS[..., :1])], axis=2)
    assert np.array_equal(applied(transform, four)[..., :3], expected)
    # Deep images: the same pixels to within rounding, thus with antialiasing.
    deep = applied(transform, six.astype(np.float32))
    assert deep.dtype == np.float32
    assert np.abs(deep[..., :3].clip(0, 255) - expected).max() <= 1.01


def test_one_channel_keeps_its_axis():
    grey = COLOURS[..., :1]
    for image in (grey, grey.astype(np.float32)):
        assert applied(T.ResizeTransform(40, 60, 10, 15), image).shape == (10, 15, 1)


RESIZES = [
    T.ResizeShortestEdge(24, 40),
    T.ResizeShortestEdge([20, 24], 40, "choice"),
    T.ResizeScale(0.1, 0.2, 40, 40),
]


@pytest.mark.parametrize("resize", RESIZES, ids=lambda a: type(a).__name__)
@pytest.mark.parametrize("shape", [(2, 600), (600, 2), (1, 1), (1, 3000)])
@pytest.mark.parametrize("deep", [False, True])
def test_thin_images_keep_a_pixel_and_boxes_follow(tmp_path, resize, shape, deep):
    height, width = shape
    path = tmp_path / "thin.png"
    Image.fromarray(np.full(shape, 9000 if deep else 90, np.uint16 if deep else np.uint8)).save(
        path
    )
    whole = {"bbox": [0, 0, width, height], "bbox_mode": 0, "category_id": 0}
    sample = DetectionMapper(True, [resize])({"file_name": str(path), "annotations": [whole]})
    new_height, new_width = sample["image"].shape[1:]
    assert min(new_height, new_width) >= 1
    box = sample["instances"].gt_boxes.tensor[0].tolist()
    assert box == pytest.approx([0, 0, new_width, new_height])


def test_a_transform_made_elsewhere_keeps_a_pixel_too():
    transform = T.TransformList([T.ResizeTransform(2, 600, 0, 40)])
    keep_a_pixel(transform)
    assert (transform.transforms[0].new_h, transform.transforms[0].new_w) == (1, 40)


class Refusing(T.Augmentation):
    def __init__(self, error):
        self.error = error

    def get_transform(self, image):
        raise self.error


@pytest.mark.parametrize("error", [ValueError("too thin\nmore"), cv2.error("too thin")])
def test_an_image_that_cannot_be_augmented_is_named(coco, error):
    record = {"file_name": str(coco.image(0))}
    with pytest.raises(BrokenImageError, match=r"0\.png: 60x40 with 3 .*too thin\)$"):
        DetectionMapper(True, [Refusing(error)])(record)
    assert DetectionMapper(True, [Refusing(error)], on_broken="skip")(record) is None


def test_an_image_of_which_nothing_is_left_is_named(coco):
    crop = T.ColorTransform(lambda image: image[:0])
    with pytest.raises(BrokenImageError, match=r"0\.png: 60x40 has no pixels left"):
        DetectionMapper(True, [crop])({"file_name": str(coco.image(0))})
