"""Facts about COCO: its 80 classes of things, with the ids of its json (1 to 90, with gaps)."""

from __future__ import annotations

import colorsys
from typing import Any

from detectron2._uncovered import needs_upstream, uncovered

__all__ = ["COCO_CATEGORIES"]

COCO_PERSON_KEYPOINT_FLIP_MAP = uncovered("COCO_PERSON_KEYPOINT_FLIP_MAP")
COCO_PERSON_KEYPOINT_NAMES = uncovered("COCO_PERSON_KEYPOINT_NAMES")
KEYPOINT_CONNECTION_RULES = uncovered("KEYPOINT_CONNECTION_RULES")

_COCO_THINGS = """
1 person, 2 bicycle, 3 car, 4 motorcycle, 5 airplane, 6 bus, 7 train, 8 truck, 9 boat,
10 traffic light, 11 fire hydrant, 13 stop sign, 14 parking meter, 15 bench, 16 bird, 17 cat,
18 dog, 19 horse, 20 sheep, 21 cow, 22 elephant, 23 bear, 24 zebra, 25 giraffe, 27 backpack,
28 umbrella, 31 handbag, 32 tie, 33 suitcase, 34 frisbee, 35 skis, 36 snowboard, 37 sports ball,
38 kite, 39 baseball bat, 40 baseball glove, 41 skateboard, 42 surfboard, 43 tennis racket,
44 bottle, 46 wine glass, 47 cup, 48 fork, 49 knife, 50 spoon, 51 bowl, 52 banana, 53 apple,
54 sandwich, 55 orange, 56 broccoli, 57 carrot, 58 hot dog, 59 pizza, 60 donut, 61 cake, 62 chair,
63 couch, 64 potted plant, 65 bed, 67 dining table, 70 toilet, 72 tv, 73 laptop, 74 mouse,
75 remote, 76 keyboard, 77 cell phone, 78 microwave, 79 oven, 80 toaster, 81 sink,
82 refrigerator, 84 book, 85 clock, 86 vase, 87 scissors, 88 teddy bear, 89 hair drier,
90 toothbrush
"""
_HUE_STEP = 0.61803398875  # golden ratio: any run of colours has its hues spread evenly
_TONES = ((0.85, 0.95), (0.55, 1.0), (0.95, 0.65), (0.45, 0.75))  # saturation, value


def _color(index: int) -> list[int]:
    """RGB in 0..255: a colour of its own for each class (not COCO's panoptic ones)."""
    rgb = colorsys.hsv_to_rgb(index * _HUE_STEP % 1.0, *_TONES[index % len(_TONES)])
    return [round(255 * part) for part in rgb]


COCO_CATEGORIES = [
    {"id": int(number), "name": name, "isthing": 1, "color": _color(index)}
    for index, (number, name) in enumerate(
        entry.strip().split(" ", 1) for entry in _COCO_THINGS.split(",")
    )
]


def _get_builtin_metadata(dataset_name: str) -> dict[str, Any]:
    """Metadata of the data sets of one family; "coco" is the only one here."""
    if dataset_name != "coco":
        needs_upstream(f"the built-in metadata of {dataset_name!r}")
    return _get_coco_instances_meta()


def _get_coco_instances_meta() -> dict[str, Any]:
    """Metadata of COCO's boxes: ids, names and colours of the 80 classes."""
    return {
        "thing_dataset_id_to_contiguous_id": {
            category["id"]: index for index, category in enumerate(COCO_CATEGORIES)
        },
        "thing_classes": [category["name"] for category in COCO_CATEGORIES],
        "thing_colors": [category["color"] for category in COCO_CATEGORIES],
    }
