"""Taps: reading features out of a network that knows nothing of it.

A tap stands at a module's output or input, best at a block or head: in-place ReLUs, and the
in-place sigmoid of FCOS's post-processing, change what is captured inside a block or after a head.
Hooks are installed once, before compilation and DDP (a hook added after the first compiled call is
silently missed); they do nothing outside ``recording``.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Literal

from torch import nn

Key = tuple[str, str]  # path and side of a hook


class Tap:
    """A place in a network whose features are captured; equal taps are one and the same.

    Not a dataclass: OmegaConf would turn one in a recipe's list into a configuration of its own.

    Args:
        path: submodule, such as ``backbone.bottom_up.res3`` or ``head.cls_score``.
        call: ``"all"``, or the number of one call in a forward (heads run once per level).
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
    """Ends a forward whose last tap has captured what it was asked for."""


class TapRecorder:
    """The hooks of one network.

    Args:
        model: the network; its hooks are installed here, once.
        taps: every place that will ever be asked for.

    Raises:
        KeyError: a path names no submodule; the message has the nearest ones.
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
        """Capture what passes the taps while the block runs.

        Args:
            taps: those of interest this time.
            calls: how many calls each of them has in a forward; where given, the forward ends
                without its rest once all have happened.

        Yields:
            A dict that holds one list a tap, one entry a call, when the block has ended.

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
        """Called by the hooks."""
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
        return list(values)


class _Probe:
    """A hook as an object: unlike a closure it is copied together with the model that it hooks."""

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
