"""Which ground truth each prediction belongs to, by thresholds on a quality such as IoU.

Shapes: M ground-truth objects, N predictions (anchors or proposals).
"""

from __future__ import annotations

from typing import List, Tuple  # noqa: UP035  (TorchScript reads the annotations)

from lowres_d2.row_chunks import CHUNK_ENTRIES, best_rows

import torch
from detectron2.structures import Boxes, pairwise_iou


class Matcher:
    """Gives each prediction its best object, and a label by how good that match is.

    With thresholds `[a, b]` and labels `[x, y, z]`, a prediction whose best quality is below a is
    labelled x, from a to below b it is y, and from b on z. Labels are 1 (positive), 0 (negative)
    and -1 (ignored).
    """

    def __init__(
        self,
        thresholds: List[float],  # noqa: UP006
        labels: List[int],  # noqa: UP006
        allow_low_quality_matches: bool = False,
    ):
        """
        Args:
            thresholds: positive and ascending.
            labels: one more than thresholds.
            allow_low_quality_matches: also make positive whatever is the best prediction (ties
                included) for some object, however bad (Faster R-CNN, section 3.1.2, rule i).
        """
        bounds = [-float("inf")] + [float(t) for t in thresholds] + [float("inf")]
        assert len(thresholds) > 0 and thresholds[0] > 0, "Matcher: thresholds must be positive"
        assert all([bounds[i] <= bounds[i + 1] for i in range(len(bounds) - 1)]), (  # noqa: C419
            "Matcher: thresholds must ascend"
        )
        assert len(labels) == len(thresholds) + 1, "Matcher: one more label than thresholds"
        assert all([label in [-1, 0, 1] for label in labels]), "Matcher: labels are -1, 0, 1"  # noqa: C419
        self.thresholds = bounds
        self.labels = labels
        self.allow_low_quality_matches = allow_low_quality_matches

    def __call__(self, match_quality_matrix: torch.Tensor) -> Tuple[torch.Tensor, torch.Tensor]:  # noqa: UP006
        """Match.

        Args:
            match_quality_matrix: (M, N), not negative.

        Returns:
            Index (int64, N) of each prediction's best object, and its label (int8, N). Without
            objects, index 0 and the lowest label.
        """
        assert match_quality_matrix.dim() == 2
        if match_quality_matrix.numel() == 0:
            num_predictions = match_quality_matrix.size(1)
            return (
                match_quality_matrix.new_full((num_predictions,), 0, dtype=torch.int64),
                match_quality_matrix.new_full((num_predictions,), self.labels[0], dtype=torch.int8),
            )
        self.check(match_quality_matrix)
        best, matches = match_quality_matrix.max(dim=0)
        match_labels = self.label_by_quality(best)
        if self.allow_low_quality_matches:
            self.set_low_quality_matches_(match_labels, match_quality_matrix)
        return matches, match_labels

    def check(self, match_quality_matrix: torch.Tensor) -> None:
        """Raise where a quality is negative or, as of degenerate boxes, NaN."""
        assert torch.all(match_quality_matrix >= 0), "Matcher: a quality is negative or NaN"

    def label_by_quality(self, best: torch.Tensor) -> torch.Tensor:
        """Labels (int8, N) of predictions by the quality (N,) of their best match."""
        labels = torch.full_like(best, self.labels[0], dtype=torch.int8)
        for i in range(1, len(self.labels)):
            labels[best >= self.thresholds[i]] = self.labels[i]
        return labels

    def set_low_quality_matches_(
        self, match_labels: torch.Tensor, match_quality_matrix: torch.Tensor
    ) -> None:
        """Make each object's best predictions positive, in place.

        A prediction keeps the object that is best for it, which may be another one.

        Args:
            match_labels: int8 (N,).
            match_quality_matrix: (M, N).
        """
        best_of_object = match_quality_matrix.max(dim=1, keepdim=True)[0]
        match_labels[(match_quality_matrix == best_of_object).any(dim=0)] = 1


def match_boxes(
    matcher: Matcher, objects: Boxes, predictions: Boxes
) -> tuple[torch.Tensor, torch.Tensor]:
    """Match by IoU, in a memory that does not grow with the number of objects.

    Args:
        matcher: a subclass that matches in its own way is given the whole matrix.
        objects: M of them.
        predictions: N of them.

    Returns:
        As of the matcher for the matrix (M, N).
    """
    own_way = type(matcher).__call__ is not Matcher.__call__
    if own_way or len(objects) * len(predictions) <= CHUNK_ENTRIES:
        return matcher(pairwise_iou(objects, predictions))
    preferred = torch.zeros(len(predictions), dtype=torch.int8, device=predictions.device)

    def overlap(rows: slice) -> torch.Tensor:
        quality = pairwise_iou(objects[rows], predictions)
        matcher.check(quality)
        if matcher.allow_low_quality_matches:
            # The best of an object is known from its row alone.
            matcher.set_low_quality_matches_(preferred, quality)
        return quality

    best, matches = best_rows(overlap, len(objects), len(predictions))
    labels = matcher.label_by_quality(best)
    labels[preferred == 1] = 1
    return matches, labels
