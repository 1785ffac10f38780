"""Memory of feature maps, used again once nobody holds the map.

The system gives large pieces of memory page by page, and takes them back at once: filling the pages
of a new map costs more time than its bit counts do. What is free is kept here, up to ``KEPT``.
"""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict

import numpy as np
import torch
from jaxtyping import Shaped
from torch import Tensor

KEPT = 1 << 28  # bytes that are free, at most
_SMALL = 1 << 16  # bytes below which the system keeps its memory itself
_LINE = 64  # bytes of a cache line

_free: OrderedDict[int, list[np.ndarray]] = OrderedDict()  # by size, the latest used last
_held: dict[int, tuple[weakref.ref, np.ndarray]] = {}
_lock = threading.RLock()  # a map may be collected while the lock is held


def new_map(*shape: int, dtype: torch.dtype = torch.float32) -> Shaped[Tensor, "*any"]:
    """A tensor whose values are whatever was there before."""
    number = 1
    for length in shape:
        number *= length
    size = number * dtype.itemsize
    if size < _SMALL:
        return torch.empty(shape, dtype=dtype)
    size = _rounded(size)
    with _lock:
        pieces = _free.get(size)
        memory = pieces.pop() if pieces else np.empty(size + _LINE, np.uint8)
        start = -memory.ctypes.data % _LINE
        view = memory[start : start + size]
        # The tensor and all its views hold `view`, and nothing else does.
        key = id(view)
        _held[key] = weakref.ref(view, lambda _: _give_back(key, size)), memory
    return torch.from_numpy(view)[: number * dtype.itemsize].view(dtype).view(shape)


def new_features(number: int, channels: int, height: int, width: int) -> Shaped[Tensor, "N C h w"]:
    """Such a tensor of float32, channels last."""
    return new_map(number, height, width, channels).permute(0, 3, 1, 2)


def free_bytes() -> int:
    """Memory that is kept and that nobody uses."""
    with _lock:
        return sum(size * len(pieces) for size, pieces in _free.items())


def _rounded(size: int) -> int:
    """Up by an eighth at most, so that images of about the same size share memory."""
    step = 1 << max(size.bit_length() - 4, 0)
    return -(-size // step) * step


def _give_back(key: int, size: int) -> None:
    with _lock:
        _, memory = _held.pop(key)
        _free.setdefault(size, []).append(memory)
        _free.move_to_end(size)
        while free_bytes() > KEPT:
            oldest = next(iter(_free))
            _free[oldest].pop()
            if not _free[oldest]:
                del _free[oldest]
