"""A trained 1-bit detector in the form in which it runs: bits are bits."""

from __future__ import annotations

import copy

from lowres_d2.deploy.one_bit.blocks import stage_of, tower_of
from lowres_d2.deploy.one_bit.folding import fold_norms
from lowres_d2.deploy.one_bit.layers import PackedConv2d, PackedLinear, check_layer
from lowres_d2.deploy.one_bit.stem import stem_of
from lowres_d2.layers.k_bit import KBitConv2d, KBitLinear
from lowres_d2.layers.one_bit import BinaryConv2d, BinaryLinear
from lowres_d2.level_turns import start_levels
from lowres_d2.modeling.one_bit.replace import replace_modules

import torch
from detectron2.modeling.meta_arch.retinanet import RetinaNetHead
from torch import nn


def pack(detector: nn.Module) -> nn.Module:
    """A copy whose 1-bit layers count bits, for evaluation: same inputs, same detections.

    Batch norms and PReLUs become part of the layers in front of them; stages of
    ``ShortcutBlock`` and the towers of dense heads hand on bits. Numbers are those of the detector
    but for the rounding of folded norms; they are float32, whatever the detector computes in, and
    have no gradients.

    Args:
        detector: a detector, classifier or backbone that ``binarized`` has converted.

    Raises:
        ValueError: it has no 1-bit layer, or one that cannot be packed, which is named.
    """
    detector = copy.deepcopy(detector).eval().requires_grad_(False).cpu().float()
    paths = {module: path for path, module in detector.named_modules()}
    for module, path in paths.items():
        if isinstance(module, KBitConv2d | KBitLinear):
            raise ValueError(f"{path}: a layer of several bits cannot be packed, only 1-bit ones")
        if isinstance(module, BinaryConv2d | BinaryLinear):
            try:
                check_layer(module)
            except ValueError as error:
                raise ValueError(f"{path or 'the layer'}: {error}") from error
    if not any(isinstance(module, BinaryConv2d | BinaryLinear) for module in paths):
        raise ValueError("the detector has no 1-bit layer: is its recipe's detector binarized?")
    fold_norms(detector)
    for module in paths:
        if isinstance(module, RetinaNetHead):  # and FCOS's; upstream's do not start the levels
            module.register_forward_pre_hook(start_levels)
    for find in (_sequence, _layer):
        found = {module: find(module) for module in list(detector.modules())}
        new = {module: x for module, x in found.items() if x is not None}
        if detector in new:
            return new[detector]
        replace_modules(detector, new)
    return detector.to(memory_format=torch.channels_last)


def _sequence(module: nn.Module) -> nn.Module | None:
    return stem_of(module) or stage_of(module) or tower_of(module)


def _layer(module: nn.Module) -> nn.Module | None:
    if isinstance(module, BinaryConv2d):
        return PackedConv2d(module)
    return PackedLinear(module) if isinstance(module, BinaryLinear) else None
