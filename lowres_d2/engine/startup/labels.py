"""Count the images of each class of a classification set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

_SHOWN = 5  # classes named in a warning


def describe_labels(dataset: Sequence[dict], learned: bool = False) -> tuple[str, str]:
    """How many images a data set has, and its classes.

    Args:
        dataset: dicts with a ``label`` each; ``classes`` names them.
        learned: whether a classifier is to learn the classes from it.

    Returns:
        A line, and a warning of classes that no image has, or of images that are all of one class
        and teach nothing; empty where there is nothing to warn of.
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
    source = getattr(dataset, "source", "the data set")
    if learned and len(labels) == 1:
        (label,) = labels
        return text, (
            f"{source}: all images are of one class ({classes[label]}): there is nothing to learn "
            "from them, the right answer is always the same; give images of two classes or more"
        )
    empty = [str(name) for name, number in zip(classes, numbers, strict=True) if not number]
    if not empty:
        return text, ""
    named = ", ".join(empty[:_SHOWN]) + (", ..." if len(empty) > _SHOWN else "")
    return text, f"{source}: {len(empty)} classes have no image ({named})"
