"""Names of the yacs config system, which only upstream has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from detectron2._uncovered import uncovered

CfgNode = uncovered("CfgNode")
downgrade_config = uncovered("downgrade_config")
get_cfg = uncovered("get_cfg")
global_cfg = uncovered("global_cfg")
set_global_cfg = uncovered("set_global_cfg")
upgrade_config = uncovered("upgrade_config")


def configurable(
    init_func: Callable[..., Any] | None = None, *, from_config: Callable[..., Any] | None = None
) -> Any:
    """Decorator that changes nothing: without yacs configs, explicit arguments are the only ones.

    Args:
        init_func: what is decorated.
        from_config: would translate a yacs config into arguments; not used.
    """
    return (lambda function: function) if init_func is None else init_func
