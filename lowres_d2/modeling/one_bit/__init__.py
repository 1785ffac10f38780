"""Detectors in 1 bit: any Detectron2 detector, converted by a rule in its recipe."""

from lowres_d2.modeling.one_bit.binarize import binarized
from lowres_d2.modeling.one_bit.one_signed import layers_with_one_signed_input
from lowres_d2.modeling.one_bit.real_layers import AS_WRITTEN, GROUPS
from lowres_d2.modeling.one_bit.towers import ShortcutTower

__all__ = [
    "AS_WRITTEN",
    "GROUPS",
    "ShortcutTower",
    "binarized",
    "layers_with_one_signed_input",
]
