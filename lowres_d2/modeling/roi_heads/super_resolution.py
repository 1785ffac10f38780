"""Super-resolution of small proposals' features: "Better to Follow", ICCV 2019, Sec. 4.

Shapes: R regions; pooled base features (R, C, P, P), sub features (R, S, P, P). Boxes are XYXY in
pixels of the network's input, which is also where areas are measured; in the reduced picture they
are divided by the reduction's factor.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from lowres_d2.modeling.roi_heads.sr_discriminator import adversarial_loss, discriminator_loss

import torch
from detectron2.structures import Boxes
from detectron2.utils.events import get_event_storage, has_event_storage
from torch import Tensor, nn

Supervision = Literal["atrous", "naive", "none"]
_SUPERVISIONS = ("atrous", "naive", "none")


class SuperResolution(nn.Module):
    """Which proposals are small, what their features become, and how that is learned.

    Args:
        generator: from base and sub features to super-resolved base features.
        discriminator: from base features to logits; None where no one supervises.
        sub_in_features: feature maps that the sub features are pooled from.
        sub_pooler: pools them to the base features' cells.
        max_area: below it a proposal is small. In the paper 32 x 32 pixels for TT100K, 96 x 96 for
            VOC and COCO.
        min_target_area: a region smaller than this in the full picture makes no target: it is not
            high resolution either.
        max_pairs: of the regions of a picture that could teach at most so many do, drawn at random
            in each step: they cost memory.
        supervision: what the generated features of the reduced picture shall be like: those of the
            full picture by the ``atrous`` twin, whose relative receptive field fits; by the
            backbone itself (``naive``); or ``none``: the small predictor's losses alone.
        discriminator_period: every so many steps are the discriminator's, the others the
            generator's: 2 for turns.
    """

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module | None,
        sub_in_features: Sequence[str],
        sub_pooler: nn.Module,
        max_area: float,
        min_target_area: float = 0.0,
        max_pairs: int = 64,
        supervision: Supervision = "atrous",
        discriminator_period: int = 2,
    ) -> None:
        super().__init__()
        if supervision not in _SUPERVISIONS:
            raise ValueError(
                f"supervision={supervision!r}: expected one of {', '.join(_SUPERVISIONS)}"
            )
        if (discriminator is None) != (supervision == "none"):
            raise ValueError(
                f"supervision={supervision!r} with {'no' if discriminator is None else 'a'} "
                "discriminator: one supervises, 'none' has no use for it"
            )
        if discriminator_period < 2:
            raise ValueError(
                f"discriminator_period={discriminator_period}: from 2 on, so that the generator "
                "has its turns"
            )
        self.generator = generator
        self.discriminator = discriminator
        self.sub_in_features = list(sub_in_features)
        self.sub_pooler = sub_pooler
        self.max_area = max_area
        self.min_target_area = min_target_area
        self.max_pairs = max_pairs
        self.supervision = supervision
        self.discriminator_period = discriminator_period

    def is_small(self, boxes: Sequence[Boxes]) -> list[Tensor]:
        """For each picture a mask of its boxes, those of less than ``max_area``."""
        return [b.area() < self.max_area for b in boxes]

    def is_pair(self, boxes: Sequence[Boxes], factor: float) -> list[Tensor]:
        """Boxes that teach: large enough to be a target, small once the picture is reduced."""
        areas = [b.area() for b in boxes]
        largest = self.max_area * factor * factor
        return [(area >= self.min_target_area) & (area < largest) for area in areas]

    def draw_pairs(self, boxes: Sequence[Boxes], factor: float) -> list[Tensor]:
        """Indices of the boxes of each picture that teach in this step, ``max_pairs`` at most."""
        found = [mask.nonzero()[:, 0] for mask in self.is_pair(boxes, factor)]
        return [
            k[torch.randperm(len(k), device=k.device)[: self.max_pairs].sort().values]
            for k in found
        ]

    def forward(self, base: Tensor, features: dict[str, Tensor], boxes: Sequence[Boxes]) -> Tensor:
        """Super-resolve the pooled features of all boxes.

        Args:
            base: (R, C, P, P), pooled from the base layer.
            features: maps of the picture that the boxes are in, by name.
            boxes: of each picture, R in all.

        Returns:
            (R, C, P, P).
        """
        maps = [features[name] for name in self.sub_in_features]
        return self.generator(base, self.sub_pooler(maps, list(boxes)))

    @property
    def is_taught(self) -> bool:
        """Whether the generator trains, and on more than the small predictor's losses."""
        return self.supervision != "none" and trains(self.generator)

    @property
    def is_discriminators_turn(self) -> bool:
        """Whether this step is the discriminator's."""
        return self._turn("discriminator")

    @property
    def is_generators_turn(self) -> bool:
        """Whether this step is the generator's; all are that it learns from labels alone."""
        return self._turn("generator")

    def _turn(self, player: str) -> bool:
        if not (self.is_taught and trains(self.discriminator)):
            return player == "generator"
        if not has_event_storage():
            return True  # outside a run both learn: their losses reach no parameter in common
        discriminates = get_event_storage().iter % self.discriminator_period == 0
        return discriminates == (player == "discriminator")

    def losses(self, generated: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Losses of the player whose turn it is.

        Args:
            generated: (R, C, P, P), super-resolved from the reduced picture.
            targets: (R, C, P, P), of the same regions in the full picture.

        Returns:
            ``loss_content`` (Eq. 4, the mean over regions, channels and cells) and
            ``loss_generator`` (Eq. 5), or ``loss_discriminator`` (Eq. 6). 0 without regions.
        """
        losses = {}
        if self.is_generators_turn:
            cells = max(math.prod(targets.shape[1:]), 1) * max(len(targets), 1)
            losses["loss_content"] = (generated.float() - targets.float()).square().sum() / cells
            losses["loss_generator"] = adversarial_loss(self.discriminator, generated)
        if self.is_discriminators_turn:
            losses["loss_discriminator"] = discriminator_loss(
                self.discriminator, targets, generated
            )
        return losses


def trains(*modules: nn.Module) -> bool:
    """Whether any parameter is to be trained."""
    return any(p.requires_grad for module in modules for p in module.parameters())


def divided(boxes: Sequence[Boxes], factor: float) -> list[Boxes]:
    """The same regions in pictures that are smaller by this factor."""
    return [Boxes(b.tensor / factor) for b in boxes]


def chosen(items: Sequence, masks: Sequence[Tensor]) -> list:
    """Of each picture's boxes or instances those under its mask, or at its indices."""
    return [item[mask] for item, mask in zip(items, masks, strict=True)]


@torch.no_grad()
def masks_joined(masks: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Rows of a batch that are under the pictures' masks, and those that are not."""
    joined = torch.cat(list(masks))
    return joined.nonzero()[:, 0], (~joined).nonzero()[:, 0]
