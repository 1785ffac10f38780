"""Images of one size as a batch."""

from __future__ import annotations

from lowres_d2.structures import by_size

import torch


def test_results_are_in_the_order_of_the_images() -> None:
    sizes = [(4, 6), (3, 5), (4, 6), (6, 4)]
    images = [torch.full((3, *size), float(k)) for k, size in enumerate(sizes)]
    batches: list[tuple[int, ...]] = []

    def doubled(batch: torch.Tensor) -> torch.Tensor:
        batches.append(tuple(batch.shape))
        return 2 * batch

    results = by_size(doubled, images)
    assert batches == [(2, 3, 4, 6), (1, 3, 3, 5), (1, 3, 6, 4)]
    for image, result in zip(images, results, strict=True):
        assert torch.equal(result, 2 * image)


def test_no_image() -> None:
    assert by_size(torch.neg, []) == []
