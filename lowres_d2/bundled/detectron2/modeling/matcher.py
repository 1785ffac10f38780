"""Which ground truth each prediction belongs to, by thresholds on a quality such as IoU.

Shapes: M ground-truth objects, N predictions (anchors or proposals).
"""

from __future__ import annotations

from typing import List, Tuple  # noqa: UP035  (TorchScript reads the annotations)

import torch


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
        # Also false for NaN, which degenerate boxes give.
        assert torch.all(match_quality_matrix >= 0), "Matcher: a quality is negative or NaN"
        best, matches = match_quality_matrix.max(dim=0)
        match_labels = torch.full_like(matches, self.labels[0], dtype=torch.int8)
        for i in range(1, len(self.labels)):
            match_labels[best >= self.thresholds[i]] = self.labels[i]
        if self.allow_low_quality_matches:
            self.set_low_quality_matches_(match_labels, match_quality_matrix)
        return matches, match_labels

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
