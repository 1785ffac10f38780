"""A classification data set: a sequence of dicts with a label, which knows its classes."""

from __future__ import annotations

import copy
import difflib
import logging
import numbers
from collections.abc import Sequence
from pathlib import Path

from lowres_d2.data.datasets.json_values import shortened

_logger = logging.getLogger(__name__)


class LabelledImages(Sequence):
    """Images with one class each.

    An item is a fresh dict of ``image_id`` (from 1) and ``label``, to which subclasses add the
    image or its file.

    Args:
        labels: class of each image; k is ``classes[k]``.
        classes: class names.
        source: file or folder of the data set, which messages name.

    Raises:
        ValueError: there are no images, classes are no list of different names, or a label is none
            of them.
    """

    def __init__(self, labels: Sequence[int], classes: Sequence[str], source: str | Path) -> None:
        self.source, self.classes = str(source), list(classes)
        if len(labels) == 0:
            raise ValueError(f"{source}: has no images; expected at least one")
        check_names(self.classes, source)
        check_labels(labels, range(len(self.classes)), source)
        self.labels = [int(label) for label in labels]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> dict:
        if not -len(self) <= index < len(self):
            # Iteration over a Sequence ends with this error.
            raise IndexError(f"{self.source}: image {index} of {len(self)}")
        index %= len(self)
        return {"image_id": index + 1, "label": self.labels[index]}

    def __repr__(self) -> str:
        name = type(self).__name__
        return f"{name}({self.source}: {len(self)} images, {len(self.classes)} classes)"

    def with_classes(self, classes: Sequence[str]) -> LabelledImages:
        """The same images with these classes, of which the data set may lack some.

        Returns:
            A new data set; this one where it has exactly these classes, or where it has another one
            or another order, which is not decided here.
        """
        lacking = [name for name in classes if name not in self.classes]
        if not lacking or [name for name in classes if name in self.classes] != self.classes:
            return self
        _logger.warning(
            "%s: has no class %s: nothing can be evaluated for it", self.source, shortened(lacking)
        )
        new_label = [list(classes).index(name) for name in self.classes]
        whole = copy.copy(self)
        whole.classes = list(classes)
        whole.labels = [new_label[label] for label in self.labels]
        return whole


def check_labels(labels: Sequence[int], allowed: range, source: str | Path) -> None:
    """Raise for a label that is no class.

    Raises:
        ValueError: names the image, counted from 0.
    """
    for index, label in enumerate(labels):
        whole = isinstance(label, numbers.Integral) and not isinstance(label, bool)
        if not whole or not allowed[0] <= label <= allowed[-1]:
            raise ValueError(
                f"{source}: label {label!r} of image {index}: expected a whole number from "
                f"{allowed[0]} to {allowed[-1]}"
            )


def check_names(classes: Sequence[str], source: str | Path) -> None:
    """Raise unless classes are different names.

    Raises:
        ValueError: says which one is not.
    """
    if not classes or not all(isinstance(name, str) and name for name in classes):
        raise ValueError(f"{source}: classes {list(classes)[:10]}: expected a list of class names")
    twice = [name for k, name in enumerate(classes) if name in classes[:k]]
    if twice:
        raise ValueError(f"{source}: class {twice[0]} is named twice")


def check_choice(key: str, value: str, choices: Sequence[str]) -> None:
    """Raise unless a value is one of the choices.

    Raises:
        ValueError: names the key, the value and the nearest choice.
    """
    if value not in choices:
        near = difflib.get_close_matches(str(value), choices, n=1)
        raise ValueError(
            f"{key}={value!r}: expected {' or '.join(choices)}"
            + (f"; did you mean {near[0]}?" if near else "")
        )
