"""What TinyPerson's annotations say besides a box: four flags, and one of two classes.

``ignore`` marks crowds, regions that may be one person or several, and reflections; ``uncertain``
what is hard to recognize as a person; ``logo`` what is drawn over the image; ``in_dense_image``
every box of an image with more than 200 of them (its documentation says 220 in another place),
whose boxes may be inaccurate: the benchmark uses such images neither in training nor in evaluation.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

# Flags that can make an ignore region of a box.
FLAGS = ("ignore", "uncertain", "logo")
DENSE = "in_dense_image"
CLASSES = ["sea_person", "earth_person"]
# Classes of a task and the file's classes that each consists of; a file made for a task has
# "person" already. The file's other class makes ignore regions.
TASKS = {
    "all": {"person": ("person", *CLASSES)},
    "sea": {"sea_person": ("sea_person",)},
    "earth": {"earth_person": ("earth_person",)},
    "both": {name: (name,) for name in CLASSES},
}


def flags_of(path: Path, entry: dict) -> set[str]:
    """The flags that an annotation has; one that lacks a flag does not have it.

    Args:
        path: the file, for messages.
        entry: an annotation with its ``id``.

    Raises:
        ValueError: a flag is neither true nor false.
    """
    for flag in (*FLAGS, DENSE):
        # 0 and 1 are equal to False and True.
        if entry.get(flag, False) not in (False, True):
            raise ValueError(
                f"{path}: annotation {entry['id']} has {flag} {entry[flag]!r}; expected true or "
                "false"
            )
    return {flag for flag in (*FLAGS, DENSE) if entry.get(flag, False)}


def check_flags(ignored: Iterable[str]) -> set[str]:
    """The flags that a user chose.

    Raises:
        ValueError: one of them is no flag.
    """
    chosen = {ignored} if isinstance(ignored, str) else {*ignored}
    strange = sorted(chosen - {*FLAGS})
    if strange:
        raise ValueError(f"ignored={sorted(chosen)}: expected some of {', '.join(FLAGS)}")
    return chosen
