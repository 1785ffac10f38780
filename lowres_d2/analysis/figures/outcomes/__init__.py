"""Outcomes of detections, and how they are drawn."""

from lowres_d2.analysis.figures.outcomes.drawing import (
    FOUR_OUTCOMES,
    THREE_OUTCOMES,
    OutcomeColors,
    draw_outcome,
    outcome_legend,
)
from lowres_d2.analysis.figures.outcomes.outcome import IOU, Outcome

__all__ = [
    "FOUR_OUTCOMES",
    "IOU",
    "THREE_OUTCOMES",
    "Outcome",
    "OutcomeColors",
    "draw_outcome",
    "outcome_legend",
]
