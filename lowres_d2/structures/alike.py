"""Images of one size as a batch.

N images, H x W pixels; ``_`` marks axes that differ from image to image.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

from lowres_d2.structures.frames import Size

import torch
from jaxtyping import Float
from torch import Tensor


def by_size(
    function: Callable[[Float[Tensor, "N *C H W"]], Float[Tensor, "N ..."]],
    images: Sequence[Float[Tensor, "*C _H _W"]],
) -> list[Float[Tensor, " ..."]]:
    """Apply a function of batches to images, those of one size together.

    Returns:
        Its results, in the order of the images.
    """
    members: dict[Size, list[int]] = defaultdict(list)
    for index, image in enumerate(images):
        members[image.shape[-2], image.shape[-1]].append(index)
    results: dict[int, Tensor] = {}
    for indices in members.values():
        # A view of a single image, no copy.
        alone = len(indices) == 1
        batch = images[indices[0]][None] if alone else torch.stack([images[i] for i in indices])
        results.update(zip(indices, function(batch).unbind(), strict=True))
    return [results[index] for index in range(len(images))]
