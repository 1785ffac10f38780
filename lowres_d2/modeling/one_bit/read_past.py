"""Quantized layers whose weights somebody else reads: the result is real-valued, and nothing fails.

As in ``F.linear(x, self.layer.weight)``, where the layer's own ``forward`` is not called.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from lowres_d2.layers.k_bit import KBitWeights
from lowres_d2.layers.one_bit import BinaryWeights

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

_QUANTIZED = (BinaryWeights, KBitWeights)


@contextmanager
def recording_reads(network: nn.Module) -> Iterator[set[str]]:
    """Paths of the quantized layers whose weights enter a computation outside of them meanwhile."""
    owners: dict[int, list[nn.Module]] = defaultdict(list)
    for module in network.modules():
        for parameter in module._parameters.values():
            owners[id(parameter)].append(module)
    paths = {x: path for path, x in network.named_modules() if isinstance(x, _QUANTIZED)}
    # Weights that a real-valued layer has as well may be read by that one.
    watched = {
        id(layer.weight): path
        for layer, path in paths.items()
        if all(isinstance(x, _QUANTIZED) for x in owners[id(layer.weight)])
    }
    reads = _Reads(watched)
    with ExitStack() as stack:
        for layer in paths:
            for hook in (
                layer.register_forward_pre_hook(reads.enter, prepend=True),
                layer.register_forward_hook(reads.leave),
            ):
                stack.callback(hook.remove)
        stack.enter_context(reads)
        yield reads.found


class _Reads(TorchFunctionMode):
    def __init__(self, watched: Mapping[int, str]) -> None:
        super().__init__()
        self.watched = watched
        self.inside = 0  # how many layers are running
        self.found: set[str] = set()

    def enter(self, *_: Any) -> None:
        self.inside += 1

    def leave(self, *_: Any) -> None:
        self.inside -= 1

    def __torch_function__(
        self, func: Callable, types: Any, args: tuple = (), kwargs: Mapping | None = None
    ) -> Any:
        kwargs = kwargs or {}
        output = func(*args, **kwargs)
        if not self.inside and isinstance(output, Tensor):
            self.found |= {self.watched[x] for x in _read(func, args, kwargs) & self.watched.keys()}
        return output


def _read(func: Callable, args: tuple, kwargs: Mapping) -> set[int]:
    """The parameters whose values a function uses, rather than their type and device alone."""
    name = getattr(func, "__name__", "")
    if name.startswith("new_") or name.endswith("_like"):
        return set()
    used = args[:1] if name in ("to", "type_as") else (*args, *kwargs.values())
    return {id(x) for x in used if isinstance(x, nn.Parameter)}
