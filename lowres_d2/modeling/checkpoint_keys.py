"""Names of weights inside and outside the composition.

The composition saves ``detector.*``, ``resampler.*`` and ``objectives.*``; a plain or zoo detector
has the names that follow ``detector.``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from torch import Tensor, nn

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
    file_is_composed = any(name.startswith(PREFIX) for name in state_dict)
    model_is_composed = any(name.startswith(PREFIX) for name in model.state_dict())
    if model_is_composed and not file_is_composed:
        return {PREFIX + name: value for name, value in state_dict.items()}
    if file_is_composed and not model_is_composed:
        return {
            name.removeprefix(PREFIX): value
            for name, value in state_dict.items()
            if name.startswith(PREFIX)
        }
    return dict(state_dict)


def bare_detector_state_dict(model: nn.Module) -> dict[str, Tensor]:
    """Weights of a composition's detector under the names that the plain detector has."""
    return dict(model.detector.state_dict())
