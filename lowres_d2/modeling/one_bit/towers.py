"""Towers of dense heads with a shortcut around each convolution.

A tower is a sequence of convolutions of stride 1, each with or without a norm behind it, and an
activation: those of Detectron2's ``FCOSHead`` and ``RetinaNetHead``. As in Bi-Real Net's blocks, a
shortcut carries on what a 1-bit convolution loses; it costs one addition.
"""

from __future__ import annotations

from collections import OrderedDict

from lowres_d2.layers.one_bit import ShiftedPReLU
from lowres_d2.modeling.one_bit.replace import replace_modules

from jaxtyping import Float
from torch import Tensor, nn

_ACTIVATIONS = (nn.ReLU, nn.PReLU, ShiftedPReLU)


class ShortcutTower(nn.Sequential):
    """A tower whose convolutions keep the number of channels, each with a shortcut around it.

    The sum comes before the activation. The first convolution has no shortcut if it changes the
    number of channels. Layers have the names that they have in a plain ``Sequential``.
    """

    def forward(self, x: Float[Tensor, "N C h w"]) -> Float[Tensor, "N O h w"]:
        """Features of the same size."""
        skip = None
        for layer in self:
            if isinstance(layer, nn.Conv2d):
                skip = x if layer.in_channels == layer.out_channels else None
            elif isinstance(layer, _ACTIVATIONS) and skip is not None:
                x = x + skip
            x = layer(x)
        return x


def add_tower_shortcuts(network: nn.Module) -> None:
    """Turn the towers of a network into ``ShortcutTower``s, in place.

    Raises:
        ValueError: there is no tower.
    """
    towers = {module: _with_shortcuts(module) for module in network.modules() if _is_tower(module)}
    if not towers:
        raise ValueError(
            "tower_shortcuts: there is no tower (a Sequential of convolutions of stride 1, norms "
            "and ReLUs, as in the heads of FCOS and RetinaNet): set it to false"
        )
    replace_modules(network, towers)


def _with_shortcuts(tower: nn.Sequential) -> ShortcutTower:
    return ShortcutTower(OrderedDict(tower.named_children())).train(tower.training)


def _is_tower(module: nn.Module) -> bool:
    if type(module) is not nn.Sequential:
        return False
    layers = list(module)
    convolutions = [layer for layer in layers if isinstance(layer, nn.Conv2d)]
    activations = [layer for layer in layers if isinstance(layer, _ACTIVATIONS)]
    return (
        len(convolutions) == len(activations) > 0
        and layers[0] is convolutions[0]
        and layers[-1] is activations[-1]
        and all(layer.stride == (1, 1) for layer in convolutions)
        and any(layer.in_channels == layer.out_channels for layer in convolutions)
    )
