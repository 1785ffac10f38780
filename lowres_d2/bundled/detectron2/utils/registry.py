"""Objects by name: registries, and the way from an object to its importable name and back."""

from __future__ import annotations

import pkgutil
from typing import Any

from fvcore.common.registry import Registry

__all__ = ["Registry", "locate"]


def _convert_target_to_string(t: Any) -> str:
    """Shortest importable name of a class or function, the one its users write."""
    parts = t.__module__.split(".")
    full = f"{t.__module__}.{t.__qualname__}"
    shorter = (".".join([*parts[:k], t.__qualname__]) for k in range(1, len(parts)))
    return next((name for name in shorter if _find(name) is t), full)


def _find(name: str) -> Any:
    try:
        return pkgutil.resolve_name(name)
    except (ImportError, AttributeError, ValueError):
        return None


def locate(name: str) -> Any:
    """The object of an importable name such as "torch.optim.SGD".

    Raises:
        ImportError: there is none.
    """
    try:
        return pkgutil.resolve_name(name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ImportError(f"cannot locate {name!r}: {error}") from error
