"""The backbone registry; building one from a yacs config is left to upstream Detectron2."""

from __future__ import annotations

from detectron2._uncovered import uncovered
from detectron2.utils.registry import Registry

BACKBONE_REGISTRY = Registry("BACKBONE")
BACKBONE_REGISTRY.__doc__ = "Backbones by name, for code that builds them from a yacs config."

build_backbone = uncovered("build_backbone")
