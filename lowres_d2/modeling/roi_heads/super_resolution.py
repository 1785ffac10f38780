"""Super-resolution of small proposals' features: "Better to Follow", ICCV 2019, Sec. 4.

Shapes: R regions; pooled base features (R, C, P, P), sub features (R, S, P, P). Boxes are XYXY in
pixels of the network's input, which is also where areas are measured; in the reduced image they
are divided by the ratio of the reduction. The paper has one ratio, 2; one chosen for each proposal
is what it leaves to the future.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from itertools import pairwise
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

    Each ratio has a generator and a discriminator of its own, which start alike. In a run a step
    teaches one ratio, so that it costs what one costs: the next one has its turn when both players
    of this one had theirs.

    Args:
        generator: from base and sub features to super-resolved base features, for the first ratio;
            copied for the others.
        discriminator: from base features to logits, likewise; None where no one supervises.
        sub_in_features: feature maps that the sub features are pooled from.
        sub_pooler: pools them to the base features' cells.
        max_area: below it a proposal is small. In the paper 32 x 32 pixels for TT100K, 96 x 96 for
            VOC and COCO.
        min_target_area: a region smaller than this in the full image makes no target: it is not
            high resolution either.
        max_pairs: of the regions of an image that could teach at most so many do, drawn at random
            in each step: they cost memory.
        supervision: what the generated features of the reduced image shall be like: those of the
            full image by the ``atrous`` twin, whose relative receptive field fits; by the
            backbone itself (``naive``); or ``none``: the small predictor's losses alone.
        discriminator_period: every so many steps are the discriminator's, the others the
            generator's: 2 for turns.
        ratios: whole numbers from 2 on, in order. A proposal's is the smallest one, 1 among them,
            by which its sides have to grow to reach ``max_area``; the largest, where none does it.
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
        ratios: Sequence[int] = (2,),
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
        if max_pairs < 1:
            raise ValueError(f"max_pairs={max_pairs}: from 1 on; supervision='none' is without any")
        self.ratios = tuple(ratios)
        whole = all(isinstance(ratio, int) for ratio in self.ratios)
        if not (self.ratios and whole and all(a < b for a, b in pairwise((1, *self.ratios)))):
            raise ValueError(f"ratios={[*ratios]}: expected whole numbers from 2 on, in order")
        self.generators = self._one_for_each_ratio(generator)
        self.discriminators = (
            None if discriminator is None else self._one_for_each_ratio(discriminator)
        )
        self.sub_in_features = list(sub_in_features)
        self.sub_pooler = sub_pooler
        self.max_area = max_area
        self.min_target_area = min_target_area
        self.max_pairs = max_pairs
        self.supervision = supervision
        self.discriminator_period = discriminator_period

    def _one_for_each_ratio(self, module: nn.Module) -> nn.ModuleDict:
        first, *others = map(str, self.ratios)
        return nn.ModuleDict({first: module} | {key: copy.deepcopy(module) for key in others})

    def ratio_of(self, boxes: Sequence[Boxes]) -> list[Tensor]:
        """For each image the ratios of its boxes (int64), 1 for those that are not small."""
        return [self._ratio_of_areas(b.area()) for b in boxes]

    def _ratio_of_areas(self, areas: Tensor) -> Tensor:
        steps = (1, *self.ratios)
        missed = sum((areas < self.max_area / step**2).long() for step in steps[:-1])
        return torch.tensor(steps, device=areas.device)[missed]

    def is_small(self, boxes: Sequence[Boxes]) -> list[Tensor]:
        """For each image a mask of its boxes, those of less than ``max_area``."""
        return [b.area() < self.max_area for b in boxes]

    def is_pair(self, boxes: Sequence[Boxes], ratio: int) -> list[Tensor]:
        """Boxes that teach: large enough to be a target, of this ratio once they are reduced."""
        areas = [b.area() for b in boxes]
        return [
            (area >= self.min_target_area) & (self._ratio_of_areas(area / ratio**2) == ratio)
            for area in areas
        ]

    def draw_pairs(self, boxes: Sequence[Boxes], ratio: int) -> list[Tensor]:
        """Indices of the boxes of each image that teach in this step, ``max_pairs`` at most."""
        found = [mask.nonzero()[:, 0] for mask in self.is_pair(boxes, ratio)]
        return [
            k[torch.randperm(len(k), device=k.device)[: self.max_pairs].sort().values]
            for k in found
        ]

    def forward(
        self,
        base: Tensor,
        features: dict[str, Tensor],
        boxes: Sequence[Boxes],
        ratio: int | None = None,
    ) -> Tensor:
        """Super-resolve the pooled features of all boxes.

        Args:
            base: (R, C, P, P), pooled from the base layer.
            features: maps of the image that the boxes are in, by name.
            boxes: of each image, R in all; small ones.
            ratio: of all of them; None: each box has its own.

        Returns:
            (R, C, P, P).
        """
        sub = self.sub_pooler([features[name] for name in self.sub_in_features], list(boxes))
        if ratio is not None:
            return self.generators[str(ratio)](base, sub)
        of_boxes = torch.cat(self.ratio_of(boxes))
        rows = {r: (of_boxes == r).nonzero()[:, 0] for r in self.ratios}
        present = [r for r in self.ratios if len(rows[r])] or [self.ratios[0]]
        if len(present) == 1:  # then without a copy
            return self.generators[str(present[0])](base, sub)
        finer = [self.generators[str(r)](base[rows[r]], sub[rows[r]]) for r in present]
        order = torch.cat([rows[r] for r in present]).argsort()
        return torch.cat(finer)[order]

    @property
    def is_taught(self) -> bool:
        """Whether a generator trains, and on more than the small predictor's losses."""
        return self.supervision != "none" and trains(self.generators)

    @property
    def taught_ratios(self) -> tuple[int, ...]:
        """Ratios that this step teaches: one of them in a run, outside one all."""
        if not has_event_storage():
            return self.ratios
        cycle = get_event_storage().iter // self.discriminator_period
        return (self.ratios[cycle % len(self.ratios)],)

    @property
    def is_discriminators_turn(self) -> bool:
        """Whether this step is the discriminator's."""
        return self._turn("discriminator")

    @property
    def is_generators_turn(self) -> bool:
        """Whether this step is the generator's; all are that it learns from labels alone."""
        return self._turn("generator")

    def _turn(self, player: str) -> bool:
        if not (self.is_taught and trains(self.discriminators)):
            return player == "generator"
        if not has_event_storage():
            return True  # outside a run both learn: their losses reach no parameter in common
        discriminates = get_event_storage().iter % self.discriminator_period == 0
        return discriminates == (player == "discriminator")

    def losses(self, generated: Tensor, targets: Tensor, ratio: int) -> dict[str, Tensor]:
        """Losses of the player whose turn it is.

        Args:
            generated: (R, C, P, P), super-resolved from the reduced image.
            targets: (R, C, P, P), of the same regions in the full image.
            ratio: by which the image was reduced.

        Returns:
            ``loss_content`` (Eq. 4, the mean over regions, channels and cells) and
            ``loss_generator`` (Eq. 5), or ``loss_discriminator`` (Eq. 6). 0 without regions.
        """
        losses, discriminator = {}, self.discriminators[str(ratio)]
        if self.is_generators_turn:
            cells = max(math.prod(targets.shape[1:]), 1) * max(len(targets), 1)
            losses["loss_content"] = (generated.float() - targets.float()).square().sum() / cells
            losses["loss_generator"] = adversarial_loss(discriminator, generated)
        if self.is_discriminators_turn:
            losses["loss_discriminator"] = discriminator_loss(discriminator, targets, generated)
        return losses


def trains(*modules: nn.Module) -> bool:
    """Whether any parameter is to be trained."""
    return any(p.requires_grad for module in modules for p in module.parameters())


def divided(boxes: Sequence[Boxes], ratio: int) -> list[Boxes]:
    """The same regions in images that are so many times smaller."""
    return [Boxes(b.tensor / ratio) for b in boxes]


def chosen(items: Sequence, masks: Sequence[Tensor]) -> list:
    """Of each image's boxes or instances those under its mask, or at its indices."""
    return [item[mask] for item, mask in zip(items, masks, strict=True)]


@torch.no_grad()
def masks_joined(masks: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Rows of a batch that are under the images' masks, and those that are not."""
    joined = torch.cat(list(masks))
    return joined.nonzero()[:, 0], (~joined).nonzero()[:, 0]
