"""The recipe of the run that weights are from, as far as its values are concerned."""

from __future__ import annotations

from lowres_d2.modeling.weights import LoadReport
from lowres_d2.saved_configs import parse_saved_config

import yaml
from omegaconf import DictConfig, OmegaConf


def saved_recipe(report: LoadReport) -> DictConfig:
    """The recipe that a file's run had; empty if the file has none, or of another version."""
    try:
        # Only values are read: names of callables are not imported.
        content = parse_saved_config(report.recipe, report.path, lambda name, where: name)
    except (ValueError, yaml.YAMLError):
        content = None
    return OmegaConf.create(content if isinstance(content, dict) else {})
