"""Backbones beside Detectron2's own."""

from lowres_d2.modeling.backbone.small import SmallResNet

__all__ = ["SmallResNet"]
