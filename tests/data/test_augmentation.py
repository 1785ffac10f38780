from lowres_d2.data import RandomSaturation

import numpy as np
import pytest
from detectron2.data import transforms as T

IMAGE = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)


@pytest.mark.parametrize("weights", [(0.5, 1.5), (0, 0), (3, 3)])
def test_saturation_is_detectron2s_to_a_level(weights):
    images = []
    for augmentation in (RandomSaturation(*weights), T.RandomSaturation(*weights)):
        np.random.seed(4)  # noqa: NPY002 (what augmentations draw from)
        images.append(augmentation.get_transform(IMAGE).apply_image(IMAGE))
    ours, theirs = images
    assert ours.dtype == np.uint8 and ours.shape == IMAGE.shape
    # Detectron2 cuts fractions off, here they are rounded.
    assert np.isin(ours.astype(int) - theirs, [0, 1]).all()


def test_saturation_one_changes_nothing_and_zero_is_grey():
    same = RandomSaturation(1, 1).get_transform(IMAGE)
    assert np.array_equal(same.apply_image(IMAGE), IMAGE)
    assert np.array_equal(same.apply_coords(np.ones((2, 2))), np.ones((2, 2)))
    grey = RandomSaturation(0, 0).get_transform(IMAGE).apply_image(IMAGE)
    assert (grey == grey[..., :1]).all()


@pytest.mark.parametrize("channels", [1, 5])
def test_images_without_colours_have_no_saturation_to_change(channels):
    image = np.repeat(IMAGE[..., :1], channels, axis=2)
    np.random.seed(4)  # noqa: NPY002
    changed = RandomSaturation(0, 0).get_transform(image).apply_image(image)
    assert np.array_equal(changed, image)
    after = np.random.rand()  # noqa: NPY002
    np.random.seed(4)  # noqa: NPY002
    RandomSaturation(0, 0).get_transform(IMAGE)
    assert np.random.rand() == after  # noqa: NPY002 (as many draws as with colours)
