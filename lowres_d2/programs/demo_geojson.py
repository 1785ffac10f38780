"""The demo's boxes on a map: a GeoJSON file for each GeoTIFF, beside the json file.

Each box is a polygon of WGS84 longitude and latitude, as RFC 7946 wants: its corners are mapped by
the file's geotransform into the axes of its reference system, and from there to WGS84, which other
reference systems may not be named in place of. Edges are straight in degrees. TIFF files without
reference system or geotransform have their boxes in the json file only.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lowres_d2.data.image.map_frame import TIFF_ENDINGS, MapFrame
from lowres_d2.own_files import own_path

import numpy as np


def map_files(files: Sequence[Path], targets: Sequence[Path]) -> dict[Path, Path]:
    """The GeoJSON file of each TIFF file among the inputs, by its target.

    Args:
        files: the inputs.
        targets: what they are drawn into; those that differ in their ending only get a number.
    """
    found: dict[Path, Path] = {}
    for file, target in zip(files, targets, strict=True):
        if file.suffix.lower() not in TIFF_ENDINGS:
            continue
        path, number = target.with_suffix(".geojson"), 2
        while path in found.values():
            path = target.with_name(f"{target.stem}-{number}.geojson")
            number += 1
        found[target] = path
    return found


def write_geojson(
    path: Path, file: Path, record: Mapping[str, Any], boxes: np.ndarray, orientation: int
) -> None:
    """Write the objects of an image as a GeoJSON FeatureCollection.

    Args:
        path: file to write.
        file: the image.
        record: of the json file.
        boxes: XYXY (M, 4), of the record's detections.
        orientation: EXIF's rotation that the boxes follow.

    Raises:
        NoMapFrameError: it is not known where the image lies.
    """
    geometries = MapFrame.of(str(file)).geometries(boxes, orientation)
    features = [
        {
            "type": "Feature",
            "geometry": geometry,
            "properties": {
                "category": row["category"],
                "label": row["label"],
                "score": row["score"],
                "bbox_in_pixels": row["bbox"],
            },
        }
        for geometry, row in zip(geometries, record["detections"], strict=True)
    ]
    collection = {
        "type": "FeatureCollection",
        "file_name": record["file_name"],
        "score_threshold": record["score_threshold"],
        "features": features,
    }
    with own_path(path) as part:
        part.write_text(json.dumps(collection) + "\n", encoding="utf-8")
