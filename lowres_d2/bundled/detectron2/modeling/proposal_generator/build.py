"""The registry of proposal generators."""

from __future__ import annotations

from detectron2._uncovered import uncovered
from detectron2.utils.registry import Registry

PROPOSAL_GENERATOR_REGISTRY = Registry("PROPOSAL_GENERATOR")
build_proposal_generator = uncovered("build_proposal_generator")  # builds from yacs configs
