"""timm's MobileNet (version 1) as a backbone, and one of its stages as the head of a C4 detector.

Source: Howard et al., "MobileNets" (2017). Layers and names are timm's ``mobilenetv1_100``, so that
its weights, ``model.safetensors?matching_heuristics=True`` of ``timm/mobilenetv1_100.ra4_e3600_
r224_in1k`` on the Hugging Face hub, fit both (RGB pixels; mean and standard deviation 127.5).
``res2`` to ``res5`` have strides 4 to 32 and 128 to 1024 channels.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from lowres_d2.modeling.backbone.atrous_blocks import add_atrous_rule
from lowres_d2.modeling.backbone.staged import StagedBackbone, check_stage

from jaxtyping import Float
from torch import Tensor, nn

# Index of each stage in timm's ``blocks``, and its channels.
_STAGES = {"res2": (1, 128), "res3": (2, 256), "res4": (3, 512), "res5": (4, 1024)}
_NORMS = ("BN", "FrozenBN")


def _network(norm: str, in_channels: int = 3) -> nn.Module:
    """timm's whole network, with its batch norms frozen or not."""
    # Imported here because importing timm takes longer than this package.
    import timm
    from timm.layers import BatchNormAct2d, FrozenBatchNormAct2d, freeze_batch_norm_2d

    if norm not in _NORMS:
        raise ValueError(f"norm={norm!r}: expected one of {', '.join(_NORMS)}")
    network = timm.create_model("mobilenetv1_100", pretrained=False, in_chans=in_channels)
    # Norm and activation in one, and blocks without other operations than their layers'.
    block = type(network.blocks[0][0])
    for kind in (BatchNormAct2d, FrozenBatchNormAct2d, block):
        add_atrous_rule(kind)
    return freeze_batch_norm_2d(network) if norm == "FrozenBN" else network


def _blocks(network: nn.Module, start: int, stop: int) -> nn.Sequential:
    """A slice of timm's ``blocks``, under their original numbers."""
    return nn.Sequential(OrderedDict(list(network.blocks.named_children())[start:stop]))


class MobileNetV1(StagedBackbone):
    """MobileNet up to the last of the requested stages.

    Args:
        out_features: names of the stages that ``forward`` returns.
        norm: ``BN`` or ``FrozenBN``.
        in_channels: channels of the image.

    Raises:
        ValueError: ``out_features`` is empty or has an unknown stage, or the norm is unknown.
    """

    def __init__(
        self,
        out_features: Sequence[str] = ("res4",),
        norm: str = "BN",
        in_channels: int = 3,
    ) -> None:
        super().__init__(out_features, {name: index for name, (index, _) in _STAGES.items()})
        network = _network(norm, in_channels)
        self.conv_stem, self.bn1 = network.conv_stem, network.bn1
        self.blocks = _blocks(network, 0, 1 + self.last_block)
        self._out_feature_channels = {name: _STAGES[name][1] for name in self._out_features}

    def forward(self, x: Float[Tensor, "N C H W"]) -> dict[str, Float[Tensor, "N _C _h _w"]]:
        """Feature maps of the stages in ``out_features``, finest first."""
        return self.features_of(self.blocks, self.bn1(self.conv_stem(x)))


class MobileNetV1Stage(nn.Module):
    """One stage, with stride 2, such as ``res5`` on pooled regions.

    Args:
        stage: ``res2`` to ``res5``.
        norm: same as the backbone's.

    Raises:
        ValueError: the stage or the norm is unknown.
    """

    def __init__(self, stage: str = "res5", norm: str = "BN") -> None:
        super().__init__()
        check_stage(stage, _STAGES)
        index, self.out_channels = _STAGES[stage]
        self.blocks = _blocks(_network(norm), index, index + 1)

    def forward(self, x: Float[Tensor, "R _C _P _P"]) -> Float[Tensor, "R C P P"]:
        """Features of regions with half the cells along each side."""
        return self.blocks(x)


add_atrous_rule(MobileNetV1)
