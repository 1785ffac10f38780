"""Bits of weights: the memory that a model takes, and what a multiplication of few bits counts.

As BiDet (Wang et al. 2020) and DFR-Det (Xu et al. 2024, Sec. 4.3) count: a real-valued parameter
takes 32 bits, whatever its type in training, and a weight of a 1-bit layer takes one bit. OPs are
real-valued multiplications plus 1/64 of the 1-bit ones; their 4-bit rows count 1/8. Tables of
papers mostly hold the weights alone, without biases, norms and scales; a file has to hold all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from lowres_d2.analysis.cost.parts import NOT_DEPLOYED, part_of
from lowres_d2.deploy.one_bit import is_packed
from lowres_d2.layers.k_bit import KBitWeights
from lowres_d2.layers.one_bit import BinaryWeights

from torch import nn

REAL = 32


def weight_bits(layer: nn.Module) -> int:
    """Bits of each weight of a layer, and of each activation that it is multiplied with."""
    if isinstance(layer, KBitWeights):
        return layer.bits
    return 1 if isinstance(layer, BinaryWeights) else REAL


def share_of_operation(bits: int) -> float:
    """What a multiplication counts in OPs: 1/64 of 1 bit, twice as much with each bit more.

    Args:
        bits: of weights and activations; 7 and more count as real-valued.
    """
    return min(2 ** (bits - 1) / 64, 1.0)


@dataclass(frozen=True)
class Memory:
    """Bytes of a model's parameters by part, without objectives.

    Attributes:
        weights: kernels of convolutions, matrices and other parameters of two axes or more.
        others: biases, norms, scales, slopes: parameters of one axis or none.
    """

    weights: Mapping[str, float]
    others: Mapping[str, float]

    @property
    def by_part(self) -> dict[str, float]:
        """All parameters."""
        parts = dict.fromkeys([*self.weights, *self.others])
        return {part: self.weights.get(part, 0) + self.others.get(part, 0) for part in parts}

    @property
    def total_weights(self) -> float:
        """Weights of all parts: what papers call the size of a model."""
        return sum(self.weights.values())

    @property
    def total(self) -> float:
        """All parameters of all parts."""
        return self.total_weights + sum(self.others.values())


def measure_memory(model: nn.Module) -> Memory:
    """Bytes of a model's parameters, shared ones once; frozen ones count, buffers do not.

    Raises:
        ValueError: the model is packed: its weights are no parameters any more.
    """
    if is_packed(model):
        raise ValueError("the model is packed: count memory and MACs of the one it was packed from")
    weights: Counter[str] = Counter()
    others: Counter[str] = Counter()
    seen: set[int] = set()
    for path, module in model.named_modules():
        part = part_of(path, model)
        for name, parameter in module.named_parameters(recurse=False):
            if id(parameter) in seen or part == NOT_DEPLOYED:
                continue
            seen.add(id(parameter))
            kernel = parameter.dim() > 1
            bits = weight_bits(module) if kernel and name == "weight" else REAL
            (weights if kernel else others)[part] += parameter.numel() * bits
    return Memory(_bytes(weights), _bytes(others))


def _bytes(bits: Mapping[str, int]) -> dict[str, float]:
    return {part: number / 8 for part, number in bits.items()}
