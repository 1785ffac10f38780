"""Warn of torchvision's weights in a ResNet whose blocks have their stride elsewhere.

Where a bottleneck block downsamples, torchvision's has the stride in its 3x3 convolution, MSRA's in
its first 1x1. The weights have the same names and shapes and fit both.
"""

from __future__ import annotations

from lowres_d2.modeling.weights import LoadReport

from detectron2.modeling.backbone.resnet import BottleneckBlock, DeformBottleneckBlock
from torch import nn


def strides_warning(model: nn.Module, report: LoadReport) -> str:
    """Which blocks of a model have the stride in the 1x1 though the weights' have it in the 3x3.

    Args:
        model: a detector or a composition, with the weights loaded.
        report: report of loading them.

    Returns:
        A warning; empty if there are none, or the weights are not of torchvision's ResNets.
    """
    blocks = [
        name
        for name, module in getattr(model, "detector", model).named_modules()
        if isinstance(module, BottleneckBlock | DeformBottleneckBlock)
        if max(module.conv1.stride) > 1
    ]
    if not report.torchvision or not blocks:
        return ""
    return (
        f"{report.path} is a ResNet of torchvision's kind, with strides in the 3x3 convolutions; "
        f"the model's are in the first 1x1 ({', '.join(blocks)}), which makes its features worse: "
        "set stride_in_1x1=False for its stages"
    )
