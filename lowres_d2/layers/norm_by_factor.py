"""A norm for each factor that images are reduced by, in a network that is shared otherwise.

Source: Wang et al., "Resolution Switchable Networks for Runtime Efficient Image Recognition" (ECCV
2020), Sec. 3.1: statistics of features differ by resolution, and so little of a network has to be
told apart that no resolution suffers from another.
Shapes: those of the norm that is replaced.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from detectron2.layers.batch_norm import LayerNorm
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

# Those that learn. A frozen batch norm is the same for all factors.
_NORMS = (_BatchNorm, nn.GroupNorm, nn.LayerNorm, LayerNorm)
_CHILD = "by_factor"


class NormByFactor(nn.Module):
    """As many copies of a norm as there are factors.

    Weights of a network without them fill all copies.

    Args:
        norm: what all of them start as.
        factors: one copy each; the first one's is in use at first.

    Attributes:
        factor: whose norm is in use.
    """

    def __init__(self, norm: nn.Module, factors: Sequence[Fraction]) -> None:
        super().__init__()
        self.by_factor = nn.ModuleDict({str(factor): copy.deepcopy(norm) for factor in factors})
        self.factor = factors[0]
        self.register_load_state_dict_pre_hook(_fill_all)

    def forward(self, x: Tensor) -> Tensor:
        """As the norm of the factor in use."""
        return self.by_factor[str(self.factor)](x)


def norms_by_factor(network: nn.Module, factors: Sequence[Fraction]) -> list[NormByFactor]:
    """Replace, in place, every norm of a network that learns.

    Args:
        network: a norm that stands in two places of it becomes one `NormByFactor` in both.
        factors: see `NormByFactor`.

    Returns:
        What was put in their place.
    """
    replaced: dict[nn.Module, NormByFactor] = {}
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, _NORMS):
                if child not in replaced:
                    replaced[child] = NormByFactor(child, factors)
                setattr(module, name, replaced[child])
    return list(replaced.values())


def weights_for_factor(state_dict: dict[str, Tensor], factor: str | None) -> dict[str, Tensor]:
    """Weights of a network with norms by factor as those of the plain network, at one factor.

    Args:
        state_dict: of any network; one without norms by factor is for all factors, and stays.
        factor: whose norms to keep.

    Raises:
        ValueError: there are norms by factor, but none for this one.
    """
    marker = f".{_CHILD}."
    factors = dict.fromkeys(k.split(marker)[1].split(".")[0] for k in state_dict if marker in k)
    if factors and factor not in factors:
        raise ValueError(
            f"factor {factor}: these weights have norms for each of the factors "
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
    """Give each factor's norm what a file has for a single one."""
    names = next(iter(norms.by_factor.values())).state_dict()
    for name in names:
        if prefix + name in state:
            tensor = state.pop(prefix + name)
            for factor in norms.by_factor:
                state.setdefault(f"{prefix}{_CHILD}.{factor}.{name}", tensor)
