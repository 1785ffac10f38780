"""Normalisation layers with separate weights and statistics for each downsampling factor.

The rest of the network is shared by all factors. Source: Wang et al., "Resolution Switchable
Networks for Runtime Efficient Image Recognition" (ECCV 2020), Sec. 3.1: feature statistics differ
between resolutions, and private batch norms are enough to train one network for all of them.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from detectron2.layers.batch_norm import LayerNorm
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

# The trainable norms. A frozen batch norm stays the same for all factors.
_NORMS = (_BatchNorm, nn.GroupNorm, nn.LayerNorm, LayerNorm)
_CHILD = "by_factor"


class NormByFactor(nn.Module):
    """A copy of a norm for each factor, of which one is in use.

    Loading the weights of a plain norm sets all copies.

    Args:
        norm: the norm that is copied, with its weights.
        factors: downsampling factors; the copy of the first one is in use at first.

    Attributes:
        factor: the factor whose copy is in use.
    """

    def __init__(self, norm: nn.Module, factors: Sequence[Fraction]) -> None:
        super().__init__()
        # Keys of a ModuleDict have no dots: '3/2' is one, '1.5' is not.
        self.by_factor = nn.ModuleDict({str(factor): copy.deepcopy(norm) for factor in factors})
        self.factor = factors[0]
        self.register_load_state_dict_pre_hook(_fill_all)

    def forward(self, x: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
        """Apply the norm of the factor in use."""
        return self.by_factor[str(self.factor)](x)


def norms_by_factor(network: nn.Module, factors: Sequence[Fraction]) -> list[NormByFactor]:
    """Replace every trainable norm of a network in place.

    Args:
        network: a norm that it uses in several places becomes one shared ``NormByFactor``.
        factors: see ``NormByFactor``.

    Returns:
        The new modules.
    """
    replaced: dict[nn.Module, NormByFactor] = {}
    # Listed first, or the norms inside the new modules would be replaced again.
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, _NORMS):
                if child not in replaced:
                    replaced[child] = NormByFactor(child, factors)
                setattr(module, name, replaced[child])
    return list(replaced.values())


def weights_for_factor(state_dict: dict[str, Tensor], factor: str | None) -> dict[str, Tensor]:
    """Convert the weights of a network with norms by factor to the plain network at one factor.

    Args:
        state_dict: weights of any network; those without norms by factor fit all factors and are
            returned unchanged.
        factor: the factor whose norms to keep; None: there are no norms by factor.

    Raises:
        ValueError: there are norms by factor, but none for this factor; or a factor is given, and
            there are none.
    """
    marker = f".{_CHILD}."
    factors = dict.fromkeys(k.split(marker)[1].split(".")[0] for k in state_dict if marker in k)
    if factor is not None and not factors:
        raise ValueError(
            f"factor {factor}: these weights have no norms by factor, they are the same for every "
            "factor: leave it out (--factor)"
        )
    if factors and factor not in factors:
        raise ValueError(
            f"factor {factor}: these weights have a norm for each of the factors "
            f"{', '.join(factors)}: name one of them (--factor)"
        )
    chosen = {}
    for key, tensor in state_dict.items():
        before, found, after = key.partition(marker)
        if not found:
            chosen[key] = tensor
        elif after.split(".")[0] == factor:
            chosen[f"{before}.{after.partition('.')[2]}"] = tensor
    return chosen


def _fill_all(norms: NormByFactor, state: dict[str, Tensor], prefix: str, *_: Any) -> None:
    """Copy the weights of a plain norm in ``state`` to the norms of all factors."""
    names = next(iter(norms.by_factor.values())).state_dict()
    for name in names:
        if prefix + name in state:
            # Popped: load_state_dict would report the plain name as unexpected.
            tensor = state.pop(prefix + name)
            for factor in norms.by_factor:
                # A file that also has this factor's own weights keeps them.
                state.setdefault(f"{prefix}{_CHILD}.{factor}.{name}", tensor)
