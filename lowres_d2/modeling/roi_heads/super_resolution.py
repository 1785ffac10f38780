"""Super-resolution of small proposals' features: "Better to Follow", ICCV 2019, Sec. 4.

Boxes are XYXY in pixels of the network's input, and areas are square pixels of it; in a downsampled
image boxes are divided by the downsampling ratio. The paper uses one ratio, 2, and leaves a ratio
chosen for each proposal to future work.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

from lowres_d2.modeling.roi_heads.alignment import pool_exactly
from lowres_d2.modeling.super_resolution.adversarial import (
    adversarial_loss,
    check_same_regions,
    discriminator_loss,
)

import torch
from detectron2.structures import Boxes
from detectron2.utils.events import get_event_storage, has_event_storage
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

Supervision = Literal["atrous", "naive", "none"]
_SUPERVISIONS = ("atrous", "naive", "none")


class SuperResolution(nn.Module):
    """Decides which proposals are small, super-resolves their features, and gives the losses.

    Each ratio has its own generator and discriminator; those of all ratios start with equal
    weights. In a run an iteration trains a single ratio, so that several ratios cost no more than
    one. The next ratio follows after both generator and discriminator of this one were trained.

    Args:
        generator: maps base and sub features to super-resolved base features. It serves the first
            ratio; the other ratios get copies.
        discriminator: maps base features to logits; copied likewise. None if ``supervision`` is
            ``none``.
        sub_in_features: names of the feature maps that the sub features are pooled from.
        sub_pooler: pools them to as many cells as the base features have.
        max_area: proposals with a smaller area are small. In the paper 32 x 32 pixels for TT100K,
            96 x 96 for VOC and COCO.
        min_target_area: regions with a smaller area in the full image are no targets: they are
            not high resolution either.
        max_pairs: maximum number of regions of an image that an iteration trains with, drawn at
            random. Each one takes memory.
        supervision: where the targets of the generated features come from. ``atrous``: the atrous
            twin on the full image, whose relative receptive field fits; ``naive``: the backbone
            itself on the full image; ``none``: no targets, only the small predictor's losses.
        content_loss: whether the distance to the target (Eq. 4) is a loss. Without it the targets
            are the discriminator's alone: "SR without supervision" of Sec. 5.3.
        discriminator_period: one iteration in so many trains the discriminator, the others train
            the generator; 2 alternates.
        ratios: ascending integers from 2 up. A proposal's ratio is the smallest of 1 and these by
            which its sides must grow to reach ``max_area``, or the largest if none suffices.
        aligned: whether targets and sub features are pooled from the very places that the base
            features show. Poolers take all feature maps alike, with the centre of cell 0 at half a
            stride; where it really is differs with the stride and in the twin: see ``alignment``.

    Raises:
        ValueError: an argument is out of its range, ``supervision`` and ``discriminator``
            contradict each other, or no region can train a ratio.
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
        content_loss: bool = True,
        discriminator_period: int = 2,
        ratios: Sequence[int] = (2,),
        aligned: bool = True,
    ) -> None:
        super().__init__()
        if supervision not in _SUPERVISIONS:
            raise ValueError(
                f"supervision={supervision!r}: expected one of {', '.join(_SUPERVISIONS)}"
            )
        if (discriminator is None) != (supervision == "none"):
            raise ValueError(
                f"supervision={supervision!r} with {'no' if discriminator is None else 'a'} "
                "discriminator: expected one for 'atrous' and 'naive', None for 'none'"
            )
        if discriminator_period < 2:
            raise ValueError(
                f"discriminator_period={discriminator_period}: expected 2 or more, so that the "
                "generator is trained, too"
            )
        if max_pairs < 1:
            raise ValueError(
                f"max_pairs={max_pairs}: expected 1 or more; to train without pairs set "
                "supervision='none'"
            )
        self.ratios = tuple(ratios)
        whole = all(isinstance(ratio, int) for ratio in self.ratios)
        if not (self.ratios and whole and all(a < b for a, b in pairwise((1, *self.ratios)))):
            raise ValueError(f"ratios={[*ratios]}: expected ascending integers from 2 up")
        if not max_area > 0:
            raise ValueError(f"max_area={max_area}: expected more than 0, so that some are small")
        if supervision != "none":
            self._check_pairs(max_area, min_target_area)
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
        self.content_loss = content_loss
        self.discriminator_period = discriminator_period
        self.aligned = aligned
        # Set by the detector, which has the backbone: see `SuperResolvedRCNN`.
        self.cell_offsets: dict[str, float] | None = None

    def _check_pairs(self, max_area: float, min_target_area: float) -> None:
        """Raise if all regions that are small once downsampled are too small to be targets."""
        for before, ratio in pairwise((1, *self.ratios)):
            # Once downsampled they must not reach `max_area` even by the ratio before.
            largest = max_area * (ratio / before) ** 2
            if not min_target_area < largest:
                raise ValueError(
                    f"min_target_area={min_target_area}, max_area={max_area}: no region trains "
                    f"ratio {ratio}, since those from min_target_area on are not small once "
                    f"downsampled by it: expected min_target_area under {largest:g}"
                )

    def _one_for_each_ratio(self, module: nn.Module) -> nn.ModuleDict:
        first, *others = map(str, self.ratios)
        return nn.ModuleDict({first: module} | {key: copy.deepcopy(module) for key in others})

    def ratio_of(self, boxes: Sequence[Boxes]) -> list[Int[Tensor, " _R"]]:
        """The ratio of each box, by image; 1 for boxes that are not small."""
        return [self._ratio_of_areas(b.area()) for b in boxes]

    def _ratio_of_areas(self, areas: Float[Tensor, " R"]) -> Int[Tensor, " R"]:
        ratios = (1, *self.ratios)
        # Sides grow by the ratio, areas by its square. Strictly below, as in Sec. 5.1.
        too_low = sum((areas < self.max_area / ratio**2).long() for ratio in ratios[:-1])
        return torch.tensor(ratios, device=areas.device)[too_low]

    def is_small(self, boxes: Sequence[Boxes]) -> list[Bool[Tensor, " _R"]]:
        """Masks of the boxes with less than ``max_area``, by image."""
        return [b.area() < self.max_area for b in boxes]

    def is_pair(self, boxes: Sequence[Boxes], ratio: int) -> list[Bool[Tensor, " _R"]]:
        """Masks of the boxes of full images that can train this ratio, by image.

        They are large enough to be targets, and after downsampling their ratio is this one.
        """
        # Sec. 4.2 leaves out targets that are too small and inputs that are large enough.
        areas = [b.area() for b in boxes]
        return [
            (area >= self.min_target_area) & (self._ratio_of_areas(area / ratio**2) == ratio)
            for area in areas
        ]

    def draw_pairs(self, boxes: Sequence[Boxes], ratio: int) -> list[Int[Tensor, " _pairs"]]:
        """Indices of boxes drawn for this iteration, by image: ascending, up to ``max_pairs``."""
        found = [mask.nonzero()[:, 0] for mask in self.is_pair(boxes, ratio)]
        return [
            k[torch.randperm(len(k), device=k.device)[: self.max_pairs].sort().values]
            for k in found
        ]

    def forward(
        self,
        base: Float[Tensor, "R C P P"],
        features: dict[str, Float[Tensor, "N _C _h _w"]],
        boxes: Sequence[Boxes],
        ratio: int | None = None,
        shown: Sequence[Boxes] | None = None,
    ) -> Float[Tensor, "R C P P"]:
        """Super-resolve the pooled features of small boxes.

        Args:
            base: features of all boxes, pooled from the base layer.
            features: feature maps of the images that the boxes are in, by name.
            boxes: small boxes of each image, R in all.
            ratio: ratio of all boxes; None: each box has its own.
            shown: regions that ``base`` really shows, which the sub features are pooled from; None:
                the boxes.

        Raises:
            ValueError: there is not one region of ``base`` for each box.
        """
        # Otherwise regions beyond the boxes would be left out without a word.
        if len(base) != sum(map(len, boxes)):
            raise ValueError(
                f"base features of {len(base)} regions for {sum(map(len, boxes))} boxes: expected "
                "as many"
            )
        sub = self._pool_sub(features, boxes if shown is None else shown)
        if ratio is not None:
            return self.generators[str(ratio)](base, sub)
        of_boxes = torch.cat(self.ratio_of(boxes))
        rows = {r: (of_boxes == r).nonzero()[:, 0] for r in self.ratios}
        # Without any box the first one runs on no rows, for an output of the right shape.
        present = [r for r in self.ratios if len(rows[r])] or [self.ratios[0]]
        if len(present) == 1:  # no need to copy rows
            return self.generators[str(present[0])](base, sub)
        finer = [self.generators[str(r)](base[rows[r]], sub[rows[r]]) for r in present]
        # The inverse permutation, back to the order of the boxes.
        order = torch.cat([rows[r] for r in present]).argsort()
        return torch.cat(finer)[order]

    def _pool_sub(
        self, features: dict[str, Float[Tensor, "N _C _h _w"]], boxes: Sequence[Boxes]
    ) -> Float[Tensor, "R _C P P"]:
        maps = [features[name] for name in self.sub_in_features]
        if self.cell_offsets is None:
            return self.sub_pooler(maps, list(boxes))
        offsets = [self.cell_offsets[name] for name in self.sub_in_features]
        return pool_exactly(self.sub_pooler, maps, boxes, offsets)

    @property
    def is_taught(self) -> bool:
        """Whether a generator is trained with more than the small predictor's losses."""
        return self.supervision != "none" and trains(self.generators)

    @property
    def taught_ratios(self) -> tuple[int, ...]:
        """Ratios that this iteration trains: one of them in a run, all of them outside a run."""
        if not has_event_storage():
            return self.ratios
        cycle = get_event_storage().iter // self.discriminator_period
        return (self.ratios[cycle % len(self.ratios)],)

    @property
    def is_discriminators_turn(self) -> bool:
        """Whether this iteration trains the discriminator."""
        return self._turn("discriminator")

    @property
    def is_generators_turn(self) -> bool:
        """Whether this iteration trains the generator: every one where no discriminator trains."""
        return self._turn("generator")

    def _turn(self, player: str) -> bool:
        if not (self.is_taught and trains(self.discriminators)):
            return player == "generator"
        if not has_event_storage():
            return True  # outside a run both train: their losses share no trainable parameter
        discriminates = get_event_storage().iter % self.discriminator_period == 0
        return discriminates == (player == "discriminator")

    def losses(
        self,
        generated: Float[Tensor, "R C P P"],
        targets: Float[Tensor, "R C P P"],
        ratio: int,
    ) -> dict[str, Float[Tensor, ""]]:
        """Losses of the generator or the discriminator, whichever this iteration trains.

        Args:
            generated: features super-resolved from the downsampled image.
            targets: features of the same regions in the full image.
            ratio: ratio by which the image was downsampled.

        Returns:
            ``loss_content`` (Eq. 4, the mean over regions, channels and cells; unless left out)
            and ``loss_generator`` (Eq. 5), or ``loss_discriminator`` (Eq. 6); outside a run all
            three. They are 0 without regions.

        Raises:
            ValueError: these are not as many regions of the same size.
        """
        check_same_regions(targets, generated)
        losses, discriminator = {}, self.discriminators[str(ratio)]
        if self.is_generators_turn:
            if self.content_loss:
                losses["loss_content"] = content_loss(targets, generated)
            losses["loss_generator"] = adversarial_loss(discriminator, generated)
        if self.is_discriminators_turn:
            losses["loss_discriminator"] = discriminator_loss(discriminator, targets, generated)
        return losses


def content_loss(
    targets: Float[Tensor, "R C P P"], generated: Float[Tensor, "R C P P"]
) -> Float[Tensor, ""]:
    """Eq. 4, which is a sum, as the mean over regions, channels and cells; 0 without regions."""
    # In float32, as pooled features may be in half precision.
    cells = max(math.prod(targets.shape[1:]), 1) * max(len(targets), 1)
    return (generated.float() - targets.float()).square().sum() / cells


def trains(*modules: nn.Module) -> bool:
    """Whether any parameter is trainable."""
    return any(p.requires_grad for module in modules for p in module.parameters())


def divided(boxes: Sequence[Boxes], ratio: int) -> list[Boxes]:
    """The same regions in images downsampled by ``ratio``."""
    return [Boxes(b.tensor / ratio) for b in boxes]


def multiplied(boxes: Sequence[Boxes], ratio: int) -> list[Boxes]:
    """The same regions in images ``ratio`` times as large."""
    return [Boxes(b.tensor * ratio) for b in boxes]


def chosen(items: Sequence, masks: Sequence[Bool[Tensor, " _R"] | Int[Tensor, " _pairs"]]) -> list:
    """The boxes or instances of each image that its mask or its indices select."""
    return [item[mask] for item, mask in zip(items, masks, strict=True)]


@torch.no_grad()
def masks_joined(
    masks: Sequence[Bool[Tensor, " _R"]],
) -> tuple[Int[Tensor, " inside"], Int[Tensor, " outside"]]:
    """Indices of a batch's regions inside the images' masks, and of those outside."""
    joined = torch.cat(list(masks))
    return joined.nonzero()[:, 0], (~joined).nonzero()[:, 0]
