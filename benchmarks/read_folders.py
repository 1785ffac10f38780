"""Start-up of a folder of 100,000 label files; claims: at most 10 s, and 1 KB of memory an object.

    python benchmarks/read_folders.py [--images 100000] [--objects 5]

Folders in YOLO's and in VOC's form are written, with images of which there is only the header.
Each is read in a process of its own, as a recipe for own data reads it: classes counted, then the
training set built. YOLO's is read twice: sizes of images from their headers, then from our file.
Memory is what the process grows by at its peak; seconds are of one processor.
"""

from __future__ import annotations

import argparse
import io
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import lowres_d2  # noqa: F401  (first: it decides which Detectron2 runs)
from lowres_d2.data.folders import count_own_classes, own_dataset
from lowres_d2.programs.command import summary_of

from PIL import Image
from tabulate import tabulate

SECONDS, KILOBYTES = 10.0, 1.0
HEIGHT, WIDTH = 480, 640
CLASSES = ("cat", "dog", "mouse")


def header() -> bytes:
    """A JPEG image up to its first pixels."""
    file = io.BytesIO()
    Image.new("RGB", (WIDTH, HEIGHT)).save(file, "JPEG")
    whole = file.getvalue()
    return whole[: whole.index(b"\xff\xda") + 20]


def write_yolo(folder: Path, number: int, objects: int) -> None:
    """A data set in YOLO's form."""
    images, labels = folder / "images/train", folder / "labels/train"
    for place in (images, labels):
        place.mkdir(parents=True)
    (folder / "data.yaml").write_text(f"train: images/train\nnames: {json.dumps(CLASSES)}\n")
    content = header()
    for k in range(number):
        (images / f"{k:07}.jpg").write_bytes(content)
        rows = (
            f"{(k + n) % 3} 0.51{n:04} 0.4{k % 97:02}123 0.102345 0.05{n:02}1\n"
            for n in range(objects)
        )
        (labels / f"{k:07}.txt").write_text("".join(rows))


def write_voc(folder: Path, number: int, objects: int) -> None:
    """A data set of VOC's xml files beside their images."""
    place = folder / "train"
    place.mkdir(parents=True)
    content = header()
    for k in range(number):
        (place / f"{k:07}.jpg").write_bytes(content)
        found = "".join(
            f"<object><name>{CLASSES[(k + n) % 3]}</name><pose>Unspecified</pose>"
            "<truncated>0</truncated><difficult>0</difficult><bndbox>"
            f"<xmin>{10 + n}</xmin><ymin>{20 + k % 97}</ymin>"
            f"<xmax>{60 + n}</xmax><ymax>{170 + k % 97}</ymax></bndbox></object>"
            for n in range(objects)
        )
        (place / f"{k:07}.xml").write_text(
            f"<annotation><folder>train</folder><filename>{k:07}.jpg</filename><size>"
            f"<width>{WIDTH}</width><height>{HEIGHT}</height><depth>3</depth></size>"
            f"{found}</annotation>"
        )


def read(folder: Path, cache: Path) -> dict[str, float]:
    """Seconds of the processor, and bytes of memory an object."""
    unit = 1 if sys.platform == "darwin" else 1024
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    count_own_classes(folder)
    dataset = own_dataset(folder, cache=str(cache))
    seconds = time.process_time() - start
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * unit
    return {"seconds": seconds, "kilobytes": grown / 1024 / dataset.num_objects}


def main() -> int:
    """Print a table; exit code 1 where a claim does not hold."""
    parser = argparse.ArgumentParser(description=summary_of(__file__))
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--objects", type=int, default=5, help="of each image")
    parser.add_argument("--read", type=Path, nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.read:
        print(json.dumps(read(*args.read)))
        return 0
    rows, kept = [], True
    for name, write, times in (
        ("YOLO", write_yolo, ("headers", "kept sizes")),
        ("VOC", write_voc, ("xml",)),
    ):
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place, "data")
            write(folder, args.images, args.objects)
            for sizes in times:
                command = [sys.executable, __file__, "--read", folder, Path(place, "sizes")]
                done = subprocess.run(command, check=True, capture_output=True, text=True)
                found = json.loads(done.stdout)
                seconds, memory = found["seconds"], found["kilobytes"]
                kept = kept and seconds <= SECONDS and memory <= KILOBYTES
                rows.append([name, sizes, f"{seconds:.2f}", f"{memory:.2f}"])
    print(f"{args.images} images with {args.objects} objects each")
    head = ["format", "sizes from", f"CPU s (<= {SECONDS:g})", f"KB an object (<= {KILOBYTES:g})"]
    print(tabulate(rows, head, disable_numparse=True, stralign="right"))
    return int(not kept)


if __name__ == "__main__":
    raise SystemExit(main())
