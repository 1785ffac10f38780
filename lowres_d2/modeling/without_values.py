"""Models built for their structure alone: parameters with names and shapes, without values."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode


@contextmanager
def without_values() -> Iterator[None]:
    """Modules built within are on the device ``meta``: they take no memory, and little time."""
    with torch.device("meta"), _NoInitialisation():
        yield


# Initialisation of tensors on ``meta`` changes nothing, but runs in Python: it would take half of
# the time of a build. Tensors on other devices are initialised as ever.
_LEFT_OUT = {
    torch.Tensor.normal_,
    torch.Tensor.uniform_,
    nn.init.constant_,
    nn.init.kaiming_uniform_,
    nn.init.normal_,
    nn.init.uniform_,
}


class _NoInitialisation(TorchFunctionMode):
    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func in _LEFT_OUT:
            tensor = args[0] if args else kwargs["tensor"]
            if tensor.is_meta:
                return tensor
        return func(*args, **kwargs)
