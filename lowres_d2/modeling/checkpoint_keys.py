"""Names of weights inside and outside the composition.

The composition saves ``detector.*``, ``resampler.*`` and ``objectives.*``; a plain or zoo detector
has the names that follow ``detector.``; a moving average has ``module.`` before all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from torch import nn

T = TypeVar("T")
PREFIX = "detector."


def route_detector_checkpoint(state_dict: Mapping[str, T], model: nn.Module) -> dict[str, T]:
    """Rename a detector's weights so that they fit the model, whichever of the two is composed.

    Args:
        state_dict: weights of a plain detector or of a composition.
        model: what they are loaded into, a plain detector or a composition.

    Returns:
        The weights under the model's names. Those of a resampler or of objectives are left out
        where the model is a plain detector.
    """
    bare = bare_detector_state_dict(state_dict)
    model_is_composed = any(name.startswith(PREFIX) for name in model.state_dict())
    if model_is_composed and not bare:
        return {PREFIX + name: value for name, value in state_dict.items()}
    if bare and not model_is_composed:
        return bare
    return dict(state_dict)


def bare_detector_state_dict(state_dict: Mapping[str, T]) -> dict[str, T]:
    """A composition's weights of its detector, under the names that the plain detector has."""
    return _below(PREFIX, state_dict)


def averaged_weights(state: Mapping[str, T]) -> dict[str, T]:
    """The model's weights in what a checkpoint stores under ``ema``."""
    return _below("module.", state)


def evaluated_state_dict(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """The weights that a run evaluated: their moving average where its checkpoint has one."""
    return averaged_weights(checkpoint["ema"]) if "ema" in checkpoint else checkpoint["model"]


def _below(prefix: str, state_dict: Mapping[str, T]) -> dict[str, T]:
    return {
        name.removeprefix(prefix): value
        for name, value in state_dict.items()
        if name.startswith(prefix)
    }
