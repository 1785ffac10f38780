"""Detect on images, folders and videos: boxes drawn, and in a json file.

Every image goes through the recipe's test mapper, so its pixels are those of evaluation. Each
record of ``detections.json`` is an image, or a frame of a video, and says what its boxes are. Those
of a GeoTIFF are written as GeoJSON, too.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lowres_d2.analysis.figures.detections import Objects
from lowres_d2.analysis.figures.drawing import Panel, class_colors, look
from lowres_d2.data import BrokenImageError
from lowres_d2.data.image import reader_of
from lowres_d2.data.image.map_frame import TIFF_ENDINGS, NoMapFrameError
from lowres_d2.fonts import drawable_names
from lowres_d2.own_files import check_own, own_path
from lowres_d2.predictor import Predictor
from lowres_d2.predictor.loading import predictor_of
from lowres_d2.programs.boxes_only import check_finds_boxes
from lowres_d2.programs.command_lines.demo import parse
from lowres_d2.programs.demo_files import check_ending, find_inputs, find_targets, is_video
from lowres_d2.programs.demo_geojson import map_files, write_geojson
from lowres_d2.programs.demo_video import NAMES, VideoSink, VideoSource
from lowres_d2.programs.mistakes import one_line, run_reporting_mistakes
from lowres_d2.programs.opened_weights import opened_weights

import numpy as np
from PIL import Image

# Of the boxes in the json file: a name of Detectron2's BoxMode, and what the numbers are.
BOX_MODE = "XYWH_ABS"
BOX_FRAME = (
    "pixels of the image of this height and width, {}; x and y of the upper left corner, then "
    "width and height"
)
LEAST_SIDE = 512  # smaller images are shown enlarged, so that labels can be read


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the demo; exits with 1 where an input was broken or the user made a mistake."""
    args = parse(arguments)
    run_reporting_mistakes(lambda: _run(args))


@dataclass
class Demo:
    """A trained detector whose detections are shown.

    Attributes:
        detector: finds them.
        threshold: lowest score that counts.
        maps: GeoJSON file of those images that have one, by the file that they are drawn into.
    """

    detector: Predictor
    threshold: float
    maps: Mapping[Path, Path] = field(default_factory=dict)

    @property
    def classes(self) -> Sequence[str]:
        """Class names in the order of the labels."""
        return self.detector.class_names

    def detect(self, image: Path | Image.Image, name: str) -> Objects:
        """Find the objects of an image, in its pixels.

        Raises:
            BrokenImageError: it cannot be read, or the model cannot take it; has its name.
        """
        sample = self.detector.prepare(image, name)
        try:
            (found,) = self.detector.detect([sample], self.threshold)
        except ValueError as error:  # an image smaller than the factor, say; others may be larger
            raise BrokenImageError(f"{name}: {one_line(error)}") from error
        return Objects.of(found)

    def draw(self, image: np.ndarray, found: Objects) -> Image.Image:
        """The image with its detections; small ones enlarged by a whole number."""
        height, width = image.shape[:2]
        scale = max(LEAST_SIDE // max(height, width), 1)
        window = (0.0, 0.0, float(width), float(height))
        shown = look(image, 1.0, window, (height * scale, width * scale))
        longest = max(shown.size)
        panel = Panel(shown, window, max(2, longest // 600), max(12, longest // 90))
        colors = class_colors(len(self.classes))
        rows = list(zip(found.boxes, found.labels, found.scores, strict=True))
        for box, label, _ in rows:
            panel.box(box, colors[label])
        names = drawable_names(self.classes)
        for box, label, score in rows:
            panel.label(box, colors[label], f"{names[label]} {score:.2f}")
        return panel.image

    def record(self, name: str, image: np.ndarray, found: Objects, **more: int) -> dict:
        """What was found, for the json file."""
        corners = found.boxes
        is_turned = reader_of(self.detector.mapper).exif != "ignore"
        turned = "rotated as its EXIF data say" if is_turned else "as stored, without EXIF rotation"
        boxes = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
        rows = zip(boxes.tolist(), found.labels.tolist(), found.scores.tolist(), strict=True)
        return {
            "file_name": name,
            **more,
            "height": image.shape[0],
            "width": image.shape[1],
            "bbox_mode": BOX_MODE,
            "bbox_frame": BOX_FRAME.format(turned),
            "score_threshold": self.threshold,
            "classes": list(self.classes),
            "detections": [
                {"category": self.classes[label], "label": label, "bbox": box, "score": score}
                for box, label, score in rows
            ],
        }

    def image(self, file: Path, target: Path) -> list[dict]:
        """Detect on one image and write it with its boxes, of a GeoTIFF also as GeoJSON."""
        found = self.detect(file, str(file))
        image, orientation = reader_of(self.detector.mapper).show_turned(str(file))
        drawn = self.draw(image, found)
        tiff = target.suffix.lower() in TIFF_ENDINGS
        form = {"compression": "tiff_deflate"} if tiff else {"quality": 95}
        with own_path(target) as part:
            drawn.save(part, **form)
        record = self.record(str(file), image, found)
        if target in self.maps:
            try:
                write_geojson(self.maps[target], file, record, found.boxes, orientation)
            except NoMapFrameError as error:
                print(f"{file}: no GeoJSON: {error}", file=sys.stderr)
        return [record]

    def video(self, file: Path, target: Path) -> list[dict]:
        """Detect on every frame of a video and write it with its boxes."""
        source, records = VideoSource(file), []
        with own_path(target) as part:
            sink = VideoSink(part, source.rate)
            for number, frame in enumerate(source):
                image = np.ascontiguousarray(frame[..., ::-1])
                found = self.detect(Image.fromarray(image), f"{file}: frame {number}")
                sink.write(np.asarray(self.draw(image, found)))
                records.append(self.record(str(file), image, found, frame=number))
                _progress(f"{file.name}: frame {number + 1} of {source.total}", number % 25 == 24)
            sink.close()
            if not records:
                raise BrokenImageError(f"{file}: has no frames that can be read")
        _progress(f"{target}: {NAMES[sink.encoder]}", lasting=True)
        return records


def _run(args: argparse.Namespace) -> None:
    if not 0 <= args.confidence_threshold <= 1:
        raise ValueError(f"--confidence-threshold {args.confidence_threshold}: expected 0 to 1")
    files = find_inputs(args.input)
    targets, json_file = find_targets(files, args.output)
    maps = map_files(files, targets)
    check_own([*targets, json_file, *maps.values()])
    cfg, weights = opened_weights(args)
    check_finds_boxes(cfg, args.weights)
    demo = Demo(predictor_of(cfg, weights), args.confidence_threshold, maps)
    records, broken = [], []
    for number, (file, target) in enumerate(zip(files, targets, strict=True), start=1):
        try:
            check_ending(file)
            new = (demo.video if is_video(file) else demo.image)(file, target)
        except BrokenImageError as error:
            broken.append(file)
            print(f"skipped: {error}", file=sys.stderr)
            continue
        records += new
        count = sum(len(record["detections"]) for record in new)
        _progress(f"{number} of {len(files)}: {file.name}, {count} objects", lasting=True)
    with own_path(json_file) as part:
        # A line for each record: each has all class names.
        lines = ",\n".join(map(json.dumps, records))
        part.write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    print(f"{len(files) - len(broken)} of {len(files)} inputs done, detections in {json_file}")
    if broken:
        names = ", ".join(map(str, broken[:5])) + (", ..." if len(broken) > 5 else "")
        raise ValueError(f"{len(broken)} of {len(files)} inputs are broken: {names}")


def _progress(text: str, lasting: bool) -> None:
    """Show progress: one changing line on a terminal; elsewhere only the lasting lines."""
    if sys.stdout.isatty():
        print(f"\r\x1b[K{text}", end="\n" if lasting else "", flush=True)
    elif lasting:
        print(text, flush=True)
