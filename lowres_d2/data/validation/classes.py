"""Compares the class lists of all splits and of the model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import zip_longest

from lowres_d2.data.validation.findings import Check, Findings
from lowres_d2.data.validation.split import Split

NO_CLASS = Check(
    "class-unknown", "error", "classes that the file does not have", "correct classes=[...]"
)
DIFFERENT = Check(
    "classes-differ",
    "error",
    "positions at which the class lists differ",
    "give all the same list with classes=[...]: position k is class k of the model",
)
LACKING = Check(
    "class-lacking",
    "warning",
    "classes that the training set has and this file does not",
    "nothing is evaluated for them (0 GT): fine if the data is like that",
)
UNUSED = Check(
    "class-empty",
    "warning",
    "classes without an object",
    "they can be neither learned nor evaluated; leave them out with classes=[...]",
)
MODEL = Check(
    "classes-model",
    "error",
    "parts of the model with another number of classes than the data",
    "set num_classes to the number of classes of the data",
)
TRAINED = Check(
    "classes-trained",
    "warning",
    "classes of train.init_checkpoint that are not at the same position in the data",
    "evaluation refuses these weights; in training, their class k gets another meaning",
)
NOT_TRAINED = Check(
    "class-not-trained",
    "warning",
    "classes with objects to evaluate on, but none to train on",
    "their AP will be 0: move some images, or leave the class out",
)


def class_counts(split: Split) -> dict[str, int]:
    """Number of objects of each class that is used, without crowds."""
    counts = Counter(split.name_of[entry["category_id"]] for entry in split.objects)
    return {name: counts[name] for name in split.class_list}


def check_classes(
    splits: Sequence[Split],
    findings: Findings,
    model: Mapping[str, int] | None = None,
    trained: Sequence[str] = (),
) -> None:
    """Compare the class lists of splits, model and weights.

    Args:
        splits: the splits, the training data first.
        findings: collects what is wrong.
        model: number of classes of each part of the model that has one, by its name.
        trained: class names of the weights that the model starts from.
    """
    train, *others = splits
    for split in splits:
        known = set(split.name_of.values())
        lacking = [name for name in split.classes or () if name not in known]
        # As training does it: a test set may lack some classes, but not all.
        may_lack = split is not train and len(lacking) < len(split.classes or ())
        for name in lacking:
            findings.add(LACKING if may_lack else NO_CLASS, split.name, name)
        for name, count in class_counts(split).items():
            if not count and name not in lacking:
                findings.add(UNUSED, split.name, name)
    for other in others:
        if _is_part(other.class_list, train.class_list):
            for name in train.class_list:
                if name not in other.class_list:
                    findings.add(LACKING, other.name, name)
        else:
            names = (train.name, other.name)
            _compare(findings, DIFFERENT, train.class_list, other.class_list, names)
        learned, wanted = class_counts(train), class_counts(other)
        for name, count in wanted.items():
            if count and learned.get(name) == 0:
                findings.add(NOT_TRAINED, other.name, f"{name}: {count} objects")
    if trained:
        names = ("init_checkpoint", train.name)
        _compare(findings, TRAINED, list(trained), train.class_list, names)
    for name, number in (model or {}).items():
        if number != len(train.class_list):
            findings.add(
                MODEL, train.name, f"{name} is {number}, the data has {len(train.class_list)}"
            )


def _is_part(some: Sequence[str], whole: Sequence[str]) -> bool:
    """Whether a list is another one with some entries left out, but not all."""
    return bool(some) and list(some) == [name for name in whole if name in some]


def _compare(
    findings: Findings,
    check: Check,
    first: Sequence[str],
    second: Sequence[str],
    names: tuple[str, str],
) -> None:
    for k, (a, b) in enumerate(zip_longest(first, second)):
        if a != b:
            findings.add(check, names[1], f"{k}: {a or '-'} ({names[0]}) | {b or '-'} ({names[1]})")
