"""1-bit layers whose input is never negative: its sign is +1 everywhere, and says nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

from lowres_d2.layers.one_bit import BinaryWeights
from lowres_d2.modeling.channels import input_channels
from lowres_d2.modeling.modes import in_eval_mode

import torch
from jaxtyping import Float
from torch import Tensor, nn

_SIDE = 64  # of a square image, in pixels


def layers_with_one_signed_input(network: nn.Module) -> list[str]:
    """Paths of the 1-bit layers that one random image reaches without a negative value.

    The network is in evaluation mode for it and changes nothing. A layer that it does not call,
    such as one of a box head without proposals, is not named.

    Args:
        network: a detector or classifier with ``pixel_mean``, or one that takes images (N, C, H, W)
            of as many channels as its first convolution.
    """
    with recording_lowest(network) as lowest:
        run_on_random_image(network)
    return one_signed(lowest)


def one_signed(lowest: Mapping[str, Float[Tensor, ""]]) -> list[str]:
    """Paths of layers whose lowest input is not negative."""
    return [path for path, low in lowest.items() if low >= 0]


@contextmanager
def recording_lowest(network: nn.Module) -> Iterator[dict[str, Float[Tensor, ""]]]:
    """The lowest input of each 1-bit layer that is called meanwhile."""
    lowest: dict[str, Tensor] = {}

    def record(path: str, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if inputs[0].numel():
            low = inputs[0].min()
            lowest[path] = torch.minimum(low, lowest[path]) if path in lowest else low

    hooks = [
        module.register_forward_pre_hook(partial(record, path))
        for path, module in network.named_modules()
        if isinstance(module, BinaryWeights)
    ]
    try:
        yield lowest
    finally:
        for hook in hooks:
            hook.remove()


def run_on_random_image(network: nn.Module) -> None:
    """In evaluation mode, changing nothing; see ``layers_with_one_signed_input``."""
    with torch.no_grad(), in_eval_mode(network):
        network(_random_images(network))


def _random_images(network: nn.Module) -> Any:
    generator = torch.Generator().manual_seed(0)  # which leaves the global one as it is
    device = next((p.device for p in network.parameters()), None)
    mean = getattr(network, "pixel_mean", None)
    if mean is not None:
        noise = torch.randn(len(mean), _SIDE, _SIDE, generator=generator).to(device)
        return [{"image": mean.view(-1, 1, 1) + noise * network.pixel_std.view(-1, 1, 1)}]
    channels = input_channels(network) or 3
    return torch.randn(1, channels, _SIDE, _SIDE, generator=generator).to(device)
