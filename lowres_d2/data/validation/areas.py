"""Checks the ``area`` of annotations, which COCO's own evaluation takes as object size."""

from __future__ import annotations

from lowres_d2.data.datasets.json_values import is_finite
from lowres_d2.data.validation.findings import Check, Findings
from lowres_d2.data.validation.split import Split

INVALID = Check(
    "area-invalid",
    "error",
    "'area' that is negative or not a finite number",
    "correct or remove it",
)
TOO_LARGE = Check(
    "area-too-large",
    "warning",
    "'area' larger than the box",
    'keep area="box" in the evaluator: these areas put objects into the wrong size range',
)
TOO_SMALL = Check(
    "area-too-small",
    "warning",
    "'area' smaller than the box, without a mask that could explain it",
    'keep area="box" in the evaluator, or correct them',
)
NONE = Check(
    "area-missing",
    "info",
    "annotations without 'area'",
    'the box\'s area is used; area="annotation" in the evaluator needs them',
)

# A mask is never larger than its box. One pixel in width and height: some tools count both border
# pixels.
_SLACK = 1.0


def check_areas(split: Split, findings: Findings) -> None:
    """Compare ``area`` with the boxes; a mismatch is an error if the evaluator uses it."""
    severity = "error" if split.trusts_area else None
    if not split.trusts_area and not any("area" in entry for entry in split.boxed):
        return  # no areas in the whole file, as in VOC's
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
