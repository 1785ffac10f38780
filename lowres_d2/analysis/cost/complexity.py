"""Parameters, memory and MACs of a model, by part.

One multiply-accumulate counts 1. Counted are convolutions (deformable ones too), linear layers and
matrix products, attention's included, by the formulas of ``torch.utils.flop_counter``. They apply
to each operation as it runs, so no model needs tracing. Not counted are interpolation (bicubic
resampling, ``grid_sample``, RoIAlign), norms, activations, sums, pooling, NMS and the preparation
of images. The MACs of a two-stage head are those for the proposals that it got. MACs of layers of
few bits are counted apart, too; OPs weigh them (``lowres_d2.analysis.cost.memory``).
``lowres_d2.analysis.cost.counting_rules`` has this rule and mmcv's, by which many papers count.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from lowres_d2.analysis.cost.counting_rules import MACS, CountingRule
from lowres_d2.analysis.cost.memory import (
    REAL,
    Memory,
    measure_memory,
    share_of_operation,
    weight_bits,
)
from lowres_d2.analysis.cost.parts import NOT_DEPLOYED, metering, part_of

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode


@dataclass(frozen=True)
class Complexity:
    """Parameters, memory and MACs of a model.

    Attributes:
        parameters: number by part (``lowres_d2.analysis.cost.parts``), without objectives.
        memory: bytes of these parameters.
        macs_by_bits: MACs of a forward pass by bits of the weights, then by part, mean over the
            images; real-valued ones are those of 32 bits.
        images: number of images.
    """

    parameters: Mapping[str, int]
    memory: Memory
    macs_by_bits: Mapping[int, Mapping[str, float]]
    images: int

    @property
    def total_parameters(self) -> int:
        """Parameters of all parts."""
        return sum(self.parameters.values())

    @property
    def macs(self) -> dict[str, float]:
        """MACs by part, of all bits."""
        return self._weighed(lambda bits: 1)

    @property
    def ops(self) -> dict[str, float]:
        """OPs by part: real-valued MACs, and a share of those of few bits."""
        return self._weighed(share_of_operation)

    @property
    def low_bit_macs(self) -> dict[str, float]:
        """MACs of layers of few bits by part; empty for a real-valued model."""
        return self._weighed(lambda bits: int(bits < REAL))

    @property
    def total_macs(self) -> float:
        """MACs of all parts."""
        return sum(self.macs.values())

    @property
    def total_ops(self) -> float:
        """OPs of all parts."""
        return sum(self.ops.values())

    def _weighed(self, weight: Callable[[int], float]) -> dict[str, float]:
        sums: Counter[str] = Counter()
        for bits, macs in self.macs_by_bits.items():
            sums.update({part: weight(bits) * number for part, number in macs.items()})
        return {part: number for part, number in sums.items() if number}


def count_parameters(model: nn.Module) -> dict[str, int]:
    """Parameters by part, shared ones once; frozen ones count, buffers do not."""
    counts: Counter[str] = Counter()
    for name, parameter in model.named_parameters():
        counts[part_of(name.rpartition(".")[0], model)] += parameter.numel()
    counts.pop(NOT_DEPLOYED, None)
    return dict(counts)


@torch.no_grad()
def measure_complexity(
    model: nn.Module, images: Sequence[dict[str, Any]], rule: CountingRule = MACS
) -> Complexity:
    """Count a model's parameters, and its MACs while it runs on images, one at a time.

    Args:
        model: a detector, or a composition with one; put into evaluation mode.
        images: Detectron2 inputs.
        rule: what counts; the MACs of another rule than the default are what it counts instead.

    Raises:
        ValueError: there is no image, or the model is packed.
    """
    if not images:
        raise ValueError("no image to count MACs on: give at least one")
    memory = measure_memory(model)
    model.eval()
    sums: dict[int, Counter[str]] = {bits: Counter() for bits in _bits_of(model)}
    # Fused attention is one operation, which not every version of the counter knows.
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH), _Counter(rule) as counter, counter.telling_bits(model):
            for image in images:
                with ExitStack() as stack:
                    macs = {
                        bits: stack.enter_context(metering(model, counter.meter(bits)))
                        for bits in sums
                    }
                    model([image])
                for bits, found in macs.items():
                    sums[bits].update(found)
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
    means = {
        bits: {part: total / len(images) for part, total in found.items() if total}
        for bits, found in sums.items()
    }
    return Complexity(count_parameters(model), memory, means, len(images))


@contextmanager
def counted(rule: CountingRule = MACS) -> Iterator[Callable[[], int]]:
    """Count what runs while the block does, on the meta device too, which only makes shapes.

    Yields:
        Function that returns the count so far.
    """
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), _Counter(rule) as counter:
        yield counter.meter(REAL)


def _bits_of(model: nn.Module) -> list[int]:
    """All numbers of bits that a model's weights have, 32 first."""
    return sorted({REAL, *(weight_bits(module) for module in model.modules())}, reverse=True)


class _Counter(TorchDispatchMode):
    """Adds up what operations count that run while it is active.

    ``FlopCounterMode`` also tracks modules, in a way that fails where a parameter is the input of
    one; only its formulas are needed here.
    """

    def __init__(self, rule: CountingRule) -> None:
        super().__init__()
        self._rule = rule
        self._macs: Counter[int] = Counter()
        self._bits = [REAL]  # of the layers of few bits that run now, the innermost one last

    def meter(self, bits: int) -> Callable[[], float]:
        """Function that returns the MACs so far of layers with weights of this many bits."""
        return lambda: self._macs[bits]

    @contextmanager
    def telling_bits(self, model: nn.Module) -> Iterator[None]:
        """Watch which layers of few bits run while the block does."""
        handles = []
        for module in model.modules():
            if (bits := weight_bits(module)) < REAL:
                enter, leave = self._watch(bits)
                handles.append(module.register_forward_pre_hook(enter))
                handles.append(module.register_forward_hook(leave))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _watch(self, bits: int) -> tuple[Callable[..., None], Callable[..., None]]:
        def enter(*_: Any) -> None:
            self._bits.append(bits)

        def leave(*_: Any) -> None:
            self._bits.pop()

        return enter, leave

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        self._macs[self._bits[-1]] += self._rule.count(func._overloadpacket, args, kwargs, result)
        return result
