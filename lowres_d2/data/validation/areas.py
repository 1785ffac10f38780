"""The ``area`` of annotations, by which COCO's own evaluation sizes objects."""

from __future__ import annotations

from lowres_d2.data.datasets.coco_json import is_finite
from lowres_d2.data.validation.findings import Check, Findings
from lowres_d2.data.validation.split import Split

INVALID = Check(
    "area-invalid", "error", "'area' that is no number, or negative", "correct or remove it"
)
TOO_LARGE = Check(
    "area-too-large",
    "warning",
    "'area' larger than the box",
    'keep area="box" in the evaluator: by these areas objects stand in the wrong size range',
)
TOO_SMALL = Check(
    "area-too-small",
    "warning",
    "'area' under the box's, without a mask that could explain it",
    'keep area="box" in the evaluator, or correct them',
)
NONE = Check(
    "area-missing",
    "info",
    "annotations without 'area'",
    "the box's is taken; the evaluator's area=\"annotation\" needs them",
)

# A mask is never larger than its box; a pixel a side, as some tools count both border pixels.
_SLACK = 1.0


def check_areas(split: Split, findings: Findings) -> None:
    """Hold ``area`` against the boxes; an error where sizes are taken from it."""
    severity = "error" if split.trusts_area else None
    if not split.trusts_area and not any("area" in entry for entry in split.boxed):
        return  # a file without areas at all, as VOC's are
    for entry in split.boxed:
        width, height = entry["bbox"][2:]
        if "area" not in entry:
            findings.add(NONE, split.name, split.suspect(entry), severity)
            continue
        area, box = entry["area"], width * height
        detail = f"area {area!r}, box {width:g} x {height:g} = {box:g}"
        if not is_finite(area) or area < 0:
            findings.add(INVALID, split.name, split.suspect(entry, detail))
            continue
        if area > (width + _SLACK) * (height + _SLACK):
            findings.add(TOO_LARGE, split.name, split.suspect(entry, detail), severity)
        smallest = max(width - _SLACK, 0) * max(height - _SLACK, 0)
        if area < smallest and not entry.get("segmentation"):
            findings.add(TOO_SMALL, split.name, split.suspect(entry, detail), severity)
