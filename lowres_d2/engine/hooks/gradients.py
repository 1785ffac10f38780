"""Clip gradients between the backward pass and ``optimizer.step`` (``train.clip_gradients``)."""

from __future__ import annotations

import torch
from detectron2.engine import HookBase
from detectron2.utils.events import get_event_storage

KINDS = ("norm", "value", "adjustable")


class GradientClipping(HookBase):
    """Clips the norm over all parameters, which it logs before, or each value.

    Args:
        kind: ``norm``, ``value`` or ``adjustable``: each value to what lets SGD move its weight by
            at most the limit, "Accurate image super-resolution using very deep convolutional
            networks", CVPR 2016, Sec. 3.2.
        limit: largest norm, or largest absolute value; of ``adjustable`` theta, the largest
            absolute value times the learning rate.
    """

    def __init__(self, kind: str, limit: float) -> None:
        if kind not in KINDS:
            raise ValueError(
                f"train.clip_gradients.kind={kind!r}: expected {', '.join(KINDS[:-1])} or "
                f"{KINDS[-1]}"
            )
        self.kind, self.limit = kind, limit

    def after_backward(self) -> None:
        # Detectron2's DefaultTrainer keeps the loop, with model and optimizer, in `_trainer`.
        loop = getattr(self.trainer, "_trainer", self.trainer)
        scaler = getattr(loop, "grad_scaler", None)
        if scaler is not None:  # the limit is for unscaled gradients
            scaler.unscale_(loop.optimizer)
        groups = loop.optimizer.param_groups
        if self.kind == "adjustable":
            for group in groups:
                # The schedule sets the rate of the next iteration after this hook.
                rate = float(group["lr"])
                if rate:  # with none, no gradient moves a weight
                    torch.nn.utils.clip_grad_value_(group["params"], self.limit / rate)
            return
        parameters = [p for group in groups for p in group["params"]]
        if self.kind == "value":
            torch.nn.utils.clip_grad_value_(parameters, self.limit)
            return
        norm = torch.nn.utils.clip_grad_norm_(parameters, self.limit)
        get_event_storage().put_scalar("gradient_norm", float(norm))
