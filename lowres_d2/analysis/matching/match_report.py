"""Which objects a detector can learn: those that some anchor, point or query is matched to.

Shapes: M objects of an image. Boxes are XYXY in pixels of the model's input; ``match_rules`` gets
them in pixels of the detector's input, after the resampler.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
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
from lowres_d2.analysis.matching.on_tiles import objects_of_tiles
from lowres_d2.evaluation.size_ranges import SizeRanges
from lowres_d2.modeling import LowResDetector
from lowres_d2.modeling.meta_arch import DeformableDETR, RangedFCOS
from lowres_d2.modeling.tiles import TiledDetector, untiled
from lowres_d2.structures import Size, TileGrid, low_res_size

import torch
from detectron2.modeling.meta_arch.fcos import FCOS
from torch import Tensor, nn

TINY = 4.0  # pixels in the detector's input; below, an object can hardly be recognized
PAIRS = 25_000_000  # pairs of an object and an anchor to evaluate, of all images together


class GroundTruth(NamedTuple):
    """Objects of one image, as the model receives it.

    Attributes:
        size: (height, width) of the image, before the resampler.
        boxes: (M, 4).
        sizes: (M,) sqrt(area) in the original image, for the size ranges; None: that of ``boxes``.
    """

    size: Size
    boxes: Tensor
    sizes: Tensor | None = None


@dataclass
class SizeRangeShare:
    """How many objects of one size range are matched.

    Attributes:
        name: name of the size range.
        objects: number of objects that were evaluated.
        matched: number of objects that are matched.
        rescued: number of matched objects whose best anchor would be background without the
            matcher's ``allow_low_quality_matches``.
        seen_sizes: sqrt(area) of each object in the detector's input.
    """

    name: str
    objects: int = 0
    matched: int = 0
    rescued: int = 0
    seen_sizes: list[float] = field(default_factory=list)

    @property
    def share(self) -> float:
        """Share of objects that are matched and not rescued; NaN without objects."""
        return (self.matched - self.rescued) / self.objects if self.objects else math.nan

    @property
    def seen_size(self) -> float:
        """Median size in the detector's input; NaN without objects."""
        return median(self.seen_sizes) if self.seen_sizes else math.nan


@dataclass
class MatchReport:
    """What :func:`match_shares` found.

    Attributes:
        size_ranges: one entry per size range.
        images: number of images that were evaluated.
        known: whether the detector's matching rule is known; else ``matched`` means nothing.
        remedy: changes of the recipe that would match more objects.
    """

    size_ranges: list[SizeRangeShare]
    images: int
    known: bool
    remedy: str

    def poor(self, floor: float = 0.5) -> list[SizeRangeShare]:
        """Size ranges whose share is below ``floor``."""
        return [
            size_range for size_range in self.size_ranges if self.known and size_range.share < floor
        ]

    def tiny(self) -> list[SizeRangeShare]:
        """Size ranges whose objects the detector sees at a median of less than ``TINY`` pixels."""
        return [size_range for size_range in self.size_ranges if size_range.seen_size < TINY]


def match_shares(
    model: nn.Module,
    images: Iterable[GroundTruth],
    size_ranges: SizeRanges | str | Sequence = "coco",
) -> MatchReport:
    """The share of objects of each size range that a detector can match.

    Args:
        model: a built detector, or a composition, of which resampler and ``min_box_size`` count.
            In tiles, each object is counted on the one that has most of it, and images are tiles.
        images: ground truth; read until more than ``PAIRS`` pairs were evaluated.
        size_ranges: of sqrt(area) in the original image, see :meth:`SizeRanges.from_config`.
    """
    if isinstance(model, TiledDetector):
        images = _on_tiles(images, model.grid)
    model = untiled(model)
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
        # By exactly 1 / factor, as the composition scales boxes, not by a ratio of sizes.
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


def _on_tiles(images: Iterable[GroundTruth], grid: TileGrid) -> Iterator[GroundTruth]:
    for truth in images:
        for size, boxes, members in objects_of_tiles(truth.size, truth.boxes, grid):
            sizes = _sizes(truth.boxes) if truth.sizes is None else truth.sizes
            yield GroundTruth(size, boxes, sizes[members])


def _count(
    found: list[SizeRangeShare],
    size_ranges: SizeRanges,
    truth: GroundTruth,
    boxes: Tensor,
    answer: Matched,
    big_enough: Tensor,
) -> None:
    """Add an image's objects to their size ranges, which include both ends, as COCO's do."""
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
    """Changes of the recipe's keys that would match more objects."""
    root = "model" if model is detector else "model.detector"
    if isinstance(detector, DeformableDETR):
        return f"a larger {root}.num_queries ({num_queries(detector)} now)"
    part, changes = matching_part(detector), []
    if hasattr(part, "anchor_matcher"):
        key = root if part is detector else f"{root}.proposal_generator"
        smallest = min(_sizes(level).min().item() for level in part.anchor_generator.cell_anchors)
        changes.append(f"smaller {key}.anchor_generator.sizes (from {smallest:g} px now)")
    if isinstance(part, RangedFCOS):
        # A long object may reach beyond what the finest level is for, and lie between the centres
        # of the next one's cells.
        changes.append(f"larger {root}.farthest_sides (from {part.farthest_sides[0]:g} px now)")
    elif type(part) is FCOS:  # whose arguments it takes; those of another subclass it may not
        changes.append("NearestPointFCOS in place of FCOS")
    changes.append(f"a finer first stride ({min(strides_of(part.anchor_generator))} px now)")
    if factor > 1:
        changes.append(f"a smaller model.resampler.factor ({factor} now)")
    if getattr(model, "min_box_size", 0):
        changes.append(f"a smaller model.min_box_size ({model.min_box_size:g} now)")
    return ", or ".join(changes)
