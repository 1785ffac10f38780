"""Count the images of each class of a classification set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

_SHOWN = 5  # classes named in a warning


def describe_labels(dataset: Sequence[dict]) -> tuple[str, str]:
    """How many images a data set has, and its classes.

    Args:
        dataset: dicts with a ``label`` each; ``classes`` names them.

    Returns:
        A line, and a warning of classes that no image has; empty where all have some.
    """
    labels, sizes = Counter(), set()
    for record in dataset:
        labels[record["label"]] += 1
        sizes.add((record.get("width"), record.get("height")))
    classes = getattr(dataset, "classes", range(max(labels) + 1))
    numbers = [labels[label] for label in range(len(classes))]
    least, most = min(numbers), max(numbers)
    text = f"{len(dataset):,}, {f'{least:,} to ' if least < most else ''}{most:,} of each class"
    if len(sizes) == 1 and None not in (size := sizes.pop()):
        text += f", {size[0]}x{size[1]}"
    empty = [str(name) for name, number in zip(classes, numbers, strict=True) if not number]
    if not empty:
        return text, ""
    named = ", ".join(empty[:_SHOWN]) + (", ..." if len(empty) > _SHOWN else "")
    source = getattr(dataset, "source", "the data set")
    return text, f"{source}: {len(empty)} classes have no image ({named})"
