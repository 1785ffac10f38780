"""What a run did, for people: report, curves, pictures."""

from lowres_d2.analysis.curves import plot_by_size, plot_training, read_metrics
from lowres_d2.analysis.pictures import Column, comparison_sheet, model_view
from lowres_d2.analysis.report import Run, write_report

__all__ = [
    "Column",
    "Run",
    "comparison_sheet",
    "model_view",
    "plot_by_size",
    "plot_training",
    "read_metrics",
    "write_report",
]
