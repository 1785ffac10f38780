"""Selection and weights of losses.

Every loss is called ``<group>/<name>``: the group is ``detector`` or an objective's name. Patterns
are shell-style and match group and name separately, such as ``*/loss_cls``. A pattern without a
slash stands for a whole group: ``detector`` is ``detector/*``. Whether a group has an active loss
is known before its losses are computed.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping, Sequence
from fnmatch import fnmatchcase

from lowres_d2.modeling.loss_weight import check_loss_weight

import torch
from detectron2.utils.events import get_event_storage, has_event_storage
from jaxtyping import Float
from torch import Tensor

DETECTOR = "detector"


class LossTerms:
    """Selects, weights and logs the losses of a composition.

    Args:
        groups: names of all groups.
        weights: weight by pattern, 0 or more; the first pattern that fits a loss decides, 1 if none
            does.

    Raises:
        ValueError: a pattern fits no group, or a weight is negative or not finite.
    """

    def __init__(self, groups: Collection[str], weights: Mapping[str, float]) -> None:
        self.groups = tuple(groups)
        self.weights = dict(weights)
        self._check(self.weights)
        for pattern, weight in self.weights.items():
            check_loss_weight(f"model.loss_weights.{pattern}", weight)
        self._active: tuple[str, ...] = ("*",)

    @property
    def active(self) -> tuple[str, ...]:
        """Patterns of the losses to train with."""
        return self._active

    @active.setter
    def active(self, patterns: Sequence[str]) -> None:
        self._check(patterns)
        self._active = tuple(patterns)

    def may_count(self, group: str) -> bool:
        """Whether any loss of the group can be active."""
        return any(fnmatchcase(group, _parts(pattern)[0]) for pattern in self._active)

    def combine(
        self, raw: Mapping[str, Mapping[str, Float[Tensor, ""]]]
    ) -> dict[str, Float[Tensor, ""]]:
        """Weighted active losses; their unweighted values are logged to the event storage.

        Args:
            raw: unweighted losses by name, for each group.

        Returns:
            The detector's losses under their own names, the objectives' as
            ``loss_<group>_<name>``.

        Raises:
            ValueError: no loss is active.
        """
        losses, unweighted = {}, {}
        for group, terms in raw.items():
            for name, value in terms.items():
                if not any(_fits(pattern, group, name) for pattern in self._active):
                    continue
                weight = self._weight(group, name)
                key = name if group == DETECTOR else f"loss_{group}_{name}"
                losses[key] = value if weight == 1 else weight * value
                # What is returned is logged by the trainer, unweighted losses of the detector too.
                if group != DETECTOR or weight != 1:
                    unweighted[f"[metric]{group}/{name}"] = value.detach()
        if not losses:
            raise ValueError(
                f"no loss is active under the patterns {list(self._active)}: the losses are "
                f"{[f'{group}/{name}' for group, terms in raw.items() for name in terms]}"
            )
        _log(unweighted)
        return losses

    def _weight(self, group: str, name: str) -> float:
        fitting = (w for pattern, w in self.weights.items() if _fits(pattern, group, name))
        return next(fitting, 1.0)

    def _check(self, patterns: Collection[str]) -> None:
        # Each character of a string would pass for a pattern.
        if isinstance(patterns, str):
            raise ValueError(f"loss patterns {patterns!r}: expected a list of patterns")
        for pattern in patterns:
            group = _parts(pattern)[0]
            if not any(fnmatchcase(known, group) for known in self.groups):
                nearest = difflib.get_close_matches(group, self.groups, n=1, cutoff=0)
                raise ValueError(
                    f"loss pattern {pattern!r} fits no loss: groups are {', '.join(self.groups)}; "
                    f"nearest: {nearest[0]}/*"
                )


def _parts(pattern: str) -> tuple[str, str]:
    group, _, name = pattern.partition("/")
    return group, name or "*"


def _fits(pattern: str, group: str, name: str) -> bool:
    group_pattern, name_pattern = _parts(pattern)
    return fnmatchcase(group, group_pattern) and fnmatchcase(name, name_pattern)


def _log(values: Mapping[str, Float[Tensor, ""]]) -> None:
    if values and has_event_storage():
        # One transfer from the device for all values, instead of one for each.
        numbers = torch.stack([value.float() for value in values.values()]).tolist()
        get_event_storage().put_scalars(**dict(zip(values, numbers, strict=True)))
