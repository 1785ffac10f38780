"""Mixed precision, as far as the device supports it (config: ``train.amp``).

Detectron2's ``AMPTrainer`` is for GPUs. Newer CPUs multiply bfloat16 numbers twice as fast as
float32. bfloat16 has the range of float32, so that losses need no scaling and forward passes under
autocast suffice.
"""

from __future__ import annotations

from typing import Any

import torch
from detectron2.engine import HookBase
from omegaconf import DictConfig
from torch import nn


def training_precision(cfg: DictConfig, model: nn.Module) -> torch.dtype | None:
    """The dtype of a run's autocast; None: autocast is off, everything is float32.

    float16 on a GPU; bfloat16 on a CPU that has instructions for it, which older torch cannot tell.
    """
    device = next(model.parameters()).device.type
    if not cfg.train.amp.enabled:
        return None
    if device == "cuda":
        return torch.float16
    return torch.bfloat16 if device == "cpu" and _multiplies_bfloat16() else None


def _multiplies_bfloat16() -> bool:
    if not hasattr(torch.cpu, "get_capabilities"):
        return False
    # Other CPUs have no bfloat16 arithmetic: they convert to float32 and back.
    able = torch.cpu.get_capabilities()
    return bool(able.get("avx512_bf16") or able.get("amx_bf16"))


class CPUAutocast(HookBase):
    """Runs forward passes of training under autocast to bfloat16; evaluation stays in float32."""

    def before_train(self) -> None:
        loop = getattr(self.trainer, "_trainer", self.trainer)
        self._autocast = torch.autocast("cpu", torch.bfloat16)
        self._entered = False
        self._handles = [
            loop.model.register_forward_pre_hook(self._enter),
            # always_call: an iteration that raises must not leave autocast on.
            loop.model.register_forward_hook(self._leave, always_call=True),
        ]

    def after_train(self) -> None:
        for handle in self._handles:
            handle.remove()

    def _enter(self, model: nn.Module, _: Any) -> None:
        if model.training:
            self._autocast.__enter__()
            self._entered = True

    def _leave(self, *_: Any) -> None:
        if self._entered:
            self._entered = False
            self._autocast.__exit__(None, None, None)
