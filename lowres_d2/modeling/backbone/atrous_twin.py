"""A second view of a backbone: its parameters, its output strides, a larger receptive field.

Source: Noh et al., "Better to Follow, Follow to Be Better" (ICCV 2019), Sec. 4.1: features of the
twin on an image cover as much of it, relatively, as the backbone's own on the image at half the
size. The ratio of 2 is the paper's; here it is any whole number, for images so many times
smaller. What becomes of each layer is in ``atrous_blocks``.
Shapes: images (N, C, H, W) of any size; each map is as large as the backbone's own.
"""

from __future__ import annotations

import copy
from typing import Any

from lowres_d2.modeling.backbone.atrous_blocks import make_atrous

import torch
from torch import Tensor, nn


class AtrousTwin:
    """Calls a backbone with every receptive field ``ratio`` times as large.

    To be exact: what a cell sees beside its own pixel grows ``ratio`` times, and each pooling in
    place of a convolution's stride adds the distance of two cells of what it pools. Of 291 pixels
    with one pooling, in the stem, 582 and 1162 become: 1 + 290 * 2 + 1 and 1 + 290 * 4 + 1.

    No module, so that a model that holds one has neither its parameters nor its keys twice. It
    follows the backbone: loading, training, moving and freezing are seen at once, and in a deep
    copy or a pickle of the model the twin is that of the model's backbone there. It always runs in
    eval mode, whatever mode the backbone is in, and without gradients.

    Attributes:
        backbone: the network whose twin this is.
        ratio: of its receptive field to the backbone's.
        network: what is called in its place.
    """

    def __init__(self, backbone: nn.Module, ratio: int = 2) -> None:
        """
        Args:
            backbone: a convolutional network, left as it is.
            ratio: how many times as far it sees, from 2 on.

        Raises:
            ValueError: a block that cannot be transformed; names it. A ratio under 2.
        """
        if not isinstance(ratio, int) or ratio < 2:
            raise ValueError(f"ratio={ratio}: expected a whole number from 2 on")
        self.backbone = backbone
        self.ratio = ratio
        self._build()

    @torch.no_grad()
    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        """Features of images (N, C, H, W) by name: the backbone's names, channels and sizes."""
        if self._originals != list(self.backbone.modules()):  # some were replaced, as by freezing
            self._build()
        return self.network(images)

    def _build(self) -> None:
        self._originals = list(self.backbone.modules())
        self.network = _sharing_copy(self.backbone)
        for path, module in list(self.network.named_modules()):
            make_atrous(module, path, self.ratio)

    def __getstate__(self) -> dict[str, Any]:
        return {"backbone": self.backbone, "ratio": self.ratio}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _originals=None)  # the copied backbone may not be whole yet


def _sharing_copy(network: nn.Module) -> nn.Module:
    """A copy in eval mode, without hooks, that holds the very tables of parameters and buffers.

    Tables, and not only what is in them: moving a network or loading it may replace tensors.
    """
    originals = list(network.modules())
    copies = [object.__new__(type(module)) for module in originals]
    memo: dict[int, Any] = {id(m): twin for m, twin in zip(originals, copies, strict=True)}
    for module in originals:
        for table in (module._parameters, module._buffers):
            memo[id(table)] = table
        for name, value in vars(module).items():
            if name.endswith(("_hooks", "_hooks_with_kwargs", "_hooks_always_called")):
                memo[id(value)] = type(value)()
    for module, twin in zip(originals, copies, strict=True):
        state = {key: copy.deepcopy(value, memo) for key, value in vars(module).items()}
        twin.__dict__.update(state, training=False)
    return memo[id(network)]
