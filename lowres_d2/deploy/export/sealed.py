"""What an exported file says of itself: json in its metadata, sealed with a checksum."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

KEY = "lowres_d2"  # of the metadata of all formats
VERSION = 1


@dataclass(frozen=True)
class Known:
    """What is known of an exported model.

    Attributes:
        format: name of the format.
        recipe: text of a ``config.yaml``, whose mapper makes the images.
        classes: names in the order of the labels.
        category_ids: ids of these in the annotation file of the training data.
        factor: the resampler's, such as "4" or "3/2".
        channels: of the image.
        channel_order: of these, such as "RGB"; empty: not known.
        value_range: values of the image's black and white.
        knows: what a quick model was trained on, and knows alone; empty: not known.
        outputs: names of what the graph gives.
        selection: settings of :class:`Selection`; None: it is a classifier.
        size: the only height and width that the file takes; None: any.
    """

    format: str
    recipe: str
    classes: Sequence[str]
    category_ids: Sequence[int]
    factor: str
    channels: int
    channel_order: str
    outputs: Sequence[str]
    selection: dict[str, Any] | None
    size: Sequence[int] | None = None
    value_range: Sequence[float] = (0, 255)
    knows: str = ""

    def sealed(self, content: bytes) -> str:
        """Json of it, for the metadata of a file with this content."""
        seal = {"version": VERSION, "bytes": len(content), "sha256": _digest(content)}
        return json.dumps({**seal, **asdict(self)})

    @classmethod
    def unsealed(cls, text: str | None, path: Path, content: Path | None = None) -> Known:
        """What a file says.

        Args:
            text: of its metadata; None: there is none.
            path: the file.
            content: the file that begins with what was sealed; None: that one.

        Raises:
            ValueError: it has no metadata of ours or of another version, or is damaged.
        """
        try:
            found = json.loads(text or "null")
            version = found.pop("version")
        except (ValueError, AttributeError, KeyError):
            raise ValueError(
                f"{path}: was not written by `lowres-d2 export`: it does not say what its model is"
            ) from None
        if version != VERSION:
            raise ValueError(
                f"{path}: is of version {version!r}, expected {VERSION}: export it again, or take "
                "the lowres_d2 that wrote it"
            )
        try:
            size, digest = found.pop("bytes"), found.pop("sha256")
            with (content or path).open("rb") as file:
                whole = _digest(file.read(size)) == digest
            if whole:
                return cls(**found)
        except (KeyError, TypeError):
            pass
        raise ValueError(f"{path}: is damaged (its checksum is wrong): copy it or export it again")


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
