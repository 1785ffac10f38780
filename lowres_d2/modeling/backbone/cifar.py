"""AlexNet, VGG-16 and ResNet-18 in the forms that are usual for images of 32x32 pixels.

Sources: Krizhevsky (2014, arXiv 1404.5997), Simonyan and Zisserman (2015), He et al. (2016). All
have batch norm after each convolution, which therefore has no bias. Their fully connected layers
belong to the classifier. ``width`` is the number of channels of the first convolution, 64 in the
usual forms; those of the other layers are multiples of it.
"""

from __future__ import annotations

from collections.abc import Sequence

from lowres_d2.modeling.backbone.small import SmallStem
from lowres_d2.modeling.backbone.staged import StagedBackbone

import fvcore.nn.weight_init as weight_init
import torch.nn.functional as F
from detectron2.layers import Conv2d, get_norm
from detectron2.modeling.backbone.resnet import BasicBlock, ResNet
from jaxtyping import Float
from torch import Tensor, nn

_RESNET18 = {"res2": 1, "res3": 2, "res4": 4, "res5": 8}


class _PlainNetwork(StagedBackbone):
    """Stages of 3x3 convolutions with ReLU, each stage ended by a 2x2 max pooling.

    Args:
        width: channels of the first convolution.
        out_features: names of the stages that ``forward`` returns, of ``stage1`` on; None: the
            last.
        norm: name of a normalisation that ``get_norm`` knows.
        in_channels: channels of the image.

    Raises:
        ValueError: ``out_features`` is empty or has an unknown stage.
    """

    # Channels of the convolutions of each stage, as multiples of the width.
    MULTIPLES: tuple[tuple[int, ...], ...]
    # Stride of the first convolution.
    STRIDE: int

    def __init__(
        self,
        width: int = 64,
        out_features: Sequence[str] | None = None,
        norm: str = "BN",
        in_channels: int = 3,
    ) -> None:
        names = [f"stage{k}" for k in range(1, len(self.MULTIPLES) + 1)]
        asked = names[-1:] if out_features is None else out_features
        super().__init__(asked, {name: k for k, name in enumerate(names)}, 2 * self.STRIDE)
        self.stages = nn.ModuleDict()
        stride = self.STRIDE
        for name, stage in zip(names[: self.last_block + 1], self.MULTIPLES, strict=False):
            layers: list[nn.Module] = []
            for multiple in stage:
                layers.append(_convolution(in_channels, multiple * width, stride, norm))
                in_channels, stride = multiple * width, 1
            # ceil_mode: of images smaller than the stride, one cell is left.
            self.stages[name] = nn.Sequential(*layers, nn.MaxPool2d(2, ceil_mode=True))
        self._out_feature_channels = {
            name: self.MULTIPLES[end][-1] * width for end, name in self._ends.items()
        }

    def forward(self, x: Float[Tensor, "N C H W"]) -> dict[str, Float[Tensor, "N _C _h _w"]]:
        """Feature maps of the stages in ``out_features``, finest first."""
        return self.features_of(self.stages.values(), x)


class CifarAlexNet(_PlainNetwork):
    """The five convolutions of AlexNet, 3x3 each, in stages of strides 4, 8 and 16.

    ``stage3`` has 2x2 cells for 32x32 pixels. Arguments are those of every plain network here:
    ``width``, ``out_features``, ``norm``, ``in_channels``.
    """

    MULTIPLES = ((1,), (3,), (6, 4, 4))
    STRIDE = 2


class CifarVGG16(_PlainNetwork):
    """The thirteen convolutions of VGG-16, in five stages of strides 2 to 32.

    ``stage5`` has a single cell for 32x32 pixels. Arguments are those of :class:`CifarAlexNet`.
    """

    MULTIPLES = ((1, 1), (2, 2), (4, 4, 4), (8, 8, 8), (8, 8, 8))
    STRIDE = 1


class CifarResNet18(ResNet):
    """ResNet-18 with a 3x3 stem of stride 1 and no pooling: ``res5`` has 4x4 cells for 32x32.

    Args:
        width: channels of the stem and of ``res2``.
        out_features: names of the stages that ``forward`` returns, of ``res2`` to ``res5``, with
            strides 1 to 8.
        norm: name of a normalisation that ``get_norm`` knows.
        in_channels: channels of the image.
    """

    def __init__(
        self,
        width: int = 64,
        out_features: Sequence[str] = ("res5",),
        norm: str = "BN",
        in_channels: int = 3,
    ) -> None:
        stages, before = [], width
        for name, multiple in _RESNET18.items():
            stages.append(
                ResNet.make_stage(
                    BasicBlock,
                    2,
                    in_channels=before,
                    out_channels=multiple * width,
                    stride_per_block=[1 if name == "res2" else 2, 1],
                    norm=norm,
                )
            )
            before = multiple * width
        stem = SmallStem(in_channels, width, 1, norm)
        super().__init__(stem, stages, out_features=list(out_features))


def _convolution(in_channels: int, out_channels: int, stride: int, norm: str) -> nn.Module:
    layer = Conv2d(
        in_channels,
        out_channels,
        kernel_size=3,
        stride=stride,
        padding=1,
        bias=False,
        norm=get_norm(norm, out_channels),
        activation=F.relu_,
    )
    weight_init.c2_msra_fill(layer)
    return layer
