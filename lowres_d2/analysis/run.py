"""A trained and evaluated model, as reports take it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lowres_d2.analysis.figures.views import View, stored_view
from lowres_d2.evaluation.shown import ShownMetrics


@dataclass(frozen=True)
class Run:
    """One trained and evaluated detector or classifier.

    Attributes:
        name: its label in tables and figures.
        results: what its evaluator returned.
        metrics_file: ``metrics.json`` of the training.
        predictions_file: what its evaluator wrote of the predictions; its other files lie beside.
        iterations: total number of training iterations.
        seconds: time of training and evaluation; None where unknown.
        evaluator: that measured it, or one like it.
        view: what its network receives of an image, see :func:`model_view`; by default the stored
            image.
        stored: the stored image, below the ground truth, see :func:`stored_view_of`.
        images_per_second: measured in turns with the other runs, see :func:`measure_points`.
        macs: MACs per image.
    """

    name: str
    results: Mapping[str, Mapping[str, float | None]]
    metrics_file: str | Path
    predictions_file: str | Path
    iterations: int
    seconds: float | None
    evaluator: Any
    view: View = field(default=stored_view, compare=False)
    stored: View = field(default=stored_view, compare=False)
    images_per_second: float | None = None
    macs: float | None = None

    @property
    def shown(self) -> ShownMetrics:
        """Which metrics its evaluator shows."""
        return ShownMetrics.of(self.evaluator)
