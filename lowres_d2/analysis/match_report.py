"""Which objects a detector can learn at all: those that some anchor, point or query is matched to.

Each detector is asked for its own rule, on its own anchors, so that subclasses with another rule
are answered right. Shapes: M objects of a picture, R anchors or points of all levels. Boxes are
XYXY in pixels: of the picture as the model gets it outside, of the detector's (after the
resampler) inside.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from statistics import median
from typing import Any, NamedTuple

from lowres_d2.evaluation.bands import SizeBands
from lowres_d2.modeling import LowResDetector
from lowres_d2.modeling.meta_arch import DeformableDETR, NearestPointFCOS
from lowres_d2.structures import Size, low_res_size

import torch
from detectron2.modeling.meta_arch.dense_detector import DenseDetector
from detectron2.modeling.meta_arch.fcos import FCOS
from detectron2.modeling.proposal_generator import RPN
from detectron2.structures import Boxes, Instances, pairwise_iou
from torch import Tensor, nn

# Pairs of an object and an anchor: of one picture (some 0.5 GB for a moment), and of all.
PAIRS_OF_A_PICTURE = 20_000_000
PAIRS = 40_000_000


class GroundTruth(NamedTuple):
    """Objects of one picture, as the model gets it.

    Attributes:
        size: (height, width) of the picture, before the resampler.
        boxes: (M, 4).
        sizes: (M,) sqrt(area) in the original picture, which the bands go by; None: of ``boxes``.
    """

    size: Size
    boxes: Tensor
    sizes: Tensor | None = None


@dataclass
class BandShare:
    """Objects of one size band.

    Attributes:
        name: of the band.
        objects: how many were looked at.
        matched: those that something is matched to.
        rescued: those of them whose best anchor would be background, were it not for the
            matcher's ``allow_low_quality_matches``.
        seen_sizes: sqrt(area) of each in the detector's picture.
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
        """Median size in the detector's picture; NaN without objects."""
        return median(self.seen_sizes) if self.seen_sizes else math.nan


@dataclass
class MatchReport:
    """What :func:`match_shares` found.

    Attributes:
        bands: one a size band.
        pictures: how many were looked at.
        known: whether the detector's rule is known; else ``matched`` means nothing.
        remedy: what would give more objects a match.
    """

    bands: list[BandShare]
    pictures: int
    known: bool
    remedy: str

    def poor(self, floor: float = 0.5) -> list[BandShare]:
        """Bands of which a smaller share is matched."""
        return [band for band in self.bands if self.known and band.share < floor]


def match_shares(
    model: nn.Module,
    pictures: Iterable[GroundTruth],
    bands: SizeBands | str | Sequence = "coco",
) -> MatchReport:
    """Which share of the objects, by size, a detector can match.

    Args:
        model: a built detector, or a composition, whose resampler and least box size then count.
        pictures: ground truth; taken until enough pairs of object and anchor were looked at.
        bands: of size in the original picture, as :meth:`SizeBands.from_config` takes them.
    """
    composed = isinstance(model, LowResDetector)
    detector = model.detector if composed else model
    factor = model.resampler.factor if composed else Fraction(1)
    least = model.min_box_size if composed else 0.0
    size_bands = SizeBands.from_config(bands)
    found = [BandShare(name) for name in size_bands.names]
    known, pairs, seen = True, 0, 0
    for truth in pictures:
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
        _count(found, size_bands, truth, boxes, answer, big_enough)
    return MatchReport(found, seen, known, _remedy(model, detector, factor) if known else "")


@dataclass
class Matched:
    """Which of M objects are matched.

    Attributes:
        matched: (M,) whether something is matched to the object.
        rescued: (M,) whether only as its best anchor, which else were background; None: nowhere.
        pairs: pairs of an object and an anchor that were looked at.
        chosen: indices of the objects looked at; None for all.
    """

    matched: Tensor
    rescued: Tensor | None = None
    pairs: int = 0
    chosen: Tensor | None = None


@torch.no_grad()
def matched_objects(detector: nn.Module, boxes: Tensor, size: Size) -> Matched | None:
    """Which objects of a picture a detector can match.

    Args:
        detector: built; RetinaNet, FCOS, an R-CNN (by its region proposal network), their
            subclasses, or Deformable DETR.
        boxes: (M, 4) in the detector's picture.
        size: (height, width) of that.

    Returns:
        None where the detector's rule is not known. In a picture with too many objects for its
        anchors some are looked at only, evenly spread over their list.
    """
    if isinstance(detector, DeformableDETR):
        matched = torch.zeros(len(boxes), dtype=torch.bool)
        matched[_spread(len(boxes), _num_queries(detector))] = True
        return Matched(matched)
    matching = _matching_part(detector)
    if matching is None:
        return None
    anchors = _anchors(matching.anchor_generator, detector.backbone, size)
    number = sum(len(level) for level in anchors)
    chosen = _spread(len(boxes), max(1, PAIRS_OF_A_PICTURE // number))
    boxes = Boxes(boxes[chosen].to(anchors[0].device))
    rule = _by_labels if isinstance(matching, DenseDetector) else _by_matcher
    matched = rule(matching, anchors, boxes, size)
    rescued = matched & _near_no_anchor(matching, anchors, boxes)
    return Matched(matched.cpu(), rescued.cpu(), number * len(boxes), chosen)


def _matching_part(detector: nn.Module) -> Any:
    """The part of a detector that labels anchors; None where there is none known."""
    part = getattr(detector, "proposal_generator", detector)
    known = isinstance(part, RPN) or (
        isinstance(part, DenseDetector) and hasattr(part, "label_anchors")
    )
    return part if known else None


def _anchors(generator: nn.Module, backbone: nn.Module, size: Size) -> list[Boxes]:
    """A detector's anchors of each level, for a picture of this size alone in its batch."""
    multiple = max(1, backbone.size_divisibility)
    square = backbone.padding_constraints.get("square_size", 0)
    height, width = (max(math.ceil(x / multiple) * multiple, square) for x in size)
    device = next(iter(generator.buffers())).device
    nothing = torch.empty(1, device=device)
    return generator(
        [
            nothing.expand(1, 1, math.ceil(height / s), math.ceil(width / s))
            for s in _strides(generator)
        ]
    )


def _strides(generator: nn.Module) -> list[int]:
    return [stride[0] if isinstance(stride, tuple) else stride for stride in generator.strides]


def _by_labels(detector: Any, anchors: list[Boxes], boxes: Boxes, size: Size) -> Tensor:
    """A dense detector's own labels: objects are told apart by giving each a class of its own."""
    truth = Instances(size)
    truth.gt_boxes = boxes
    # Above the label of background, which is the number of classes.
    first = detector.num_classes + 1
    truth.gt_classes = torch.arange(first, first + len(boxes), device=boxes.device)
    labels, _ = detector.label_anchors(anchors, [truth])
    owners = labels[0][labels[0] >= first] - first
    return _mask(owners, len(boxes))


def _by_matcher(rpn: Any, anchors: list[Boxes], boxes: Boxes, size: Size) -> Tensor:
    """A region proposal network's labels before it samples some of them."""
    whole = Boxes.cat(anchors)
    owners, labels = rpn.anchor_matcher(pairwise_iou(boxes, whole))
    if rpn.anchor_boundary_thresh >= 0:
        labels[~whole.inside_box(size, rpn.anchor_boundary_thresh)] = -1
    return _mask(owners[labels == 1], len(boxes))


def _near_no_anchor(matching: Any, anchors: list[Boxes], boxes: Boxes) -> Tensor:
    """Objects whose best anchor has an IoU that alone would make it background."""
    matcher = getattr(matching, "anchor_matcher", None)
    if matcher is None or not matcher.allow_low_quality_matches:
        return torch.zeros(len(boxes), dtype=torch.bool, device=boxes.device)
    lowest = min(bound for bound in matcher.thresholds if math.isfinite(bound))
    return pairwise_iou(boxes, Boxes.cat(anchors)).amax(dim=1) < lowest


def _mask(indices: Tensor, number: int) -> Tensor:
    mask = torch.zeros(number, dtype=torch.bool, device=indices.device)
    mask[indices] = True
    return mask


def _spread(number: int, at_most: int) -> Tensor:
    """Indices of at most so many of a list, evenly spread."""
    if number <= at_most:
        return torch.arange(number)
    return torch.arange(at_most) * number // at_most


def _count(
    found: list[BandShare],
    bands: SizeBands,
    truth: GroundTruth,
    boxes: Tensor,
    answer: Matched,
    big_enough: Tensor,
) -> None:
    """Add a picture's objects to their bands; like COCO's, these have both ends in them."""
    chosen = torch.arange(len(boxes)) if answer.chosen is None else answer.chosen
    seen = _sizes(boxes)[chosen]
    sizes = (_sizes(truth.boxes) if truth.sizes is None else truth.sizes)[chosen]
    matched = answer.matched & big_enough[chosen]
    rescued = torch.zeros_like(matched) if answer.rescued is None else answer.rescued & matched
    for band, (low, high) in zip(found, bands.ranges, strict=True):
        inside = (sizes >= low) & (sizes <= high)
        band.objects += int(inside.sum())
        band.matched += int((matched & inside).sum())
        band.rescued += int((rescued & inside).sum())
        band.seen_sizes += seen[inside].tolist()


def _sizes(boxes: Tensor) -> Tensor:
    return (boxes[:, 2:] - boxes[:, :2]).clamp(min=0).prod(dim=1).sqrt()


def _num_queries(detector: DeformableDETR) -> int:
    queries = detector.queries
    return queries.num_queries if hasattr(queries, "num_queries") else len(queries.content)


def _remedy(model: nn.Module, detector: nn.Module, factor: Fraction) -> str:
    """The changes that would let more objects be matched, by the recipe's keys."""
    root = "model" if model is detector else "model.detector"
    if isinstance(detector, DeformableDETR):
        return f"a larger {root}.num_queries ({_num_queries(detector)} now)"
    part, changes = _matching_part(detector), []
    if hasattr(part, "anchor_matcher"):
        key = root if part is detector else f"{root}.proposal_generator"
        smallest = min(_sizes(level).min().item() for level in part.anchor_generator.cell_anchors)
        changes.append(f"smaller {key}.anchor_generator.sizes (from {smallest:g} px now)")
    if isinstance(part, FCOS) and not isinstance(part, NearestPointFCOS):
        changes.append("NearestPointFCOS in place of FCOS")
    changes.append(f"a finer first stride ({min(_strides(part.anchor_generator))} px now)")
    if factor > 1:
        changes.append(f"a smaller model.resampler.factor ({factor} now)")
    if getattr(model, "min_box_size", 0):
        changes.append(f"a smaller model.min_box_size ({model.min_box_size:g} now)")
    return ", or ".join(changes)
