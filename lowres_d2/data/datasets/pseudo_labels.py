"""Detections of a trained detector as the annotations of a data set: pseudo labels.

A COCO json file of them says in ``info`` that it has no ground truth, and whose detections it has,
so that nobody takes the agreement with a detector for accuracy. Boxes are XYWH in pixels of the
stored image.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

_KEY = "pseudo_labels"


@dataclass(frozen=True)
class PseudoLabels:
    """How detections become annotations.

    Attributes:
        weights: the detector, which messages name.
        threshold: detections of this score or more are objects.
        ignored_from: those of this score or more that are no objects are ignore regions.

    Raises:
        ValueError: the scores are not 0 < ignored_from <= threshold <= 1.
    """

    weights: str
    threshold: float = 0.5
    ignored_from: float = 0.3

    def __post_init__(self) -> None:
        if not 0 < self.ignored_from <= self.threshold <= 1:
            raise ValueError(
                f"--threshold {self.threshold:g}, --ignore-from {self.ignored_from:g}: expected "
                "scores over 0 and up to 1, the second not larger than the first (equal: nothing "
                "is ignored)"
            )

    def coco(
        self,
        images: Sequence[Mapping[str, Any]],
        detections: Iterable[Mapping[str, Any]],
        categories: Mapping[int, str],
    ) -> dict[str, Any]:
        """A COCO json's content.

        Args:
            images: ``id``, ``file_name``, ``height`` and ``width`` of each.
            detections: COCO results; those of other images are left out.
            categories: names of the detector's classes by id, also of those that it did not find.
        """
        known = {image["id"] for image in images}
        kept = [d for d in detections if d["image_id"] in known and d["score"] >= self.ignored_from]
        annotations = [
            {
                "id": number,
                **{key: d[key] for key in ("image_id", "category_id", "bbox", "score")},
                "area": d["bbox"][2] * d["bbox"][3],
                "iscrowd": int(d["score"] < self.threshold),
            }
            for number, d in enumerate(kept, start=1)
        ]
        return {
            "info": {"description": f"No ground truth: {self}", _KEY: asdict(self)},
            "images": list(images),
            "annotations": annotations,
            "categories": [{"id": number, "name": name} for number, name in categories.items()],
        }

    def __str__(self) -> str:
        return f"detections of {self.weights} with scores from {self.threshold:g}"


def labelled_by(content: Mapping[str, Any]) -> str:
    """Whose detections the annotations of a COCO json are; empty: it does not say, as usual.

    Args:
        content: of the json file.
    """
    info = content.get("info")
    found = info.get(_KEY) if isinstance(info, dict) else None
    try:
        return str(PseudoLabels(**found)) if isinstance(found, dict) else ""
    except (TypeError, ValueError):  # changed by hand, or of another program
        return "a detector"
