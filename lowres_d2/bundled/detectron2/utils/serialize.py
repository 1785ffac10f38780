"""Pickling of what pickle refuses: lambdas, local functions."""

from __future__ import annotations

from typing import Any

import cloudpickle


class PicklableWrapper:
    """A callable that pickles by cloudpickle; after unpickling it is the bare object again."""

    def __init__(self, obj: Any):
        self._obj = obj._obj if isinstance(obj, PicklableWrapper) else obj

    def __reduce__(self) -> tuple[Any, ...]:
        return cloudpickle.loads, (cloudpickle.dumps(self._obj),)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._obj(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        if name == "_obj":
            raise AttributeError(name)
        return getattr(self._obj, name)
