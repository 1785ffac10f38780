"""Cost and matching of models; reports, plots and sheets of what runs achieved."""

from lowres_d2.analysis.cost.trade_off import (
    Point,
    measure_points,
    plot_trade_off,
    points_of_comparisons,
)
from lowres_d2.analysis.figures.comparison_sheets import (
    Column,
    choose_images,
    comparison_sheet,
    detected_column,
)
from lowres_d2.analysis.figures.curves import plot_by_size, plot_training, read_metrics
from lowres_d2.analysis.figures.failure_cases import write_failure_cases
from lowres_d2.analysis.figures.thumbnails import write_thumbnails
from lowres_d2.analysis.figures.training_data import write_training_data
from lowres_d2.analysis.figures.views import input_view, model_view, stored_view_of
from lowres_d2.analysis.report import REPORT_FILES, write_report
from lowres_d2.analysis.run import Run

__all__ = [
    "REPORT_FILES",
    "Column",
    "Point",
    "Run",
    "choose_images",
    "comparison_sheet",
    "detected_column",
    "input_view",
    "measure_points",
    "model_view",
    "plot_by_size",
    "plot_trade_off",
    "plot_training",
    "points_of_comparisons",
    "read_metrics",
    "stored_view_of",
    "write_failure_cases",
    "write_report",
    "write_thumbnails",
    "write_training_data",
]
