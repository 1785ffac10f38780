"""Which objects a detector can learn at all: those that some anchor, point or query is matched to.

Shapes: M objects of an image. Boxes are XYXY in pixels of the image as the model gets it; the
detector's own rules (``match_rules``) see them in its image, after the resampler.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from statistics import median
from typing import NamedTuple

from lowres_d2.analysis.matching.match_rules import (
    Matched,
    matched_objects,
    matching_part,
    num_queries,
    strides_of,
)
from lowres_d2.evaluation.size_ranges import SizeRanges
from lowres_d2.modeling import LowResDetector
from lowres_d2.modeling.meta_arch import DeformableDETR, NearestPointFCOS
from lowres_d2.structures import Size, low_res_size

import torch
from detectron2.modeling.meta_arch.fcos import FCOS
from torch import Tensor, nn

PAIRS = 25_000_000  # of an object and an anchor that are looked at, of all images


class GroundTruth(NamedTuple):
    """Objects of one image, as the model gets it.

    Attributes:
        size: (height, width) of the image, before the resampler.
        boxes: (M, 4).
        sizes: (M,) sqrt(area) in the original image, for the size ranges; None: of ``boxes``.
    """

    size: Size
    boxes: Tensor
    sizes: Tensor | None = None


@dataclass
class SizeRangeShare:
    """Objects of one size range.

    Attributes:
        name: of the size range.
        objects: how many were looked at.
        matched: those that something is matched to.
        rescued: those of them whose best anchor would be background, were it not for the
            matcher's ``allow_low_quality_matches``.
        seen_sizes: sqrt(area) of each in the detector's image.
    """

    name: str
    objects: int = 0
    matched: int = 0
    rescued: int = 0
    seen_sizes: list[float] = field(default_factory=list)

    @property
    def share(self) -> float:
        """Share that is matched well, which is: not only rescued. NaN without objects."""
        return (self.matched - self.rescued) / self.objects if self.objects else math.nan

    @property
    def seen_size(self) -> float:
        """Median size in the detector's image; NaN without objects."""
        return median(self.seen_sizes) if self.seen_sizes else math.nan


@dataclass
class MatchReport:
    """What :func:`match_shares` found.

    Attributes:
        size_ranges: one a size range.
        images: how many were looked at.
        known: whether the detector's rule is known; else ``matched`` means nothing.
        remedy: what would give more objects a match.
    """

    size_ranges: list[SizeRangeShare]
    images: int
    known: bool
    remedy: str

    def poor(self, floor: float = 0.5) -> list[SizeRangeShare]:
        """Size ranges of which a smaller share is matched."""
        return [
            size_range for size_range in self.size_ranges if self.known and size_range.share < floor
        ]


def match_shares(
    model: nn.Module,
    images: Iterable[GroundTruth],
    size_ranges: SizeRanges | str | Sequence = "coco",
) -> MatchReport:
    """Which share of the objects, by size, a detector can match.

    Args:
        model: a built detector, or a composition, whose resampler and least box size then count.
        images: ground truth; taken until enough pairs of object and anchor were looked at.
        size_ranges: of size in the original image, as :meth:`SizeRanges.from_config` takes them.
    """
    composed = isinstance(model, LowResDetector)
    detector = model.detector if composed else model
    factor = model.resampler.factor if composed else Fraction(1)
    least = model.min_box_size if composed else 0.0
    spec = SizeRanges.from_config(size_ranges)
    found = [SizeRangeShare(name) for name in spec.names]
    known, pairs, seen = True, 0, 0
    for truth in images:
        if pairs > PAIRS:
            break
        seen += 1
        boxes = truth.boxes * factor.denominator / factor.numerator
        size = low_res_size(truth.size, factor)
        answer = matched_objects(detector, boxes, size)
        known = answer is not None
        if answer is None:
            answer = Matched(torch.ones(len(boxes), dtype=torch.bool))
        big_enough = (boxes[:, 2:] - boxes[:, :2]).amin(dim=1) >= least
        pairs += answer.pairs
        _count(found, spec, truth, boxes, answer, big_enough)
    return MatchReport(found, seen, known, _remedy(model, detector, factor) if known else "")


def _count(
    found: list[SizeRangeShare],
    size_ranges: SizeRanges,
    truth: GroundTruth,
    boxes: Tensor,
    answer: Matched,
    big_enough: Tensor,
) -> None:
    """Add an image's objects to their size ranges; like COCO's, these have both ends in them."""
    chosen = torch.arange(len(boxes)) if answer.chosen is None else answer.chosen
    seen = _sizes(boxes)[chosen]
    sizes = (_sizes(truth.boxes) if truth.sizes is None else truth.sizes)[chosen]
    matched = answer.matched & big_enough[chosen]
    rescued = torch.zeros_like(matched) if answer.rescued is None else answer.rescued & matched
    for size_range, (low, high) in zip(found, size_ranges.limits, strict=True):
        inside = (sizes >= low) & (sizes <= high)
        size_range.objects += int(inside.sum())
        size_range.matched += int((matched & inside).sum())
        size_range.rescued += int((rescued & inside).sum())
        size_range.seen_sizes += seen[inside].tolist()


def _sizes(boxes: Tensor) -> Tensor:
    return (boxes[:, 2:] - boxes[:, :2]).clamp(min=0).prod(dim=1).sqrt()


def _remedy(model: nn.Module, detector: nn.Module, factor: Fraction) -> str:
    """The changes that would let more objects be matched, by the recipe's keys."""
    root = "model" if model is detector else "model.detector"
    if isinstance(detector, DeformableDETR):
        return f"a larger {root}.num_queries ({num_queries(detector)} now)"
    part, changes = matching_part(detector), []
    if hasattr(part, "anchor_matcher"):
        key = root if part is detector else f"{root}.proposal_generator"
        smallest = min(_sizes(level).min().item() for level in part.anchor_generator.cell_anchors)
        changes.append(f"smaller {key}.anchor_generator.sizes (from {smallest:g} px now)")
    if isinstance(part, FCOS) and not isinstance(part, NearestPointFCOS):
        changes.append("NearestPointFCOS in place of FCOS")
    changes.append(f"a finer first stride ({min(strides_of(part.anchor_generator))} px now)")
    if factor > 1:
        changes.append(f"a smaller model.resampler.factor ({factor} now)")
    if getattr(model, "min_box_size", 0):
        changes.append(f"a smaller model.min_box_size ({model.min_box_size:g} now)")
    return ", or ".join(changes)
