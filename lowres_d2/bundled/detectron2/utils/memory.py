"""A second and a third try for functions that run out of GPU memory."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from typing import Any

import torch

__all__ = ["retry_if_cuda_oom"]


def retry_if_cuda_oom(func: Callable[..., Any]) -> Callable[..., Any]:
    """Make `func` try again with an emptied cache, then on the CPU, when the GPU is full.

    Tensors among the arguments are moved to the CPU for the last try, those inside containers are
    not; the result of that try stays on the CPU.
    """

    @wraps(func)
    def patient(*args: Any, **kwargs: Any) -> Any:
        for _ in range(2):
            # Past this block the exception, and with it the memory it holds, is let go.
            with suppress(torch.cuda.OutOfMemoryError):
                return func(*args, **kwargs)
            torch.cuda.empty_cache()
        name = getattr(func, "__qualname__", repr(func))
        logging.getLogger(__name__).info("CUDA out of memory: %s runs on the CPU instead", name)
        return func(*map(_to_cpu, args), **{key: _to_cpu(value) for key, value in kwargs.items()})

    return patient


def _to_cpu(value: Any) -> Any:
    device = getattr(value, "device", None)
    on_gpu = isinstance(device, torch.device) and device.type == "cuda"
    return value.to(device="cpu") if on_gpu and hasattr(value, "to") else value
