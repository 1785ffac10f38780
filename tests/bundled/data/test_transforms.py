# ruff: noqa: NPY002 (the augmentations draw from numpy's global generator)
import random
from fractions import Fraction

import lowres_d2

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from detectron2.data import transforms as T
from PIL import Image

bundled_only = pytest.mark.skipif(
    lowres_d2.detectron2_provider() != "bundled", reason="upstream raises AssertionError"
)

IMAGE = np.random.RandomState(0).randint(0, 255, (40, 60, 3), dtype=np.uint8)


@pytest.fixture(autouse=True)
def seeded():
    random.seed(0)
    np.random.seed(0)


@pytest.mark.parametrize(
    ("size", "short", "longest", "expected"),
    [
        ((480, 640), 800, 1333, (800, 1067)),  # 1066.67 rounds up
        ((640, 480), 800, 1333, (1067, 800)),
        ((480, 1920), 800, 1333, (333, 1333)),  # the longer side decides: 333.25
        ((500, 500), 800, 600, (600, 600)),
        ((3, 4), 2, 100, (2, 3)),  # 2.67
        ((2, 3), 1, 100, (1, 2)),  # 1.5: a half rounds up
    ],
)
def test_the_shorter_side_gets_its_length_unless_the_longer_grows_too_long(
    size, short, longest, expected
):
    assert T.ResizeShortestEdge.get_output_shape(*size, short, longest) == expected
    transform = T.ResizeShortestEdge(short, longest).get_transform(np.zeros(size, np.uint8))
    assert (transform.new_h, transform.new_w) == expected


def test_the_output_shape_agrees_with_exact_arithmetic():
    for h, w, short, longest in np.random.randint(1, 3000, (300, 4)).tolist():
        scale = min(Fraction(short, min(h, w)), Fraction(longest, max(h, w)))
        exact = h * scale, w * scale
        if any(abs(2 * side % 2 - 1) < Fraction(1, 10**9) for side in exact):
            continue  # a half: floating point may fall on either side
        if min(exact) < 0.5:
            continue  # of a very thin image: upstream gives 0
        got = T.ResizeShortestEdge.get_output_shape(h, w, short, longest)
        assert got == tuple(int(side + Fraction(1, 2)) for side in exact)


@pytest.mark.parametrize(("style", "lengths"), [("range", (20, 22)), ("choice", (20, 31, 0))])
def test_lengths_are_drawn_from_range_or_choice(style, lengths):
    aug = T.ResizeShortestEdge(lengths, sample_style=style)
    drawn = {getattr(aug.get_transform(IMAGE), "new_h", 0) for _ in range(60)}
    assert drawn == (set(range(20, 23)) if style == "range" else set(lengths))


@pytest.mark.parametrize("shape", [(8, 12), (8, 12, 1), (8, 12, 3)])
def test_uint8_is_resized_by_pillow_and_float_by_torch(shape):
    image = np.random.RandomState(1).randint(0, 255, shape).astype(np.uint8)
    resized = T.ResizeTransform(8, 12, 5, 7).apply_image(image)
    assert resized.shape == (5, 7, *shape[2:]) and resized.dtype == np.uint8
    channel = Image.fromarray(image.reshape(8, 12, -1)[..., 0]).resize((7, 5), Image.BILINEAR)
    np.testing.assert_array_equal(resized.reshape(5, 7, -1)[..., 0], np.asarray(channel))

    floats = image.astype(np.float32)
    resized = T.ResizeTransform(8, 12, 5, 7, Image.BICUBIC).apply_image(floats)
    chw = torch.from_numpy(floats.reshape(8, 12, -1)).permute(2, 0, 1)[None]
    expected = F.interpolate(chw, (5, 7), mode="bicubic", align_corners=False)[0].permute(1, 2, 0)
    np.testing.assert_allclose(resized.reshape(5, 7, -1), expected.numpy(), atol=1e-4)


def test_resizing_moves_boxes_back_and_forth_and_keeps_class_numbers():
    transform = T.ResizeTransform(40, 60, 100, 30)
    box = np.array([[10.0, 20.0, 30.0, 40.0]])
    moved = transform.apply_box(box)
    np.testing.assert_allclose(moved, [[5, 50, 15, 100]])
    np.testing.assert_allclose(transform.inverse().apply_box(moved), box)
    classes = transform.apply_segmentation((IMAGE[..., 0] % 3 * 100).astype(np.uint8))
    assert set(np.unique(classes)) <= {0, 100, 200}


@bundled_only
def test_a_transform_for_another_size_is_refused_by_both_sizes():
    with pytest.raises(ValueError, match=r"41x60.*40x60"):
        T.ResizeTransform(41, 60, 5, 5).apply_image(IMAGE)
    with pytest.raises(ValueError, match="only nearest, bilinear and bicubic"):
        T.ResizeTransform(40, 60, 5, 5, Image.LANCZOS).apply_image(IMAGE.astype(float))


def test_an_extent_is_a_crop_that_may_mirror_and_reach_outside():
    inside = T.ExtentTransform((10, 5, 30, 25), (20, 20))
    np.testing.assert_array_equal(inside.apply_image(IMAGE), IMAGE[5:25, 10:30])
    np.testing.assert_allclose(inside.apply_box(np.array([[10, 5, 20, 25]])), [[0, 0, 10, 20]])
    mirrored = T.ExtentTransform((60, 0, 0, 40), (40, 60), interp=Image.NEAREST)
    np.testing.assert_array_equal(mirrored.apply_image(IMAGE), IMAGE[:, ::-1])
    outside = T.ExtentTransform((-20, 0, 40, 40), (40, 60)).apply_image(IMAGE)
    assert (outside[:, :20] == 0).all()
    np.testing.assert_array_equal(outside[:, 20:], IMAGE[:, :40])


@pytest.mark.parametrize(("angle", "turns"), [(90, 1), (180, 2), (270, 3)])
def test_right_angles_rotate_pixels_and_boxes_exactly(angle, turns):
    rotation = T.RotationTransform(40, 60, angle)
    np.testing.assert_array_equal(rotation.apply_image(IMAGE), np.rot90(IMAGE, turns))
    # A single bright pixel and the box around it land in the same place.
    dot = np.zeros((40, 60), np.uint8)
    dot[7, 11] = 255
    (y,), (x,) = np.nonzero(rotation.apply_image(dot))
    np.testing.assert_allclose(
        rotation.apply_box(np.array([[11, 7, 12, 8]])), [[x, y, x + 1, y + 1]], atol=1e-9
    )


def test_rotations_are_undone_by_their_inverse_and_fix_their_centre():
    points = np.random.rand(20, 2) * [60, 40]
    expanded = T.RotationTransform(40, 60, 25)
    moved = expanded.apply_coords(points)
    # Half a pixel is upstream's error where the margin is odd.
    atol = 1e-9 if lowres_d2.detectron2_provider() == "bundled" else 0.5
    np.testing.assert_allclose(expanded.inverse().apply_coords(moved), points, atol=atol)
    plain = T.RotationTransform(40, 60, 25, expand=False, center=(13, 22))
    np.testing.assert_allclose(plain.apply_coords(np.array([[13.0, 22.0]])), [[13, 22]])
    with pytest.raises(NotImplementedError):
        plain.inverse()


@pytest.mark.parametrize(
    ("kind", "size", "heights", "widths"),
    [
        ("relative", (0.5, 0.25), {20}, {15}),
        ("absolute", (30, 100), {30}, {60}),
        ("absolute_range", (10, 12), {10, 11, 12}, {10, 11, 12}),
        ("relative_range", (0.9, 0.95), set(range(36, 41)), set(range(57, 61))),
    ],
)
def test_crops_have_the_sizes_of_their_type_and_lie_inside(kind, size, heights, widths):
    crops = [T.RandomCrop(kind, size).get_transform(IMAGE) for _ in range(80)]
    assert {crop.h for crop in crops} == heights
    assert {crop.w for crop in crops} == widths
    assert all(c.x0 >= 0 and c.y0 >= 0 for c in crops)
    assert all(c.x0 + c.w <= 60 and c.y0 + c.h <= 40 for c in crops)


@pytest.mark.parametrize("size", [(20, 30), (80, 90), (20, 90)])
def test_fixed_size_crop_cuts_and_pads_to_its_size(size):
    grey = np.full((40, 60, 3), 7, np.uint8)
    image, _ = T.apply_augmentations([T.FixedSizeCrop(size)], grey)
    assert image.shape == (*size, 3)
    assert (image == 7).sum() == min(size[0], 40) * min(size[1], 60) * 3
    assert set(np.unique(image)) <= {7, 128}
    cut, _ = T.apply_augmentations([T.FixedSizeCrop(size, pad=False)], grey)
    assert cut.shape == (min(size[0], 40), min(size[1], 60), 3)


def test_resize_scale_fits_into_the_scaled_target():
    for _ in range(20):
        transform = T.ResizeScale(0.5, 2.0, 100, 200).get_transform(IMAGE)
        assert transform.new_h / 40 == pytest.approx(transform.new_w / 60, rel=0.02)
        assert 50 - 1 <= transform.new_h <= 200 + 1  # the height binds: 100/40 < 200/60


@pytest.mark.skipif(lowres_d2.detectron2_provider() != "bundled", reason="upstream gives 0 px")
@pytest.mark.parametrize("size", [(2, 2000), (2000, 2), (1, 1)])
def test_thin_images_keep_a_pixel(size):
    image = np.zeros((*size, 3), np.uint8)
    for augmentation in (
        T.ResizeShortestEdge(240, 400),
        T.ResizeScale(0.1, 0.2, 100, 100),
        T.RandomCrop("relative", (0.1, 0.1)),
        T.RandomCrop("relative_range", (0.1, 0.1)),
        T.RandomExtent((0.1, 0.2), (0, 0)),
    ):
        changed, _ = T.apply_augmentations([augmentation], image)
        assert min(changed.shape) >= 1
    assert T.ResizeShortestEdge.get_output_shape(2, 2000, 240, 400) == (1, 400)


def test_subclasses_can_draw_the_scale_and_the_crop_themselves():
    class Half(T.ResizeScale):
        def get_transform(self, image):
            return self._get_resize(image, 0.5)

    class Corner(T.FixedSizeCrop):
        def _get_crop(self, image):
            return T.CropTransform(0, 0, 20, 10)

    assert T.apply_augmentations([Half(1, 1, 40, 60)], IMAGE)[0].shape == (20, 30, 3)
    image, _ = T.apply_augmentations([Corner((10, 20), pad=False)], IMAGE)
    np.testing.assert_array_equal(image, IMAGE[:10, :20])


def test_random_extent_of_the_whole_image_is_the_image():
    image, _ = T.apply_augmentations([T.RandomExtent((1, 1), (0, 0))], IMAGE)
    np.testing.assert_array_equal(image, IMAGE)


@pytest.mark.parametrize("min_iou", [0.3, 0.7])
def test_min_iou_crops_keep_their_promise(min_iou):
    boxes = np.array([[5.0, 5.0, 45.0, 35.0]])
    aug = T.MinIoURandomCrop((min_iou,))
    aug.sample_mode = (min_iou,)
    for _ in range(10):
        crop = aug.get_transform(IMAGE, boxes)
        window = np.array([crop.x0, crop.y0, crop.x0 + crop.w, crop.y0 + crop.h])
        overlap = np.minimum(boxes[:, 2:], window[2:]) - np.maximum(boxes[:, :2], window[:2])
        overlap = overlap.clip(0).prod(axis=1)
        areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
        ious = overlap / (areas + crop.w * crop.h - overlap)
        assert ious.min() > min_iou - 0.05  # the crop is rounded to whole pixels
    assert isinstance(aug.get_transform(IMAGE, None), T.NoOpTransform)


TWO_BOXES = [[5.0, 5.0, 25.0, 30.0], [20.0, 8.0, 55.0, 36.0]]


@pytest.mark.parametrize(
    ("seed", "boxes", "crop"),
    [
        (0, TWO_BOXES, (13, 11, 24, 16)),
        (7, TWO_BOXES, (1, 5, 38, 30)),  # its far end is rounded by itself
        (0, [], (3, 1, 42, 35)),
        (3, [], (34, 2, 20, 35)),
    ],
)
def test_a_seed_gives_the_crops_it_gives_upstream(seed, boxes, crop):
    np.random.seed(seed)
    found = T.MinIoURandomCrop().get_transform(IMAGE, np.array(boxes).reshape(-1, 4))
    assert (found.x0, found.y0, found.w, found.h) == crop


def test_images_without_boxes_are_cropped_or_kept_at_random():
    kinds = [type(T.MinIoURandomCrop().get_transform(IMAGE, np.zeros((0, 4)))) for _ in range(200)]
    # One of the seven ways to crop is none at all.
    assert kinds.count(T.NoOpTransform) == pytest.approx(200 / 7, abs=22)


@pytest.mark.parametrize(
    ("aug", "formula"),
    [
        (T.RandomBrightness(0.5, 0.5), lambda x: 0.5 * x),
        (T.RandomContrast(0.5, 0.5), lambda x: 0.5 * x + 0.5 * x.mean()),
        (
            T.RandomSaturation(0.5, 0.5),
            lambda x: 0.5 * x + 0.5 * (x @ [0.299, 0.587, 0.114])[..., None],
        ),
        (T.RandomLighting(0.0), lambda x: x),
    ],
)
def test_colour_changes_follow_their_formula(aug, formula):
    image = IMAGE.astype(np.float32)
    changed, _ = T.apply_augmentations([aug], image)
    np.testing.assert_allclose(changed, formula(image), rtol=1e-4)


@pytest.mark.parametrize(
    ("options", "mirror"),
    [({}, np.s_[:, ::-1]), ({"horizontal": False, "vertical": True}, np.s_[::-1])],
)
def test_flips_happen_with_their_probability(options, mirror):
    flipped, _ = T.apply_augmentations([T.RandomFlip(1.0, **options)], IMAGE)
    np.testing.assert_array_equal(flipped, IMAGE[mirror])
    kinds = [type(T.RandomFlip(0.3, **options).get_transform(IMAGE)) for _ in range(500)]
    assert 500 - kinds.count(T.NoOpTransform) == pytest.approx(150, abs=40)
    with pytest.raises(ValueError):
        T.RandomFlip(horizontal=True, vertical=True)


def test_a_list_moves_image_boxes_and_classes_together_and_can_be_undone():
    image = np.zeros((40, 60), np.uint8)
    image[10:20, 30:50] = 255
    box = np.array([[30.0, 10.0, 50.0, 20.0]])
    held = T.AugInput(image, boxes=box.copy(), sem_seg=(image > 0).astype(np.uint8))
    transforms = held.apply_augmentations(
        [T.RandomFlip(1.0), T.HFlipTransform(60), T.VFlipTransform(40), T.Resize((80, 120))]
    )
    assert [type(t) for t in transforms.transforms[:2]] == [T.HFlipTransform] * 2
    rows, columns = np.nonzero(held.sem_seg)
    around = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    np.testing.assert_allclose(held.boxes, [around])
    np.testing.assert_allclose(held.boxes, [[60, 40, 100, 60]])
    np.testing.assert_allclose(transforms.inverse().apply_box(held.boxes), box)


def test_augmentations_get_the_inputs_they_name():
    class NeedsBoxes(T.Augmentation):
        def get_transform(self, image, boxes):
            return T.HFlipTransform(len(boxes) * 30)

    held = T.AugInput(IMAGE, boxes=np.zeros((2, 4)))
    assert T.AugmentationList([NeedsBoxes()])(held).transforms[0].width == 60

    class NeedsMore(T.Augmentation):
        def get_transform(self, image, depth):
            raise AssertionError("never reached")

    with pytest.raises(AttributeError, match="depth"):
        NeedsMore()(held)


def test_random_apply_passes_on_or_does_nothing():
    always, never = (T.RandomApply(T.Resize((4, 5)), prob=p) for p in (1.0, 0.0))
    assert T.apply_augmentations([always], IMAGE)[0].shape == (4, 5, 3)
    assert T.apply_augmentations([never], IMAGE)[0] is IMAGE


def test_colour_transforms_leave_geometry_alone():
    transform = T.ColorTransform(lambda image: 255 - image)
    np.testing.assert_array_equal(transform.apply_image(IMAGE), 255 - IMAGE)
    np.testing.assert_array_equal(transform.apply_coords(np.ones((1, 2))), [[1, 1]])
    assert isinstance(transform.inverse(), T.NoOpTransform)
    with pytest.raises(ValueError):
        T.ColorTransform("not callable")


@bundled_only
@pytest.mark.parametrize(
    ("image", "error"),
    [([[1]], TypeError), (np.zeros((2, 2), np.int64), TypeError), (np.zeros(3), ValueError)],
)
def test_an_augmentation_input_must_be_an_image(image, error):
    with pytest.raises(error, match="image must be"):
        T.AugInput(image)
