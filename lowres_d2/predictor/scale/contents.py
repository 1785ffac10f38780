"""What is at the places of an input, whatever its kind."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence

from lowres_d2.predictor.scale.places import Place
from lowres_d2.predictor.scale.tables import read_tables
from lowres_d2.predictor.scale.tars import read_tars

Content = bytes | str | None  # of a file, or its path; None: there is none


def read_files(places: Sequence[Place], _: str) -> Iterator[str]:
    """Paths: the recipe's mapper opens them.

    Args:
        places: of image files.
    """
    return (os.fsdecode(place.path) for place in places)


READERS: dict[str, Callable[[Sequence[Place], str], Iterator[Content]]] = {
    "files": read_files,
    "tars": read_tars,
    "tables": read_tables,
}
