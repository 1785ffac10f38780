"""Reads splits of folders that were recognised, with all of their faults."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lowres_d2.data.folders import FolderData
from lowres_d2.data.folders.voc_folder import VocFolder
from lowres_d2.data.folders.yolo import YoloFolder, YoloRows
from lowres_d2.data.folders.yolo.images import split_images
from lowres_d2.data.folders.yolo.rows import in_pixels
from lowres_d2.data.folders.yolo.sizes import ImageSizes
from lowres_d2.data.validation.findings import Check, Findings
from lowres_d2.data.validation.read import UNREADABLE, read_split, read_voc
from lowres_d2.data.validation.split import Split

import numpy as np

WRONG_ROWS = Check(
    "label-row-wrong",
    "error",
    "rows of label files that are none of YOLO's, or of an unknown class",
    "correct the rows",
)
INVALID_ROWS = Check(
    "label-box-invalid",
    "error",
    "rows of label files whose box is no fraction of the image, has no area or lies outside it",
    "correct the rows, or set data.invalid_boxes=skip in training",
)
MISSING_SPLIT = Check(
    "split-missing",
    "warning",
    "splits that the data set names, but that are not there",
    "complete the folder, or remove them from its data.yaml",
)


def read_folder_split(
    folder: FolderData, split: str, findings: Findings, name: str | None = None, **settings: Any
) -> Split | None:
    """Read a split of a folder.

    Args:
        folder: from :func:`lowres_d2.data.folders.recognise`.
        split: name of the split in it.
        findings: collects what cannot be read.
        name: name of the split in the report; by default that in the folder.
        settings: further attributes of the split.

    Returns:
        The split, or None if nothing could be read.
    """
    name = name or split
    source = folder.splits[split]
    try:
        if isinstance(folder, YoloFolder):
            return _read_yolo(folder, split, findings, name, settings)
        if isinstance(folder, VocFolder):
            images = source.images
            files = [Path(file) for file in source.files()]
            return read_voc(source.source, files, findings, name, images, settings)
    except (ValueError, OSError) as error:
        findings.add(UNREADABLE, name, str(error))
        return None
    return read_split(source, findings, name, **settings)


def _read_yolo(
    folder: YoloFolder, split: str, findings: Findings, name: str, settings: dict
) -> Split:
    root = folder.root.absolute()
    rows, sizes = YoloRows(folder.names, folder.keypoints), ImageSizes(folder.root, None)
    records: list[dict] = []
    annotations: list[dict] = []
    invalid: list[str] = []
    wrong: list[str] = []
    for image in split_images(folder.splits[split], folder.root):
        try:
            height, width = sizes.of(image.path, image.stamp)
            boxes = rows.read(image.labels, invalid, wrong)
        except (ValueError, OSError) as error:
            findings.add(UNREADABLE, name, str(error))
            continue
        number = len(records) + 1
        file = Path(image.path).absolute()
        # A list may name images elsewhere, too.
        file = file.relative_to(root) if file.is_relative_to(root) else file
        records.append({"id": number, "file_name": str(file), "height": height, "width": width})
        annotations += [
            {
                "id": len(annotations) + k,
                "image_id": number,
                "category_id": label,
                "bbox": in_pixels(np.array([box]), np.array([[height, width]]))[0].tolist(),
                "iscrowd": 0,
            }
            for k, (label, *box) in enumerate(boxes, start=1)
        ]
    skipped = settings.get("skips_boxes", False)
    for check, faults in ((WRONG_ROWS, wrong), (INVALID_ROWS, [] if skipped else invalid)):
        for fault in faults:
            findings.add(check, name, fault)
    categories = [{"id": k, "name": class_name} for k, class_name in enumerate(folder.names)]
    return Split(name, folder.path, records, annotations, categories, root, **settings)
