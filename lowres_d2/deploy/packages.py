"""Packages that only some ways of deployment need, imported when they are used."""

from __future__ import annotations

import importlib
from typing import Any


def needed(module: str, task: str, install: str) -> Any:
    """A module, or an error that says how to get it.

    Args:
        module: its name.
        task: what needs it, for the message.
        install: arguments of ``pip install``.

    Raises:
        ModuleNotFoundError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"{task}: {error}; pip install {install}") from None
