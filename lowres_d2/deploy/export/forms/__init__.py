"""Detectors and classifiers in the form in which they go into graphs."""

from lowres_d2.deploy.export.forms.table import FORMS, form_of

__all__ = ["FORMS", "form_of"]
