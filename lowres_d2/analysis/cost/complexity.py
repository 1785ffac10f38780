"""Parameters and multiply-adds (MACs) of a model, by part.

A multiply-add counts 1. Counted is what runs in convolutions (deformable ones too), linear layers
and matrix products, attention's included, by the formulas of ``torch.utils.flop_counter`` on the
operations as they happen, so that no model needs tracing. Not counted are interpolation (bicubic
resampling, ``grid_sample``, RoIAlign), norms, activations, sums, pooling, NMS and the preparation
of images. A two-stage head counts for as many proposals as it got.
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
    """What a model costs.

    Attributes:
        parameters: by part, see ``lowres_d2.analysis.cost.parts``, without those of objectives.
        macs: multiply-adds of a forward by part, mean over the images.
        images: how many these were.
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
        """Multiply-adds of all parts."""
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
    """Run a model on images, one at a time, and count.

    Args:
        model: a detector, or a composition with one; put into evaluation mode.
        images: Detectron2 inputs.

    Raises:
        ValueError: there is no image.
    """
    if not images:
        raise ValueError("no image to count multiply-adds on: give at least one")
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
    """Floating-point operations: those of the convolution without its offsets."""
    return conv_flop_count(image.shape, weight.shape, out_val.shape)


_FORMULAS = {**flop_registry, torch.ops.torchvision.deform_conv2d: _deformable_convolution}


class _Counter(TorchDispatchMode):
    """Adds up what runs while it is on.

    ``FlopCounterMode`` also follows modules, in a way that fails where a parameter is the input of
    one; its formulas are all that is needed.
    """

    def __init__(self) -> None:
        super().__init__()
        self.macs = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        formula = _FORMULAS.get(func._overloadpacket)
        if formula is not None:
            self.macs += formula(*args, **(kwargs or {}), out_val=result) // 2
        return result
