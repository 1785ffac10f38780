"""Which convolutions and fully connected layers of a detector stay real-valued.

A rule is the name of a group below, or a shell-style pattern that fits the path of a layer or of a
module around it: ``head.cls_score``, ``*.box_predictor`` with all that is in it, ``res[23]``.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Sequence
from fnmatch import fnmatchcase

from detectron2.layers import Conv2d
from detectron2.modeling.backbone import Backbone
from torch import nn
from torch.nn.utils.parametrize import type_before_parametrizations

# Not their subclasses: a deformable convolution, or a projection of an attention that is not called
# as a module, would not be computed by the layer that takes its place.
_KINDS = (nn.Conv2d, Conv2d, nn.Linear)

GROUPS = {
    # The second ones are timm's names, of HRNets and others.
    "first": ("*stem", "*network.conv[12]"),
    "shortcuts": ("*.shortcut", "*.downsample"),
    "last": (
        # Dense heads, RPN, box predictors of R-CNN, classifiers.
        "*.cls_score",
        "*.bbox_pred",
        "*.ctrness",
        "*.objectness_logits",
        "*.anchor_deltas",
        "classifier",
        "*.linear",
    ),
    # Of FPN and HRFPN.
    "pyramid": (
        "*.fpn_lateral?",
        "*.fpn_output?",
        "*.top_block",
        "*backbone.reduce",
        "*backbone.outputs",
    ),
}
# DFR-Det, Sec. 4.1: "all convolution and FC layers except for the 1-st layer, shortcut layer, and
# last layers" are binarised.
AS_WRITTEN = ("first", "shortcuts", "last")


def layers_by_path(network: nn.Module) -> dict[str, nn.Module]:
    """Convolutions and fully connected layers that could be binarised, under every path."""
    modules = network.named_modules(remove_duplicate=False)
    return {
        path: module for path, module in modules if type_before_parametrizations(module) in _KINDS
    }


def fits(path: str, patterns: Iterable[str]) -> bool:
    """Whether a pattern fits a path, or that of a module around it."""
    return any(fnmatchcase(path, p) or fnmatchcase(path, f"{p}.*") for p in patterns)


def optional_groups(network: nn.Module) -> tuple[str, ...]:
    """Groups of which a network may have no layers: shortcuts, and of a backbone, last ones."""
    return ("shortcuts", "last") if isinstance(network, Backbone) else ("shortcuts",)


def real_patterns(
    paths: Collection[str], rules: Sequence[str], optional: Collection[str] = ("shortcuts",)
) -> list[str]:
    """Patterns of the layers that stay real-valued, in place of the groups' names.

    Args:
        paths: those of all layers.
        rules: the recipe's.
        optional: groups that may fit nothing.

    Raises:
        ValueError: a rule fits nothing; names the nearest paths.
    """
    if isinstance(rules, str):  # each character of which would pass for a pattern
        raise ValueError(f"real_layers={rules!r}: expected a list of patterns")
    for rule in rules:
        patterns = GROUPS.get(rule, [rule])
        if rule not in optional and not any(fits(path, patterns) for path in paths):
            nearest = difflib.get_close_matches(rule, paths, n=3, cutoff=0)
            known = f" ({', '.join(patterns)})" if rule in GROUPS else ""
            raise ValueError(
                f"real_layers: {rule!r}{known} fits no convolution or fully connected layer; "
                f"nearest: {', '.join(nearest)}; groups: {', '.join(GROUPS)}"
            )
    return [pattern for rule in rules for pattern in GROUPS.get(rule, [rule])]
