"""Boxes: useless ones, those in another form than XYWH, those beyond their image, doubles.

Boxes are XYWH in pixels of the stored image.
"""

from __future__ import annotations

from collections import defaultdict

from lowres_d2.data.datasets.coco_json import is_finite
from lowres_d2.data.validation.findings import Check, Findings
from lowres_d2.data.validation.split import Split

import torch
from torchvision.ops import box_convert, box_iou

USELESS = Check(
    "box-invalid",
    "error",
    "boxes that are not finite, have no area, a negative side, or lie outside of their image",
    'correct them, or leave them out with invalid_boxes="skip"',
)
SKIPPED = Check(
    "box-skipped",
    "warning",
    'useless boxes, left out because of invalid_boxes="skip"',
    "look at a few: they may be real objects with a slip in the numbers",
)
CORNERS = Check(
    "box-corners",
    "error",
    "boxes look like x0, y0, x1, y1",
    "write x, y, width, height: these boxes would be learned far too large",
)
FRACTIONS = Check(
    "box-fractions",
    "error",
    "boxes look like fractions of the image",
    "multiply by the image's width and height",
)
BEYOND = Check(
    "box-beyond",
    "warning",
    "boxes that leave their image by more than a pixel",
    "clipped in training, taken whole in evaluation: correct them, or the images' sizes",
)
EDGE = Check(
    "box-edge",
    "info",
    "boxes that leave their image by at most a pixel",
    "clipped in training; often a file that counts pixels from 1 or from 0 by mistake",
)
SUB_PIXEL = Check(
    "box-sub-pixel",
    "warning",
    "boxes with a side under one pixel",
    "nothing can be seen of these: remove them, or make them crowds (iscrowd 1)",
)
WHOLE = Check(
    "box-whole",
    "info",
    "boxes as large as their image",
    "right for close-ups; else a label of the image that became a box",
)
DOUBLE = Check(
    "box-double",
    "warning",
    "objects that have a box twice",
    "remove one: the other can never be found and lowers recall",
)
TWO_CLASSES = Check(
    "box-two-classes",
    "warning",
    "boxes that two classes share",
    "remove the wrong one: a detector learns both",
)
CROWDS = Check(
    "crowds",
    "info",
    "crowds (iscrowd 1, VOC's 'difficult')",
    "not learned, and ignored in evaluation",
)

SAME_IOU = 0.95  # above this two boxes are one
_LEAST_FOR_A_FORM = 5  # boxes from which a file's form can be guessed


def check_boxes(split: Split, findings: Findings) -> bool:
    """Everything that is wrong with boxes one by one, or with a pair of them.

    Returns:
        Whether the numbers are XYWH in pixels at all; else sizes mean nothing.
    """
    form = _form(split)
    if form is not None:
        for entry in split.placed:
            findings.add(form, split.name, split.suspect(entry, f"box {entry['bbox']}"))
        return False
    useless = SKIPPED if split.skips_boxes else USELESS
    for entry in split.placed:
        fault = split.fault(entry)
        if fault is not None:
            detail = f"box {entry.get('bbox')} {fault}"
            findings.add(useless, split.name, split.suspect(entry, detail))
        elif entry.get("iscrowd", 0):
            findings.add(CROWDS, split.name, split.suspect(entry))
    for entry in split.boxed:
        _check_place(split, findings, entry)
    _check_doubles(split, findings)
    return True


def _form(split: Split) -> Check | None:
    """Whether all boxes are in another form than XYWH: one box alone can be both."""
    boxes = [entry.get("bbox") for entry in split.placed]
    sizes = [split.image_of[entry["image_id"]] for entry in split.placed]
    four = all(isinstance(b, list) and len(b) == 4 and all(map(is_finite, b)) for b in boxes)
    if not four or len(boxes) < _LEAST_FOR_A_FORM:
        return None
    if all(min(box) >= 0 and max(box) <= 1 for box in boxes):
        return FRACTIONS
    pairs = list(zip(boxes, sizes, strict=True))
    as_corners = all(
        b[0] < b[2] <= image["width"] + 1 and b[1] < b[3] <= image["height"] + 1
        for b, image in pairs
    )
    # Boxes that are XYWH in truth do not leave their images that often.
    beyond = sum(b[0] + b[2] > im["width"] or b[1] + b[3] > im["height"] for b, im in pairs)
    return CORNERS if as_corners and beyond > len(boxes) / 4 else None


def _check_place(split: Split, findings: Findings, entry: dict) -> None:
    x, y, width, height = entry["bbox"]
    image = split.image_of[entry["image_id"]]
    beyond = max(-x, -y, x + width - image["width"], y + height - image["height"])
    if beyond > 1e-3:
        detail = f"box {entry['bbox']} leaves {image['width']}x{image['height']} by {beyond:g}"
        findings.add(BEYOND if beyond > 1 else EDGE, split.name, split.suspect(entry, detail))
    if min(width, height) < 1:
        detail = f"{width:g} x {height:g} pixels"
        findings.add(SUB_PIXEL, split.name, split.suspect(entry, detail))
    if width >= 0.99 * image["width"] and height >= 0.99 * image["height"]:
        findings.add(WHOLE, split.name, split.suspect(entry))


def _check_doubles(split: Split, findings: Findings) -> None:
    """Pairs of boxes of an image that are practically the same."""
    of_image = defaultdict(list)
    for entry in split.objects:
        of_image[entry["image_id"]].append(entry)
    for entries in of_image.values():
        if len(entries) == 1:
            continue
        boxes = torch.tensor([e["bbox"] for e in entries], dtype=torch.float64)
        boxes = box_convert(boxes, "xywh", "xyxy")
        pairs = (box_iou(boxes, boxes).triu_(diagonal=1) > SAME_IOU).nonzero().tolist()
        # Of three boxes on one spot two are too many, though they are three pairs.
        for second, first in {second: first for first, second in reversed(pairs)}.items():
            _add_double(split, findings, entries[first], entries[second])


def _add_double(split: Split, findings: Findings, first: dict, second: dict) -> None:
    names = [split.name_of[entry["category_id"]] for entry in (first, second)]
    detail = f"as annotation {first.get('id')}"
    if names[0] == names[1]:
        findings.add(DOUBLE, split.name, split.suspect(second, detail))
    else:
        detail += f" ({names[0]} and {names[1]})"
        findings.add(TWO_CLASSES, split.name, split.suspect(second, detail))
