"""Validation of data sets: finds what would stop a run later, or silently spoil it."""

from lowres_d2.data.validation.findings import Check, Finding, Findings, Suspect
from lowres_d2.data.validation.read import read_split
from lowres_d2.data.validation.report import Report, validate
from lowres_d2.data.validation.split import Split

__all__ = [
    "Check",
    "Finding",
    "Findings",
    "Report",
    "Split",
    "Suspect",
    "read_split",
    "validate",
]
