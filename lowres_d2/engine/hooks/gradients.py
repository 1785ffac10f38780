"""Clip gradients between the backward pass and ``optimizer.step`` (``train.clip_gradients``)."""

from __future__ import annotations

import torch
from detectron2.engine import HookBase
from detectron2.utils.events import get_event_storage


class GradientClipping(HookBase):
    """Clips the norm over all parameters, or each value; logs the norm before clipping.

    Args:
        kind: ``norm`` or ``value``.
        limit: largest norm, or largest absolute value.
    """

    def __init__(self, kind: str, limit: float) -> None:
        if kind not in ("norm", "value"):
            raise ValueError(f"train.clip_gradients.kind={kind!r}: expected norm or value")
        self.kind, self.limit = kind, limit

    def after_backward(self) -> None:
        # Detectron2's DefaultTrainer keeps the loop, with model and optimizer, in `_trainer`.
        loop = getattr(self.trainer, "_trainer", self.trainer)
        scaler = getattr(loop, "grad_scaler", None)
        if scaler is not None:  # the limit is for unscaled gradients
            scaler.unscale_(loop.optimizer)
        parameters = [p for group in loop.optimizer.param_groups for p in group["params"]]
        if self.kind == "value":
            torch.nn.utils.clip_grad_value_(parameters, self.limit)
            return
        norm = torch.nn.utils.clip_grad_norm_(parameters, self.limit)
        get_event_storage().put_scalar("gradient_norm", float(norm))
