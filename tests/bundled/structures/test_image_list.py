import lowres_d2

import pytest
import torch
from detectron2.structures import ImageList


@pytest.mark.parametrize(
    ("arguments", "padded"),
    [
        ({}, (10, 9)),
        ({"size_divisibility": 4}, (12, 12)),
        ({"size_divisibility": 5}, (10, 10)),
        ({"padding_constraints": {"square_size": 20}}, (20, 20)),
        ({"padding_constraints": {"square_size": 21, "size_divisibility": 8}}, (24, 24)),
        ({"size_divisibility": 2, "padding_constraints": {"size_divisibility": 7}}, (14, 14)),
    ],
)
@pytest.mark.parametrize("count", [1, 2])
def test_padding_at_bottom_and_right(arguments, padded, count):
    images = [torch.rand(3, 10, 9), torch.rand(3, 7, 5)][:count]
    batch = ImageList.from_tensors(images, pad_value=2.0, **arguments)
    assert batch.tensor.shape == (count, 3, *padded)
    assert [tuple(size) for size in batch.image_sizes] == [(10, 9), (7, 5)][:count]
    for i, image in enumerate(images):
        assert torch.equal(batch[i], image)
        assert (batch.tensor[i].sum() - image.sum()).item() == pytest.approx(
            2.0 * 3 * (padded[0] * padded[1] - image[0].numel()), rel=1e-5
        )


@pytest.mark.skipif(lowres_d2.detectron2_provider() != "bundled", reason="upstream copies it")
def test_an_image_that_needs_no_padding_is_not_copied():
    image = torch.rand(3, 8, 16)
    batch = ImageList.from_tensors([image], 8)
    assert batch.tensor.shape == (1, 3, 8, 16)
    assert batch.tensor.data_ptr() == image.data_ptr()


def test_images_without_channels():
    batch = ImageList.from_tensors([torch.ones(2, 3), torch.ones(3, 2)])
    assert batch.tensor.shape == (2, 3, 3)
    assert len(batch) == 2 and batch.to(torch.float64).tensor.dtype == torch.float64


def test_gradient_reaches_the_images():
    images = [torch.rand(1, 2, 3, requires_grad=True), torch.rand(1, 4, 2, requires_grad=True)]
    ImageList.from_tensors(images, 8).tensor.sum().backward()
    assert all(torch.equal(p.grad, torch.ones_like(p)) for p in images)


@pytest.mark.parametrize("images", [[], [torch.rand(3, 4, 4), torch.rand(1, 4, 4)]])
def test_images_that_do_not_batch(images):
    with pytest.raises(AssertionError):
        ImageList.from_tensors(images)
