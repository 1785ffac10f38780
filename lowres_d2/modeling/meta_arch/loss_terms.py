"""Which losses count, and how much.

Every loss is called ``<group>/<name>``: the group is ``detector`` or an objective's name. Patterns
are shell-style, each part matched on its own; one without a slash stands for its whole group, so
that ``detector``, ``feature/*`` and ``*/loss_cls`` all say what they seem to say. Whether a group
counts at all is known without computing it.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping, Sequence
from fnmatch import fnmatchcase

import torch
from detectron2.utils.events import get_event_storage, has_event_storage
from torch import Tensor

DETECTOR = "detector"


class LossTerms:
    """Selects, weights and logs the losses of a composition.

    Args:
        groups: names of all groups.
        weights: pattern to weight; the first pattern that fits a loss decides, 1 where none does.
    """

    def __init__(self, groups: Collection[str], weights: Mapping[str, float]) -> None:
        self.groups = tuple(groups)
        self.weights = dict(weights)
        self._check(self.weights)
        self._active: tuple[str, ...] = ("*",)

    @property
    def active(self) -> tuple[str, ...]:
        """Patterns of the losses that count."""
        return self._active

    @active.setter
    def active(self, patterns: Sequence[str]) -> None:
        self._check(patterns)
        self._active = tuple(patterns)

    def may_count(self, group: str) -> bool:
        """Whether any loss of the group can be active."""
        return any(fnmatchcase(group, _parts(pattern)[0]) for pattern in self._active)

    def combine(self, raw: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """Weighted active losses, ready to be summed; raw values go to the event storage.

        Args:
            raw: for each group its raw losses by name.

        Returns:
            The detector's losses under their own names, those of objectives as
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
                if group != DETECTOR or weight != 1:
                    unweighted[f"[metric]{group}/{name}"] = value.detach()
        if not losses:
            raise ValueError(
                f"no loss is active under the patterns {list(self._active)}: there are "
                f"{[f'{group}/{name}' for group, terms in raw.items() for name in terms]}"
            )
        _log(unweighted)
        return losses

    def _weight(self, group: str, name: str) -> float:
        fitting = (w for pattern, w in self.weights.items() if _fits(pattern, group, name))
        return next(fitting, 1.0)

    def _check(self, patterns: Collection[str]) -> None:
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


def _log(values: Mapping[str, Tensor]) -> None:
    if values and has_event_storage():
        # One transfer for all of them, not one wait for the device each.
        numbers = torch.stack([value.float() for value in values.values()]).tolist()
        get_event_storage().put_scalars(**dict(zip(values, numbers, strict=True)))
