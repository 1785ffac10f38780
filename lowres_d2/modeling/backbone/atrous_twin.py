"""A twin of a backbone: the same parameters and output strides, but a larger receptive field.

Source: Noh et al., "Better to Follow, Follow to Be Better" (ICCV 2019), Sec. 4.1. The receptive
field of the twin on an image covers the same share of it as the backbone's on the image at half
the size. The paper's ratio is 2; here it is any integer from 2 up, for images downsampled by it.
``atrous_blocks`` has the rules for each layer.
"""

from __future__ import annotations

import copy
from typing import Any

from lowres_d2.modeling.backbone.atrous_blocks import make_atrous
from lowres_d2.modeling.channels_last import restore_strides

import torch
from jaxtyping import Float
from torch import Tensor, nn


class AtrousTwin:
    """Calls a backbone with receptive fields ``ratio`` times as large.

    Exactly: the receptive field beyond a cell's own pixel grows by ``ratio``, and each max pooling
    that replaces a convolution's stride adds the stride of its input, in pixels. A field of 291
    pixels with one such pooling, in the stem, becomes 1 + 290 * 2 + 1 = 582 with ratio 2 and
    1 + 290 * 4 + 1 = 1162 with ratio 4.

    The twin is no ``nn.Module``, so that a model that holds one has its parameters and their keys
    only once. It shares the backbone's parameters and buffers: loading, training, moving and
    freezing the backbone take effect in the twin immediately, and in a deep copy or a pickle of a
    model the twin belongs to the copied backbone. It always runs in eval mode and without
    gradients, whatever mode the backbone is in.

    Attributes:
        backbone: the network whose twin this is.
        ratio: ratio of the twin's receptive field to the backbone's.
        network: the transformed network, which a call runs.
    """

    def __init__(self, backbone: nn.Module, ratio: int = 2) -> None:
        """
        Args:
            backbone: a convolutional network; it is not modified.
            ratio: ratio of the receptive fields, an integer from 2 up.

        Raises:
            ValueError: ``ratio`` is not such an integer, or a block cannot be transformed; the
                message names the block.
        """
        if not isinstance(ratio, int) or ratio < 2:
            raise ValueError(f"ratio={ratio}: expected an integer from 2 up")
        self.backbone = backbone
        self.ratio = ratio
        self._build()

    # It only makes targets, and feature extractors are frozen at that time (Sec. 4.3).
    @torch.no_grad()
    def __call__(self, images: Float[Tensor, "N C H W"]) -> dict[str, Float[Tensor, "N _C _h _w"]]:
        """Feature maps by name, with the names, channels and sizes of the backbone's."""
        if self._originals != list(self.backbone.modules()):  # replaced, for instance by freezing
            self._build()
        return self.network(images)

    def _build(self) -> None:
        self._originals = list(self.backbone.modules())
        self.network = _sharing_copy(self.backbone)
        restore_strides(self.network)
        # A list: the poolings that rules add must not be widened in turn.
        for path, module in list(self.network.named_modules()):
            make_atrous(module, path, self.ratio)

    def __getstate__(self) -> dict[str, Any]:
        # Without the network: a copy's has to share the parameters of the copied backbone.
        return {"backbone": self.backbone, "ratio": self.ratio}

    def __setstate__(self, state: dict[str, Any]) -> None:
        # Built at the first call: the copied backbone may still be incomplete here.
        self.__dict__.update(state, _originals=None)


def _sharing_copy(network: nn.Module) -> nn.Module:
    """A copy in eval mode, without hooks, that shares the dicts of parameters and buffers.

    It shares the dicts and not only their tensors, which moving or loading a network may replace.
    """
    originals = list(network.modules())
    # Without __init__, which would make new parameters.
    copies = [object.__new__(type(module)) for module in originals]
    # What deepcopy finds in its memo it does not copy: modules become their twins, dicts of tensors
    # stay shared, and hooks (of taps, for instance) are left out.
    memo: dict[int, Any] = {id(m): twin for m, twin in zip(originals, copies, strict=True)}
    for module in originals:
        for table in (module._parameters, module._buffers):
            memo[id(table)] = table
        for name, value in vars(module).items():
            if name.endswith(("_hooks", "_hooks_with_kwargs", "_hooks_always_called")):
                memo[id(value)] = type(value)()
    for module, twin in zip(originals, copies, strict=True):
        state = {key: copy.deepcopy(value, memo) for key, value in vars(module).items()}
        # Eval mode: a batch norm in training would change the statistics that both share.
        twin.__dict__.update(state, training=False)
    return memo[id(network)]
