"""What the processes of a run share besides gradients, which the distributed wrapper averages.

Without it, their losses would differ from those of one process with the whole batch. And a resumed
run, in which each process loads what the main one saved, would differ from an uninterrupted one.
"""

from __future__ import annotations

from functools import partial

import torch
import torch.distributed as dist
from detectron2.modeling.meta_arch.dense_detector import DenseDetector
from detectron2.utils import comm
from torch import nn


def share_loss_normalizers(model: nn.Module) -> None:
    """Make dense detectors normalize their losses as one process with the whole batch would.

    ``loss_normalizer``, a running average of the number of positive cells or anchors, then counts
    those of the whole batch and is equal in all processes. Each process divides its losses by an
    equal share of it, so that averaged gradients, and averaged losses in the log, are those of one
    process. (A process without positives counts as one with a single positive, as the detectors
    themselves count.)

    Args:
        model: the model without its distributed wrapper.
    """
    if comm.get_world_size() == 1:
        return
    for module in model.modules():
        if isinstance(module, DenseDetector):
            # Upstream's RetinaNet and FCOS average the positives of their own process only.
            module._ema_update = partial(_update_of_all, module)


def _update_of_all(
    detector: DenseDetector, name: str, value: float, initial_value: float, momentum: float = 0.9
) -> float:
    total = torch.tensor(float(value), device=detector.device)
    dist.all_reduce(total)
    update = type(detector)._ema_update
    return update(detector, name, total.item(), initial_value, momentum) / comm.get_world_size()


@torch.no_grad()
def share_buffers(model: nn.Module) -> None:
    """Give all processes the main one's batch-norm statistics, which checkpoints hold.

    In training each process keeps statistics of its own, on which no loss depends; evaluation and
    modules in eval mode read them.
    """
    if comm.get_world_size() == 1:
        return
    for buffer in model.buffers():
        # Integers (num_batches_tracked) are equal in all processes already.
        if buffer.is_floating_point():
            dist.broadcast(buffer, 0)
