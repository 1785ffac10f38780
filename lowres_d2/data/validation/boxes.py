"""Checks boxes: invalid ones, other formats than XYWH, boxes beyond their image, duplicates.

Boxes are XYWH in pixels of the stored image.
"""

from __future__ import annotations

from collections import defaultdict

from lowres_d2.data.datasets.box_forms import FORMS, box_form
from lowres_d2.data.validation.findings import Check, Findings
from lowres_d2.data.validation.split import Split

import torch
from torchvision.ops import box_convert, box_iou

INVALID = Check(
    "box-invalid",
    "error",
    "boxes that are not finite, have no area, a negative side, or lie outside of their image",
    'correct them, or leave them out with invalid_boxes="skip"',
)
SKIPPED = Check(
    "box-skipped",
    "warning",
    'invalid boxes, skipped because of invalid_boxes="skip"',
    "look at a few: they may be real objects with a typo in the numbers",
)
OTHER_FORMS = {
    form: Check(f"box-{form}", "error", f"boxes that look like {name}", remedy)
    for form, (name, remedy) in FORMS.items()
}
BEYOND = Check(
    "box-beyond",
    "warning",
    "boxes that extend beyond their image by more than a pixel",
    "they are clipped in training, but not in evaluation: correct them, or the images' sizes",
)
EDGE = Check(
    "box-edge",
    "info",
    "boxes that extend beyond their image by at most a pixel",
    "they are clipped in training; often pixels are counted from 1 instead of 0 or the reverse",
)
SUB_PIXEL = Check(
    "box-sub-pixel",
    "warning",
    "boxes with a side under one pixel",
    "such objects cannot be seen: remove them, or make them crowds (iscrowd 1)",
)
WHOLE = Check(
    "box-whole",
    "info",
    "boxes as large as their image",
    "correct for close-ups; otherwise probably an image label turned into a box",
)
DOUBLE = Check(
    "box-double",
    "warning",
    "duplicate boxes of one class",
    "remove one: a duplicate can never be matched and lowers recall",
)
TWO_CLASSES = Check(
    "box-two-classes",
    "warning",
    "boxes annotated with two classes",
    "remove the wrong one: a detector would learn both",
)
CROWDS = Check(
    "crowds",
    "info",
    "crowds (iscrowd 1, VOC's 'difficult')",
    "not used in training, ignored in evaluation",
)

SAME_IOU = 0.95  # IoU above which two boxes are duplicates


def check_boxes(split: Split, findings: Findings) -> bool:
    """Check single boxes, and pairs of boxes.

    Returns:
        Whether the boxes are XYWH in pixels at all; if not, their sizes mean nothing.
    """
    form = _form(split)
    if form is not None:
        for entry in split.placed:
            findings.add(form, split.name, split.suspect(entry, f"box {entry['bbox']}"))
        return False
    invalid = SKIPPED if split.skips_boxes else INVALID
    for entry in split.placed:
        fault = split.fault(entry)
        if fault is not None:
            detail = f"box {entry.get('bbox')} {fault}"
            findings.add(invalid, split.name, split.suspect(entry, detail))
        elif entry.get("iscrowd", 0):
            findings.add(CROWDS, split.name, split.suspect(entry))
    for entry in split.boxed:
        _check_place(split, findings, entry)
    _check_doubles(split, findings)
    return True


def _form(split: Split) -> Check | None:
    """The check that fails if all boxes have another convention, which training refuses, too."""
    images = [split.image_of[entry["image_id"]] for entry in split.placed]
    form = box_form(
        [entry.get("bbox") for entry in split.placed],
        [(image["height"], image["width"]) for image in images],
    )
    return OTHER_FORMS.get(form)


def _check_place(split: Split, findings: Findings, entry: dict) -> None:
    x, y, width, height = entry["bbox"]
    image = split.image_of[entry["image_id"]]
    beyond = max(-x, -y, x + width - image["width"], y + height - image["height"])
    # Not 0: x + width is rounded where they are decimals.
    if beyond > 1e-3:
        detail = f"box {entry['bbox']} is beyond {image['width']}x{image['height']} by {beyond:g}"
        findings.add(BEYOND if beyond > 1 else EDGE, split.name, split.suspect(entry, detail))
    if min(width, height) < 1:
        detail = f"{width:g} x {height:g} pixels"
        findings.add(SUB_PIXEL, split.name, split.suspect(entry, detail))
    if width >= 0.99 * image["width"] and height >= 0.99 * image["height"]:
        findings.add(WHOLE, split.name, split.suspect(entry))


def _check_doubles(split: Split, findings: Findings) -> None:
    """Find pairs of nearly identical boxes in an image."""
    of_image = defaultdict(list)
    for entry in split.objects:
        of_image[entry["image_id"]].append(entry)
    for entries in of_image.values():
        if len(entries) == 1:
            continue
        boxes = torch.tensor([e["bbox"] for e in entries], dtype=torch.float64)
        boxes = box_convert(boxes, "xywh", "xyxy")
        pairs = (box_iou(boxes, boxes).triu_(diagonal=1) > SAME_IOU).nonzero().tolist()
        # Three boxes on one object are three pairs, but only two duplicates.
        for second, first in {second: first for first, second in reversed(pairs)}.items():
            _add_double(split, findings, entries[first], entries[second])


def _add_double(split: Split, findings: Findings, first: dict, second: dict) -> None:
    names = [split.name_of[entry["category_id"]] for entry in (first, second)]
    detail = f"same box as annotation {first.get('id')}"
    if names[0] == names[1]:
        findings.add(DOUBLE, split.name, split.suspect(second, detail))
    else:
        detail += f" ({names[0]} and {names[1]})"
        findings.add(TWO_CLASSES, split.name, split.suspect(second, detail))
