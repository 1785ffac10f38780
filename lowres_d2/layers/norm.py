"""Norms for narrow networks, as callables for Detectron2's ``norm`` arguments."""

from __future__ import annotations

from torch import nn


def group_norm_8(channels: int) -> nn.GroupNorm:
    """Group norm (Wu and He 2018) of 8 groups, for few channels; Detectron2's ``"GN"`` has 32.

    Args:
        channels: a multiple of 8.
    """
    return nn.GroupNorm(8, channels)
