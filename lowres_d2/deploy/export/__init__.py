"""Trained models as files of other runtimes: one table of formats, one way out and one way in."""

from lowres_d2.deploy.export.exported import ExportedModel, load_exported
from lowres_d2.deploy.export.exporting import export_model
from lowres_d2.deploy.export.formats import FORMATS, SUFFIXES, Format, format_of

__all__ = [
    "FORMATS",
    "SUFFIXES",
    "ExportedModel",
    "Format",
    "export_model",
    "format_of",
    "load_exported",
]
