"""RoI heads with a small predictor, which gets super-resolved features, and a large predictor.

"Better to Follow", ICCV 2019, Sec. 4.2 and 4.3. Which parameters are trainable decides what
training computes. While generators and small predictor are frozen these are the plain heads, whose
large predictor learns from all proposals; otherwise it learns from the large proposals alone.

Boxes are XYXY in pixels of the network's input.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from lowres_d2.modeling.roi_heads.alignment import pool_exactly, pooled_at
from lowres_d2.modeling.roi_heads.super_resolution import (
    SuperResolution,
    chosen,
    divided,
    masks_joined,
    multiplied,
    trains,
)

import torch
from detectron2.modeling.poolers import ROIPooler
from detectron2.modeling.roi_heads import FastRCNNOutputLayers, Res5ROIHeads, StandardROIHeads
from detectron2.structures import Boxes, ImageList, Instances
from detectron2.utils.events import get_event_storage, has_event_storage
from jaxtyping import Float
from torch import Tensor, nn

# Scores (R, K + 1), background last, and deltas (R, 4 K), or (R, 4) if class-agnostic.
Predictions = tuple[Float[Tensor, "R scores"], Float[Tensor, "R deltas"]]


class SuperResolvedHeads(nn.Module):
    """The common part of the heads below, which name the layers that their predictors consist of.

    A small predictor has the layers of the large one. Where a weight file has no weights for it,
    it takes those of the large one.
    """

    super_resolution: SuperResolution
    copies: dict[str, str]  # layer of the small predictor -> layer of the large predictor

    def _add_small_predictor(
        self, super_resolution: SuperResolution, copies: Mapping[str, str]
    ) -> None:
        self.super_resolution = super_resolution
        self.copies = dict(copies)
        for small, large in copies.items():
            # Sec. 4.3: it starts as the large predictor; `_fill_small_predictor` does so for files.
            setattr(self, small, copy.deepcopy(getattr(self, large)))
        self.register_load_state_dict_pre_hook(_fill_small_predictor)

    def super_resolution_losses(
        self,
        low_res: dict[str, Float[Tensor, "N _C _h _w"]],
        target: dict[str, Float[Tensor, "N _C _h _w"]],
        proposals: Sequence[Instances],
        ratio: int,
        target_offsets: Mapping[str, float] | None = None,
    ) -> dict[str, Float[Tensor, ""]]:
        """Losses of generator or discriminator: see `SuperResolution.losses`.

        Args:
            low_res: feature maps of the downsampled images.
            target: feature maps of the full images, which the targets are pooled from.
            proposals: sampled proposals of each full image.
            ratio: downsampling ratio, one of ``super_resolution.ratios``.
            target_offsets: see :meth:`follow`.
        """
        boxes = [p.proposal_boxes for p in proposals]
        boxes = chosen(boxes, self.super_resolution.draw_pairs(boxes, ratio))
        # In the discriminator's turn nothing reaches the generator, so no graph is kept.
        with torch.set_grad_enabled(self.super_resolution.is_generators_turn):
            _, generated, targets = self.follow(low_res, target, boxes, ratio, target_offsets)
        return self.super_resolution.losses(generated, targets, ratio)

    def follow(
        self,
        low_res: dict[str, Float[Tensor, "N _C _h _w"]],
        target: dict[str, Float[Tensor, "N _C _h _w"]],
        boxes: Sequence[Boxes],
        ratio: int,
        target_offsets: Mapping[str, float] | None = None,
    ) -> tuple[Float[Tensor, "R C P P"], Float[Tensor, "R C P P"], Float[Tensor, "R C P P"]]:
        """Features of regions before and after super-resolution, and their targets.

        Args:
            low_res: feature maps of the downsampled images.
            target: feature maps of the full images.
            boxes: regions of each full image, R in all.
            ratio: downsampling ratio, one of ``super_resolution.ratios``.
            target_offsets: coordinate of the centre of cell 0 of each of the full images' feature
                maps; None: the pooler's assumption.

        Returns:
            Features of the regions in the downsampled images; the same, super-resolved; features
            of the regions in the full images. Only the second ones have gradients.
        """
        # Sec. 4.3: feature extractors are frozen while the generator is trained.
        with torch.no_grad():
            boxes = divided(boxes, ratio)
            base, shown = self._pool(low_res, boxes), self._shown(boxes)
            targets = self._pool(target, multiplied(shown, ratio), target_offsets)
        return base, self.super_resolution(base, low_res, boxes, ratio, shown), targets

    @property
    def is_plain(self) -> bool:
        """Whether generators and small predictor are frozen."""
        small = [getattr(self, name) for name in self.copies]
        return not trains(*small, self.super_resolution.generators)

    def _trained_groups(self) -> list[str]:
        """Predictors with losses in this iteration: ``small``, ``large``."""
        large = trains(*(getattr(self, name) for name in self.copies.values()))
        # Sec. 4.3: it is trained with the generator. In the last stage no player is trainable, and
        # each turn is then the generator's.
        small = self.super_resolution.is_generators_turn
        return ["small"] * small + ["large"] * large

    def _training_losses(
        self,
        features: dict[str, Float[Tensor, "N _C _h _w"]],
        proposals: list[Instances],
        predictors: Mapping[str, FastRCNNOutputLayers],
    ) -> dict[str, Float[Tensor, ""]]:
        """Losses of small and large predictor on sampled proposals."""
        if not self._trained_groups():
            return {}
        proposals = self._proposals_that_count(proposals)
        return self._losses(self._predict(features, proposals), proposals, predictors)

    def _proposals_that_count(self, proposals: list[Instances]) -> list[Instances]:
        """Proposals of the trained predictors: without the large predictor only small ones."""
        if "large" in self._trained_groups():
            return proposals
        small = self.super_resolution.is_small([p.proposal_boxes for p in proposals])
        return chosen(proposals, small)

    def _predict(
        self,
        features: dict[str, Float[Tensor, "N _C _h _w"]],
        proposals: list[Instances],
        stage: int | None = None,
    ) -> Predictions:
        """Predictions for all proposals in order, each by the predictor for its size."""
        boxes = [p.proposal_boxes for p in proposals]
        masks = self.super_resolution.is_small(boxes)
        small, large = masks_joined(masks)
        regions = self._pool(features, boxes)
        if not len(small):
            return self._predict_regions(regions, "large", stage)
        boxes = chosen(boxes, masks)
        finer = self.super_resolution(regions[small], features, boxes, shown=self._shown(boxes))
        of_small = self._predict_regions(finer, "small", stage)
        if not len(large):
            return of_small
        of_large = self._predict_regions(regions[large], "large", stage)
        # The inverse permutation, back to the order of the proposals.
        order = torch.cat([small, large]).argsort()
        scores, deltas = (torch.cat(pair)[order] for pair in zip(of_small, of_large, strict=True))
        return scores, deltas

    def _losses(
        self,
        predictions: Predictions,
        proposals: list[Instances],
        predictors: Mapping[str, FastRCNNOutputLayers],
    ) -> dict[str, Float[Tensor, ""]]:
        """Losses of each trained predictor on its proposals; the small one's end in ``_small``.

        A predictor without proposals has losses of 0, so that all processes log the same names.
        """
        masks = self.super_resolution.is_small([p.proposal_boxes for p in proposals])
        losses = {}
        for group in self._trained_groups():
            mine = masks if group == "small" else [~mask for mask in masks]
            rows, _ = masks_joined(mine)
            selected = predictions[0][rows], predictions[1][rows]
            found = _losses_in_scope(group, predictors[group], selected, chosen(proposals, mine))
            suffix = "_small" if group == "small" else ""
            losses |= {f"{name}{suffix}": loss for name, loss in found.items()}
        return losses

    def _shown(self, boxes: Sequence[Boxes]) -> list[Boxes]:
        """The regions that the base features of boxes really show."""
        # F^1.0 stays as the base detector pools it, whose weights are trained for that: pooled from
        # the boxes exactly, a fifth fewer small objects were recognized, and after training the
        # small predictor no more than without (quick benchmark). F^0.5 has to look like F^1.0.
        # So targets and sub features follow them, each map at its own offset.
        offsets = self.super_resolution.cell_offsets
        if offsets is None:
            return list(boxes)
        pooler, names = self._base_pooler
        return pooled_at(pooler, boxes, [offsets[name] for name in names])

    def _pool(
        self,
        features: dict[str, Float[Tensor, "N _C _h _w"]],
        boxes: Sequence[Boxes],
        offsets: Mapping[str, float] | None = None,
    ) -> Float[Tensor, "R C P P"]:
        """Base features of the boxes of all images; at the boxes exactly, given ``offsets``."""
        pooler, names = self._base_pooler
        maps = [features[name] for name in names]
        if offsets is None:
            return pooler(maps, list(boxes))
        return pool_exactly(pooler, maps, boxes, [offsets[name] for name in names])

    @property
    def _base_pooler(self) -> tuple[ROIPooler, list[str]]:
        """The pooler of the base features, and the names of the feature maps that it takes."""
        raise NotImplementedError

    def _predict_regions(
        self, regions: Float[Tensor, "R C P P"], group: str, stage: int | None
    ) -> Predictions:
        """Predictions of the ``small`` or ``large`` predictor; ``stage`` is for cascades."""
        raise NotImplementedError


class SuperResolvedRes5ROIHeads(SuperResolvedHeads, Res5ROIHeads):
    """The C4 head; here the small predictor includes its own copy of ``res5``.

    Args:
        super_resolution: super-resolves the features that the pooler gives.
        **kwargs: arguments of ``Res5ROIHeads``.
    """

    def __init__(self, *, super_resolution: SuperResolution, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        copies = {"small_res5": "res5", "small_box_predictor": "box_predictor"}
        self._add_small_predictor(super_resolution, copies)

    def forward(
        self,
        images: ImageList,
        features: dict[str, Float[Tensor, "N _C _h _w"]],
        proposals: list[Instances],
        targets: list[Instances] | None = None,
    ) -> tuple[list[Instances], dict[str, Float[Tensor, ""]]]:
        """See ``ROIHeads.forward``; in training it returns the sampled proposals."""
        if not self.training:
            predictions = self._predict(features, proposals)
            return self.box_predictor.inference(predictions, proposals)[0], {}
        sampled = self.label_and_sample_proposals(proposals, targets)
        if self.is_plain:
            regions = self._pool(features, [p.proposal_boxes for p in sampled])
            predictions = self._predict_regions(regions, "large", None)
            return sampled, self.box_predictor.losses(predictions, sampled)
        predictors = {"small": self.small_box_predictor, "large": self.box_predictor}
        return sampled, self._training_losses(features, sampled, predictors)

    @property
    def _base_pooler(self) -> tuple[ROIPooler, list[str]]:
        return self.pooler, list(self.in_features)

    def _predict_regions(
        self, regions: Float[Tensor, "R C P P"], group: str, stage: int | None
    ) -> Predictions:
        if group == "small":
            return self.small_box_predictor(self.small_res5(regions).mean(dim=(2, 3)))
        return self.box_predictor(self.res5(regions).mean(dim=(2, 3)))


class SuperResolvedStandardROIHeads(SuperResolvedHeads, StandardROIHeads):
    """The head on a feature pyramid.

    Args:
        super_resolution: super-resolves the features that the box pooler gives.
        **kwargs: arguments of ``StandardROIHeads``.
    """

    def __init__(self, *, super_resolution: SuperResolution, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        copies = {"small_box_head": "box_head", "small_box_predictor": "box_predictor"}
        self._add_small_predictor(super_resolution, copies)

    def _forward_box(
        self, features: dict[str, Float[Tensor, "N _C _h _w"]], proposals: list[Instances]
    ) -> dict[str, Float[Tensor, ""]] | list[Instances]:
        if not self.training:
            predictions = self._predict(features, proposals)
            return self.box_predictor.inference(predictions, proposals)[0]
        if self.is_plain:
            return super()._forward_box(features, proposals)
        predictors = {"small": self.small_box_predictor, "large": self.box_predictor}
        return self._training_losses(features, proposals, predictors)

    @property
    def _base_pooler(self) -> tuple[ROIPooler, list[str]]:
        return self.box_pooler, list(self.box_in_features)

    def _predict_regions(
        self, regions: Float[Tensor, "R C P P"], group: str, stage: int | None
    ) -> Predictions:
        if group == "small":
            return self.small_box_predictor(self.small_box_head(regions))
        return self.box_predictor(self.box_head(regions))


def _losses_in_scope(
    group: str,
    predictor: FastRCNNOutputLayers,
    predictions: Predictions,
    proposals: list[Instances],
) -> dict[str, Float[Tensor, ""]]:
    """A predictor's losses; what it logs is prefixed with the group's name."""
    if not has_event_storage():
        return predictor.losses(predictions, proposals)
    with get_event_storage().name_scope(group):
        return predictor.losses(predictions, proposals)


def _fill_small_predictor(
    heads: SuperResolvedHeads, state: dict[str, Tensor], prefix: str, *_: Any
) -> None:
    """Give the small predictor the large one's weights where ``state`` has none for it."""
    for small, large in heads.copies.items():
        names = getattr(heads, small).state_dict()
        for name in names:
            of_large, of_small = f"{prefix}{large}.{name}", f"{prefix}{small}.{name}"
            if of_large in state:
                state.setdefault(of_small, state[of_large])
