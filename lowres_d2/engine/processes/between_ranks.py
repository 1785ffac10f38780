"""What the processes of a run must agree on besides gradients, which are averaged anyway.

Without it their losses would not be those of one process with the whole batch, and a run that
resumes, each process with what the main one saved, would not go on as it was.
"""

from __future__ import annotations

from functools import partial

import torch
import torch.distributed as dist
from detectron2.modeling.meta_arch.dense_detector import DenseDetector
from detectron2.utils import comm
from torch import nn


def share_loss_normalizers(model: nn.Module) -> None:
    """Let dense detectors divide their losses by what one process with the whole batch would.

    ``loss_normalizer``, a running average of positive cells or anchors, then counts those of the
    whole batch and is equal everywhere. Each process divides by its equal share of it, so that
    averaged gradients, and averaged losses in the log, are one process's. (A process without any
    counts as one with one; the detectors' own rule.)

    Args:
        model: without its distributed wrapper.
    """
    if comm.get_world_size() == 1:
        return
    for module in model.modules():
        if isinstance(module, DenseDetector):
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
    """Give all processes the main one's batch-norm statistics, which are those that are saved.

    In training each process keeps its own, which no loss depends on; evaluation and layers that are
    put into eval mode read them.
    """
    if comm.get_world_size() == 1:
        return
    for buffer in model.buffers():
        if buffer.is_floating_point():
            dist.broadcast(buffer, 0)
