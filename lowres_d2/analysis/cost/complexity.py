"""Parameters and MACs of a model, by part.

One multiply-accumulate counts 1. Counted are convolutions (deformable ones too), linear layers and
matrix products, attention's included, by the formulas of ``torch.utils.flop_counter``. They apply
to each operation as it runs, so no model needs tracing. Not counted are interpolation (bicubic
resampling, ``grid_sample``, RoIAlign), norms, activations, sums, pooling, NMS and the preparation
of images. The MACs of a two-stage head are those for the proposals that it got.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lowres_d2.analysis.cost.parts import metering, part_of

import torch
import torchvision  # noqa: F401  (registers its operators)
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import conv_flop_count, flop_registry

# Trained with the model, and dropped at deployment.
_NOT_DEPLOYED = "objectives"


@dataclass(frozen=True)
class Complexity:
    """Parameters and MACs of a model.

    Attributes:
        parameters: number by part (``lowres_d2.analysis.cost.parts``), without objectives.
        macs: MACs of a forward pass by part, mean over the images.
        images: number of images.
    """

    parameters: Mapping[str, int]
    macs: Mapping[str, float]
    images: int

    @property
    def total_parameters(self) -> int:
        """Parameters of all parts."""
        return sum(self.parameters.values())

    @property
    def total_macs(self) -> float:
        """MACs of all parts."""
        return sum(self.macs.values())


def count_parameters(model: nn.Module) -> dict[str, int]:
    """Parameters by part, shared ones once; frozen ones count, buffers do not."""
    counts: Counter[str] = Counter()
    for name, parameter in model.named_parameters():
        counts[part_of(name.rpartition(".")[0], model)] += parameter.numel()
    counts.pop(_NOT_DEPLOYED, None)
    return dict(counts)


@torch.no_grad()
def measure_complexity(model: nn.Module, images: Sequence[dict[str, Any]]) -> Complexity:
    """Count a model's parameters, and its MACs while it runs on images, one at a time.

    Args:
        model: a detector, or a composition with one; put into evaluation mode.
        images: Detectron2 inputs.

    Raises:
        ValueError: there is no image.
    """
    if not images:
        raise ValueError("no image to count MACs on: give at least one")
    model.eval()
    sums: Counter[str] = Counter()
    # Fused attention is one operation, which not every version of the counter knows.
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH), _Counter() as counter:
            for image in images:
                with metering(model, lambda: counter.macs) as macs:
                    model([image])
                sums.update(macs)
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
    means = {part: total / len(images) for part, total in sums.items() if total}
    return Complexity(count_parameters(model), means, len(images))


def _deformable_convolution(image: Tensor, weight: Tensor, *_: Any, out_val: Tensor) -> int:
    """FLOPs of a plain convolution: sampling at offsets is interpolation, which does not count."""
    return conv_flop_count(image.shape, weight.shape, out_val.shape)


_FORMULAS = {**flop_registry, torch.ops.torchvision.deform_conv2d: _deformable_convolution}


class _Counter(TorchDispatchMode):
    """Adds up the MACs of the operations that run while it is active.

    ``FlopCounterMode`` also tracks modules, in a way that fails where a parameter is the input of
    one; only its formulas are needed here.
    """

    def __init__(self) -> None:
        super().__init__()
        self.macs = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        formula = _FORMULAS.get(func._overloadpacket)
        if formula is not None:  # gives FLOPs: two per MAC
            self.macs += formula(*args, **(kwargs or {}), out_val=result) // 2
        return result
