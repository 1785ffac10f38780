"""Names of weights in a composition, in a plain detector, and in a moving average.

A composition has ``detector.*``, ``resampler.*`` and ``objectives.*``. A plain or zoo detector has
the names without ``detector.``. A moving average has ``module.`` in front of all names.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from torch import nn

T = TypeVar("T")
PREFIX = "detector."


def route_detector_checkpoint(state_dict: Mapping[str, T], model: nn.Module) -> dict[str, T]:
    """Rename the weights of a plain detector or a composition so that they fit the model.

    Args:
        state_dict: weights of a plain detector or of a composition.
        model: the model to load them into, a plain detector or a composition.

    Returns:
        The weights under the model's names. If the model is a plain detector, those of a resampler
        and of objectives are left out.
    """
    bare = bare_detector_state_dict(state_dict)
    model_is_composed = any(name.startswith(PREFIX) for name in model.state_dict())
    if model_is_composed and not bare:
        return {PREFIX + name: value for name, value in state_dict.items()}
    if bare and not model_is_composed:
        return bare
    return dict(state_dict)  # both are of the same kind


def bare_detector_state_dict(state_dict: Mapping[str, T]) -> dict[str, T]:
    """The detector's weights in a composition, under the names of the plain detector."""
    return _below(PREFIX, state_dict)


def averaged_weights(state: Mapping[str, T]) -> dict[str, T]:
    """The model's weights in the ``ema`` entry of a checkpoint."""
    return _below("module.", state)


def evaluated_state_dict(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """The weights that a run evaluated: the moving average if its checkpoint has one."""
    return averaged_weights(checkpoint["ema"]) if "ema" in checkpoint else checkpoint["model"]


def _below(prefix: str, state_dict: Mapping[str, T]) -> dict[str, T]:
    return {
        name.removeprefix(prefix): value
        for name, value in state_dict.items()
        if name.startswith(prefix)
    }
