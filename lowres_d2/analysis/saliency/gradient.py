"""What a detector's scores depend on: gradients in its feature maps (DFR-Det, ICML 2024, Fig. 2).

The paper draws the "l2-norm gradient in intermediate neck feature (Guo et al., 2021) at P2", and
does not say of what. Here it is the gradient of the sum of an image's highest scores, so that no
ground truth enters: where it is large, a change of the features would change what is found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from lowres_d2.analysis.figures.views import IN_MEMORY
from lowres_d2.data import DetectionMapper
from lowres_d2.modeling.modes import in_eval_mode
from lowres_d2.structures import FeatureMap

import numpy as np
import torch
from torch import Tensor, nn

HIGHEST = 100  # scores of an image that count


@dataclass(frozen=True)
class SaliencyMap:
    """Norms of the gradient in each cell of a feature map.

    Attributes:
        values: over channels, (h, w), of the cells inside the image.
        factor: pixels of the stored image from one row of cells to the next; row j covers
            [factor j, factor (j + 1)) of them.
        level: name of the feature map.
        stretch: the columns' factor over that, 1 unless the mapper changes the aspect ratio.
    """

    values: np.ndarray
    factor: float
    level: str
    stretch: float = 1.0

    def at_pixels(self, height: int, width: int) -> np.ndarray:
        """The value at the centre of each pixel of the stored image, (height, width)."""
        rows, columns = (
            ((np.arange(pixels) + 0.5) / factor).astype(int).clip(0, cells - 1)
            for pixels, cells, factor in zip(
                (height, width),
                self.values.shape,
                (self.factor, self.factor * self.stretch),
                strict=True,
            )
        )
        return self.values[rows[:, None], columns]


# From a Detectron2 dataset dict.
Saliency = Callable[[Mapping], SaliencyMap]


def saliency_of(model: nn.Module, mapper: DetectionMapper | None = None) -> Saliency:
    """The saliency maps of a model, in the finest feature map that its heads use.

    Args:
        model: a trained detector, or a composition around one.
        mapper: the recipe's test mapper; None leaves the images unchanged, as those of a data set
            in memory always are.
    """
    read = mapper or DetectionMapper(is_train=False, image_format="RGB")
    return lambda entry: saliency_map(
        model,
        dict(entry) if IN_MEMORY in entry else read(dict(entry)),
        (entry["height"], entry["width"]),
    )


def saliency_map(
    model: nn.Module,
    image: Mapping[str, Any],
    stored_size: tuple[int, int],
    level: str | None = None,
) -> SaliencyMap:
    """Norms over channels of the gradient of an image's highest scores in a feature map.

    Args:
        model: a detector with a ``backbone``, or a composition around one.
        image: a Detectron2 input.
        stored_size: height and width of the image before the mapper resized it.
        level: name of the feature map; None for the one of the smallest stride that heads use.

    Raises:
        ValueError: there is no such feature map, or the model's scores have no gradient.
    """
    detector = getattr(model, "detector", model)
    with torch.enable_grad(), in_eval_mode(model), _leaves(detector.backbone) as leaves:
        scores = model([dict(image)])[0]["instances"].scores
        highest = scores.topk(min(HIGHEST, len(scores))).values.sum()
    names = list(leaves)
    if level is not None and level not in leaves:
        raise ValueError(f"level={level!r}: the feature maps are {', '.join(names)}")
    found: Sequence[Tensor | None] = [None] * len(names)
    if highest.requires_grad:
        found = torch.autograd.grad(highest, list(leaves.values()), allow_unused=True)
    elif len(scores):
        raise ValueError(
            "the scores of this model have no gradient: draw the one that was trained, not a "
            "packed or exported one"
        )
    gradients = {name: g for name, g in zip(names, found, strict=True) if g is not None}
    strides = {name: shape.stride for name, shape in detector.backbone.output_shape().items()}
    level = level or min(gradients or leaves, key=strides.__getitem__)
    norms = gradients.get(level, torch.zeros_like(leaves[level])).float()
    # FCOS's scores are roots, whose slope is infinite where one has underflowed to 0.
    norms = norms.nan_to_num(0, 0, 0).norm(dim=1, keepdim=True)
    height, width = image["image"].shape[-2:]
    factor = getattr(getattr(model, "resampler", None), "factor", Fraction(1))
    cells = FeatureMap.of_network(norms, strides[level], 0.5, ((height, width),), factor)
    values = cells.inside(0)[0].detach().cpu().numpy()
    rows, columns = stored_size[0] / height, stored_size[1] / width
    return SaliencyMap(values, float(cells.stride) * rows, level, columns / rows)


@contextmanager
def _leaves(backbone: nn.Module) -> Iterator[dict[str, Tensor]]:
    """The feature maps of the next forward, of which gradients can be asked."""
    leaves: dict[str, Tensor] = {}

    def cut(module: nn.Module, inputs: Any, output: Mapping[str, Tensor]) -> dict[str, Tensor]:
        # Cut off from the backbone, whose gradients nobody asks for, and from its frozen weights.
        new = {name: x.detach().requires_grad_() for name, x in output.items()}
        leaves.update({name: x for name, x in new.items() if name not in leaves})
        return new

    hook = backbone.register_forward_hook(cut)
    try:
        yield leaves
    finally:
        hook.remove()
