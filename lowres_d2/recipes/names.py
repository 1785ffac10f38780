"""Names that are not there: what they may have meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from lowres_d2.near_names import listed, near
from lowres_d2.recipes.find import shipped_recipes

# Keys that earlier versions had, by their present names.
RENAMED = {"bands": "size_ranges", "pictures": "images"}


def nearest(key: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown key: its new or nearest name, else all there are."""
    names = list(map(str, known))
    if RENAMED.get(key) in names:
        return f", it is {RENAMED[key]!r} now"
    return near(key, names) or listed(names) or ", nor any other"


def nearest_of_all(key: str, known: Iterable[str]) -> str:
    """As :func:`nearest` for a whole key such as ``train.max_itr``; empty: there are none."""
    keys = sorted(known)
    renamed = ".".join(RENAMED.get(part, part) for part in key.split("."))
    if renamed != key and renamed in keys:
        return f", it is {renamed!r} now"
    above, _, tail = key.rpartition(".")
    beside = [other for other in keys if other.rpartition(".")[0] == above]
    same = [other for other in keys if other.rpartition(".")[2] == tail]
    # Not what the key lies in: its spelling is right.
    others = [other for other in keys if not key.startswith(f"{other}.")]
    for names, cutoff in ((beside, _cutoff(above, tail)), (same, 0.0), (others, 0.75)):
        found = difflib.get_close_matches(key, names, n=1, cutoff=cutoff)
        if found:
            return f", nearest: {found[0]!r}"
    return listed([other.rpartition(".")[2] for other in beside])


def _cutoff(above: str, tail: str) -> float:
    """The similarity of whole keys in one place that is 0.6 for their last parts."""
    common = len(above) + 1 if above else 0
    return (common + 0.6 * len(tail)) / (common + len(tail))


def recipes_for_own_data() -> str:
    """The recipes that take ``data.train_json``, for a message."""
    found = [path.as_posix() for path in shipped_recipes() if "own_data" in path.parts]
    return "recipes for your own data: " + ", ".join(found)
