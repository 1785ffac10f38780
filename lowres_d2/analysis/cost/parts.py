"""MACs, seconds or any other count, attributed to the parts of a model.

A part is named for its role: ``resampler``; ``backbone``; ``neck`` (what a pyramid adds to its
``bottom_up``); ``head``, ``proposal_generator``, ``roi_heads``, ``encoder``, ``decoder``, ... (the
detector's other modules); ``rest`` (outside all modules: normalising, batching, post-processing).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

REST = "rest"
# Trained with the model, and dropped at deployment.
NOT_DEPLOYED = "objectives"
# What an image passes first; the other parts follow in the order of the model.
_FIRST = ("resampler", "backbone", "neck")
# Containers: the names of their submodules say more.
_HOLDERS = ("detector", "transformer")


def part_of(path: str, model: nn.Module) -> str:
    """The part that a submodule belongs to.

    Args:
        path: its name within the model; empty for the model itself.
        model: a detector, or a composition with one.
    """
    names = path.split(".") if path else []
    holder = model
    while names and names[0] in _HOLDERS:
        holder = getattr(holder, names.pop(0))
    if not names:
        return REST
    if names[0] == "backbone" and hasattr(holder.backbone, "bottom_up"):
        return "backbone" if names[1:2] == ["bottom_up"] else "neck"
    return names[0]


def in_order(parts: Iterable[str]) -> list[str]:
    """The distinct parts in the order in which an image passes them, ``rest`` last."""
    given = dict.fromkeys(parts)
    middle = [part for part in given if part not in (*_FIRST, REST)]
    return [*(p for p in _FIRST if p in given), *middle, *([REST] if REST in given else [])]


@contextmanager
def metering(model: nn.Module, meter: Callable[[], float]) -> Iterator[dict[str, float]]:
    """Attribute what a meter counts while the block runs to the parts of a model.

    Of nested modules, the innermost one that runs gets the count.

    Args:
        model: model whose submodules are watched.
        meter: function that returns a number which never decreases.

    Yields:
        Amount by part; what is counted while the model does not run is in ``rest``.
    """
    spent: dict[str, float] = defaultdict(float)
    running, last = [REST], meter()

    def settle() -> None:
        nonlocal last
        now = meter()
        spent[running[-1]] += now - last
        last = now

    def enter(part: str) -> Callable[..., None]:
        def hook(*_: Any) -> None:
            settle()
            running.append(part)

        return hook

    def leave(*_: Any) -> None:
        settle()
        running.pop()

    handles = []
    for path, module in model.named_modules():
        handles.append(module.register_forward_pre_hook(enter(part_of(path, model))))
        handles.append(module.register_forward_hook(leave))
    try:
        yield spent
        settle()
    finally:
        for handle in handles:
            handle.remove()
