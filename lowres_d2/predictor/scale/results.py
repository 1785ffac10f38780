"""What all shards of a run have: the list of broken images, and a COCO json file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

from lowres_d2.own_files import own_path
from lowres_d2.predictor.scale.arrow import pa, pq
from lowres_d2.predictor.scale.run import COCO, Run
from lowres_d2.predictor.scale.shards import unreadable


@dataclass(frozen=True)
class Counts:
    """Numbers of a finished run."""

    detections: int
    broken: int


def write_broken(run: Run) -> Counts:
    """Write a line for each image that has no results: its id, its name and the reason."""
    detections = broken = 0
    with own_path(run.broken_file) as part, part.open("w", encoding="utf-8") as file:
        for table in _shards(run, "image_id", "file_name", "error", "labels"):
            detections += len(table["labels"].combine_chunks().flatten())
            for row in table.filter(table["error"].is_valid()).drop(["labels"]).to_pylist():
                file.write(json.dumps(row | {"reason": row.pop("error")}) + "\n")
                broken += 1
    return Counts(detections, broken)


def write_coco(run: Run) -> None:
    """Write images, detections as annotations with a ``score``, and categories as one json.

    Images have the ids of the run's json file, or their places in the input.
    """
    with own_path(run.folder / COCO) as part, part.open("w", encoding="utf-8") as file:
        file.write('{"images": ')
        _write_list(file, _images(run))
        file.write(', "annotations": ')
        _write_list(file, _annotations(run))
        ids = zip(run.about["category_ids"], run.about["classes"], strict=True)
        categories = [{"id": number, "name": name} for number, name in ids]
        file.write(f', "categories": {json.dumps(categories)}}}\n')


def _images(run: Run) -> Iterator[dict]:
    for table in _shards(run, "image_id", "file_name", "height", "width", "error"):
        for row in table.filter(table["error"].is_null()).drop(["error"]).to_pylist():
            yield {"id": row.pop("image_id")} | row


def _annotations(run: Run) -> Iterator[dict]:
    number, ids = 0, run.about["category_ids"]
    for table in _shards(run, "image_id", "boxes", "scores", "labels"):
        for row in table.to_pylist():
            for box, score, label in zip(row["boxes"], row["scores"], row["labels"], strict=True):
                (x0, y0, x1, y1), number = box, number + 1
                yield {
                    "id": number,
                    "image_id": row["image_id"],
                    "category_id": ids[label],
                    "bbox": [x0, y0, x1 - x0, y1 - y0],
                    "area": (x1 - x0) * (y1 - y0),
                    "iscrowd": 0,
                    "score": score,
                }


def _write_list(file: IO[str], entries: Iterator[dict]) -> None:
    """A json list, an entry a line, that is never in memory as a whole."""
    separator = "[\n"
    for entry in entries:
        file.write(separator + json.dumps(entry))
        separator = ",\n"
    file.write("[]" if separator == "[\n" else "\n]")


def _shards(run: Run, *columns: str) -> Iterator[pa.Table]:
    for piece in range(run.num_pieces):
        path = run.shards.path(piece)
        try:
            table = pq.read_table(path, columns=list(columns))
        except (pa.ArrowException, OSError) as error:
            raise unreadable(path, error) from None
        yield table
