"""The classes of a data set: which ones its file has, and which of these are used."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Sequence
from itertools import count
from pathlib import Path

from lowres_d2.data.datasets.base import class_names
from lowres_d2.data.datasets.coco_json import index_by_id, read_coco_json
from lowres_d2.data.datasets.json_values import shortened

_logger = logging.getLogger(__name__)


def count_classes(json_file: str | Path, classes: Sequence[str] | None = None) -> int:
    """Number of classes for ``num_classes`` of a recipe.

    Args:
        json_file: a COCO json file.
        classes: classes that are used; None: all in the file.
    """
    path = Path(json_file)
    content = read_coco_json(path)
    number = len(select_classes(path, checked_categories(path, content, classes), classes))
    if not number:
        raise ValueError(
            f"{path}: has no categories; expected those of the classes to train; lowres-d2 "
            "pseudo-label labels images with a trained detector"
        )
    return number


def checked_categories(
    path: Path, content: dict, classes: Sequence[str] | None = None
) -> dict[int, str]:
    """Category id -> name, in the order of the ids; a bare supercategory is left out.

    Args:
        path: the file, for messages.
        content: of a COCO json file.
        classes: classes that are used; one that they name is kept.
    """
    categories = index_by_id(path, "categories", content["categories"])
    left_out = bare_supercategory(content, classes)
    names: dict[int, str] = {}
    # COCO's ids have gaps (80 classes, ids up to 90): a class's label is its position.
    for category_id, category in sorted(categories.items()):
        if category is left_out:
            continue
        name = category.get("name")
        if not isinstance(name, str) or not name.strip():
            raise ValueError(
                f"{path}: category {category_id} has name {name!r}; expected a class name"
            )
        if name in names.values():
            raise ValueError(f"{path}: two categories are called '{name}'; names must be unique")
        names[category_id] = name
    return names


def bare_supercategory(content: dict, classes: Sequence[str] | None = None) -> dict | None:
    """The category that is no class but only the supercategory of all others; None without one.

    Roboflow's files have one: id 0, without an object, called as the ``supercategory`` of the
    others, and so perhaps as one of them.

    Args:
        content: of a COCO json file.
        classes: classes that are used; one that only this category can be is a class.
    """
    categories = content["categories"]
    found = [category for category in categories if category.get("id") == 0]
    if len(found) != 1 or len(categories) == 1:
        return None
    others = [category for category in categories if category is not found[0]]
    name = found[0].get("name")
    if not isinstance(name, str) or any(c.get("supercategory") != name for c in others):
        return None
    if any(entry.get("category_id") == 0 for entry in content["annotations"]):
        return None
    wanted = name in (classes or ()) and all(c.get("name") != name for c in others)
    return None if wanted else found[0]


def select_classes(
    path: Path,
    categories: dict[int, str],
    classes: Sequence[str] | None,
    may_lack_classes: bool = False,
) -> dict[int, str]:
    """Category id -> name of the classes to use, in the order of ``classes``; None: all.

    Args:
        path: the file, for messages.
        categories: category id -> name, of the file.
        classes: names of the classes to use.
        may_lack_classes: give classes that the file lacks an id of their own, and log them;
            otherwise they are an error. It is one in any case if the file has classes, but none
            of them.
    """
    if classes is None:
        return categories
    classes = class_names(classes)
    id_of = {name: category_id for category_id, name in categories.items()}
    lacking = [name for name in classes if name not in id_of]
    if lacking and (not may_lack_classes or (id_of and len(lacking) == len(classes))):
        near = difflib.get_close_matches(lacking[0], id_of, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"it has {shortened(id_of)}"
        if not near:
            hint += (
                ", none of the classes to use"
                if may_lack_classes
                else " (may_lack_classes=True accepts one without objects)"
            )
        raise ValueError(f"{path}: has no class '{lacking[0]}'; {hint}")
    if len(set(classes)) < len(classes):
        raise ValueError(f"{path}: classes={classes} names a class twice")
    if lacking:
        _logger.warning(
            "%s: has no class %s: nothing can be evaluated for it", path, ", ".join(lacking)
        )
        id_of |= dict(zip(lacking, count(max(categories, default=0) + 1), strict=False))
    return {id_of[name]: name for name in classes}
