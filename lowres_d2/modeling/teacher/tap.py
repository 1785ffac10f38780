"""Taps: capture features of a network with hooks, without changing its code.

A tap captures a module's output or input. Tap whole blocks and heads: in-place operations change
tensors after their capture, such as ReLUs inside a block and the sigmoid of FCOS's post-processing.
Hooks are installed once, before compilation and DDP (a hook added after the first compiled call is
silently ignored); they do nothing outside ``recording``.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Literal

from torch import nn

Key = tuple[str, str]  # path and side of a hook


class Tap:
    """A place in a network where features are captured; taps compare by value.

    Not a dataclass: OmegaConf would turn a dataclass in a recipe's list into a configuration.

    Args:
        path: submodule, such as ``backbone.bottom_up.res3`` or ``head.cls_score``.
        call: ``"all"``, or the index of one call in a forward (heads run once per level).
        side: the module's output, its first input, or the tuple of all its positional inputs.
    """

    def __init__(
        self,
        path: str,
        call: int | Literal["all"] = "all",
        side: Literal["output", "input", "inputs"] = "output",
    ) -> None:
        if side not in ("output", "input", "inputs"):
            raise ValueError(f"tap {path}: side={side!r}, expected 'output', 'input' or 'inputs'")
        # Not isinstance: `True` is an int to Python.
        if call != "all" and not (type(call) is int and call >= 0):
            raise ValueError(f"tap {path}: call={call!r}, expected 'all' or 0, 1, ...")
        self.path = path
        self.call = call
        self.side = side

    def _identity(self) -> tuple[Any, ...]:
        return self.path, self.call, self.side

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tap) and self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())

    def __repr__(self) -> str:
        return f"Tap{self._identity()}"


class StopForward(Exception):
    """Ends a forward as soon as every tap has captured its calls."""


class TapRecorder:
    """The hooks of one network.

    Args:
        model: the network in which the hooks are installed.
        taps: every tap that will ever be recorded.

    Raises:
        KeyError: a path names no submodule; the message suggests similar ones.
    """

    def __init__(self, model: nn.Module, taps: Collection[Tap]) -> None:
        modules = dict(model.named_modules())
        self._captures: dict[Key, list[Any]] | None = None
        self._stop_at: dict[Key, int] = {}
        for path, side in sorted({(tap.path, tap.side) for tap in taps}):
            if path not in modules:
                raise KeyError(_unknown_path(path, modules))
            probe = _Probe(self, (path, side))
            if side == "output":
                modules[path].register_forward_hook(probe.after)
            else:
                modules[path].register_forward_pre_hook(probe.before)

    @contextmanager
    def recording(
        self, taps: Collection[Tap], calls: dict[Tap, int] | None = None
    ) -> Iterator[dict[Tap, list[Any]]]:
        """Capture the features at the taps while the block runs.

        Args:
            taps: the taps to record this time.
            calls: number of calls of each tap in a forward; if given, the forward stops as soon as
                all of them have happened.

        Yields:
            A dict that is filled at the end of the block: a list per tap with one entry per call.

        Raises:
            RuntimeError: a tap captured nothing.
        """
        captured: dict[Tap, list[Any]] = {}
        if not taps:
            yield captured
            return
        self._captures = {(tap.path, tap.side): [] for tap in taps}
        self._stop_at = {}
        for tap, count in (calls or {}).items():
            key = tap.path, tap.side
            self._stop_at[key] = max(count, self._stop_at.get(key, 0))
        try:
            with suppress(StopForward):
                yield captured
            captured.update({tap: self._of(tap) for tap in taps})
        finally:
            self._captures = None

    def record(self, key: Key, value: Any) -> None:
        """Store a captured value; the hooks call this."""
        if self._captures is None or key not in self._captures:
            return
        self._captures[key].append(value)
        if self._stop_at and all(
            len(self._captures[k]) >= count for k, count in self._stop_at.items()
        ):
            raise StopForward

    def _of(self, tap: Tap) -> list[Any]:
        values = self._captures[tap.path, tap.side]
        if tap.call != "all":
            values = values[tap.call : tap.call + 1]
        if not values:
            raise RuntimeError(
                f"tap {tap.path} (call {tap.call}) captured nothing: the module ran "
                f"{len(self._captures[tap.path, tap.side])} times"
            )
        # A copy: two taps at one place must not share their list.
        return list(values)


class _Probe:
    """A hook as an object: unlike a closure, it is copied together with its model."""

    def __init__(self, recorder: TapRecorder, key: Key) -> None:
        self.recorder = recorder
        self.key = key

    def after(self, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        self.recorder.record(self.key, output)

    def before(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        self.recorder.record(self.key, inputs[0] if self.key[1] == "input" else inputs)


def _unknown_path(path: str, names: Collection[str]) -> str:
    nearest = difflib.get_close_matches(path, names, n=3, cutoff=0.3)
    return f"tap {path!r} names no submodule; nearest: {', '.join(nearest) or 'none'}"
