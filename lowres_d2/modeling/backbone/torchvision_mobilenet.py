"""Torchvision's MobileNetV2 as a backbone, and one of its stages as the head of a C4 detector.

Source: Sandler et al., "MobileNetV2" (2018). Layers and names are torchvision's, so that the
weights ``https://download.pytorch.org/models/mobilenet_v2-b0353104.pth?matching_heuristics=True``
fit both (RGB pixels; mean 123.675, 116.28, 103.53, standard deviation 58.395, 57.12, 57.375).
``res2`` to ``res5`` have strides 4 to 32, as in ResNets.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from functools import partial

from lowres_d2.modeling.backbone.atrous_blocks import add_atrous_rule
from lowres_d2.modeling.backbone.staged import StagedBackbone, check_stage

from detectron2.layers import get_norm
from jaxtyping import Float
from torch import Tensor, nn
from torchvision.models import mobilenet_v2

# Each stage's blocks: start and stop index in torchvision's ``features``.
_STAGES = {"res2": (2, 4), "res3": (4, 7), "res4": (7, 14), "res5": (14, 18)}


def _blocks(
    start: int, stop: int, width_mult: float, norm: str, in_channels: int = 3
) -> nn.Sequential:
    """A slice of torchvision's ``features``, under their original numbers."""
    network = mobilenet_v2(width_mult=width_mult, norm_layer=partial(get_norm, norm))
    if in_channels != 3:
        width = network.features[0][0].out_channels
        stem = nn.Conv2d(in_channels, width, 3, stride=2, padding=1, bias=False)
        nn.init.kaiming_normal_(stem.weight, mode="fan_out")  # as torchvision's
        network.features[0][0] = stem
    named = list(network.features.named_children())[start:stop]
    return nn.Sequential(OrderedDict(named))


class MobileNetV2(StagedBackbone):
    """MobileNetV2 up to the last of the requested stages.

    Args:
        out_features: names of the stages that ``forward`` returns.
        width_mult: multiplier of the paper's channels.
        norm: name of a normalisation that ``get_norm`` knows.
        in_channels: channels of the image.

    Raises:
        ValueError: ``out_features`` is empty or has an unknown stage.
    """

    # The 1x1 convolution to 1280 channels that torchvision's classifier has behind res5.
    published_head = ("features.18.",)

    def __init__(
        self,
        out_features: Sequence[str] = ("res4",),
        width_mult: float = 1.0,
        norm: str = "BN",
        in_channels: int = 3,
    ) -> None:
        super().__init__(out_features, {name: stop - 1 for name, (_, stop) in _STAGES.items()})
        self.features = _blocks(0, 1 + self.last_block, width_mult, norm, in_channels)
        self._out_feature_channels = {
            name: self.features[last].out_channels for last, name in self._ends.items()
        }

    def forward(self, x: Float[Tensor, "N C H W"]) -> dict[str, Float[Tensor, "N _C _h _w"]]:
        """Feature maps of the stages in ``out_features``, finest first."""
        return self.features_of(self.features, x)


class MobileNetV2Stage(nn.Module):
    """One stage, with stride 2, such as ``res5`` on pooled regions.

    Args:
        stage: ``res2`` to ``res5``.
        width_mult: same as the backbone's.
        norm: same as the backbone's.

    Raises:
        ValueError: the stage is unknown.
    """

    def __init__(self, stage: str = "res5", width_mult: float = 1.0, norm: str = "BN") -> None:
        super().__init__()
        check_stage(stage, _STAGES)
        self.features = _blocks(*_STAGES[stage], width_mult, norm)
        self.out_channels = self.features[-1].out_channels

    def forward(self, x: Float[Tensor, "R _C _P _P"]) -> Float[Tensor, "R C P P"]:
        """Features of regions with half the cells along each side."""
        return self.features(x)


add_atrous_rule(MobileNetV2)
