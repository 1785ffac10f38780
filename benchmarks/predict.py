"""Prediction at scale: both engines beside a bare loop, memory over a run, what a billion takes.

    python benchmarks/predict.py --weights RUN [--ray] [--images 2000] [--side 64]

The bare loop reads a batch of files and looks at it, in one process, with the same model, batch and
threads. Engines start before they are timed; rounds alternate. Times are CPU seconds of all of an
engine's processes, since other programs disturb them less, and since images a second are their
inverse where all cores are busy; images a second by the clock are printed, too. The claims: at
least 0.95 of the bare loop's images a second locally and 0.9 with Ray, and no memory that grows
with the number of images.

Then: names listed a second, and images a second whose results one process can write, as it has to
with Ray; both bound what a cluster can do.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import lowres_d2  # noqa: F401
from lowres_d2.data.plates import PlatesDataset
from lowres_d2.engine.identity import recipe_of
from lowres_d2.predictor import Predictor
from lowres_d2.predictor.inputs import Inputs
from lowres_d2.predictor.scale.batches import BatchReader
from lowres_d2.predictor.scale.detect import Detect
from lowres_d2.predictor.scale.job import Job
from lowres_d2.predictor.scale.local import predict_locally
from lowres_d2.predictor.scale.manifest import Manifest, write_manifest
from lowres_d2.predictor.scale.model import Model
from lowres_d2.predictor.scale.places import Source, place_of
from lowres_d2.predictor.scale.run import opened
from lowres_d2.predictor.scale.shards import Collector, Shards
from lowres_d2.predictor.scale.sources import find_source
from lowres_d2.programs.command import docstring_of

import numpy as np
import torch
from PIL import Image

BATCH, ACTORS = 8, 2
WARM = 0.5  # share of a run's images before its time counts: processes start meanwhile


@dataclass
class Clock:
    """Takes numbers of images done, and times those after the first ``WARM`` of them.

    Attributes:
        total: images of the run.
        done: so far.
        seen: at the two ends: images, seconds by the clock, CPU seconds.
        memory: MiB of all processes at the two ends.
    """

    total: int
    done: int = 0
    seen: list[tuple[int, float, float]] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)

    def __call__(self, number: int) -> None:
        self.done += number
        if self.done == self.total:
            self.seen.append((self.done, time.perf_counter(), cpu_seconds()))
        if self.done == self.total or (not self.seen and self.done >= WARM * self.total):
            self.memory.append(round(sum(map(own_memory, processes()))))
        if not self.seen and self.memory:
            self.seen.append((self.done, time.perf_counter(), cpu_seconds()))

    @property
    def rate(self) -> float:
        """Images a second by the clock."""
        (first, begin, _), (last, end, _) = self.seen
        return (last - first) / (end - begin)

    @property
    def seconds(self) -> float:
        """CPU seconds of an image."""
        (first, _, begin), (last, _, end) = self.seen
        return (end - begin) / (last - first)


def processes() -> dict[int, int]:
    """This process and all below it, and the clock ticks that each has used."""
    parents, ticks = {}, {}
    for place in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended
            fields = place.read_text().rpartition(")")[2].split()
            process = int(place.parent.name)
            # Its own ones, and those of its children that have ended.
            parents[process], ticks[process] = int(fields[1]), sum(map(int, fields[11:15]))
    ours = {os.getpid()}
    while below := {child for child, parent in parents.items() if parent in ours} - ours:
        ours |= below
    return {process: ticks[process] for process in ours & ticks.keys()}


def cpu_seconds() -> float:
    """That this process and all below it have used."""
    return sum(processes().values()) / os.sysconf("SC_CLK_TCK")


def own_memory(process: int) -> float:
    """MiB of a process; what several share is divided among them."""
    with contextlib.suppress(OSError):
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
        return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024
    return 0.0


def write_images(folder: Path, number: int, side: int) -> None:
    """Cut generated plates into small images."""
    each = (256 // side) ** 2
    plates = PlatesDataset(folder.parent / "plates", "val", -(-number // each), num_workers=0)
    folder.mkdir()
    count = 0
    for record in plates:
        image = Image.open(record["file_name"])
        for x, y in itertools.product(range(0, 257 - side, side), repeat=2):
            if count < number:
                image.crop((x, y, x + side, y + side)).save(folder / f"{count:06d}.jpg", quality=95)
                count += 1


def bare(predictor: Predictor, folder: Path, score: float, done: Clock) -> None:
    """A loop as anyone would write it."""
    files = sorted(folder.iterdir())
    for first in range(0, len(files), BATCH):
        batch = [predictor.prepare(file) for file in files[first : first + BATCH]]
        done(len(predictor.detect(batch, score)))


def measured(
    predict: Callable[[Job, Clock], None],
    model: Model,
    predictor: Predictor,
    folder: Path,
    score: float,
) -> Clock:
    """A run of an engine from the start to the last shard."""
    source = find_source([str(folder)])
    with tempfile.TemporaryDirectory() as output:
        classes = predictor.class_names
        with opened(Path(output), source, model, classes, score, None) as run:
            inputs = Inputs(predictor.mapper)
            reader = BatchReader(run.manifest, source.kind, source.column, inputs, BATCH)
            clock = Clock(run.about["images"])
            predict(Job(run.missing(), reader, model, score, run.shards), clock)
    return clock


def print_bounds() -> None:
    """What one process does for all: list the images, and write the results."""
    number = 100_000
    names = (place_of(f"camera/{k:09d}.jpg", f"/data/camera/{k:09d}.jpg") for k in range(number))
    with tempfile.TemporaryDirectory() as output:
        start, path = time.process_time(), Path(output, "images.arrow")
        write_manifest(Source("files", lambda: names), 1000, path)
        seconds = time.process_time() - start
        print(
            f"manifest: {number / seconds:,.0f} names a second, "
            f"{path.stat().st_size / number:.0f} bytes each"
        )
        collector = Collector(Manifest(path), shards := Shards(Path(output), "", []))
        start = time.process_time()
        for first in range(0, 10_000, BATCH):
            collector.add(results(first // 1000, np.arange(first % 1000, first % 1000 + BATCH)))
        seconds = time.process_time() - start
        size = sum(shards.path(piece).stat().st_size for piece in range(10)) / 10_000
        print(f"results: {10_000 / seconds:,.0f} images a second, {size:.0f} bytes each")


def results(piece: int, rows: np.ndarray, each: int = 10) -> dict[str, np.ndarray]:
    """Results of a batch with so many detections on each image."""
    draw, number = np.random.default_rng([piece, rows[0]]), len(rows)
    return {
        "piece": np.array(piece),
        "row": rows,
        "height": np.full(number, 480),
        "width": np.full(number, 640),
        "number": np.full(number, each),
        "boxes": draw.random((number * each, 4), np.float32),
        "scores": draw.random(number * each, np.float32),
        "labels": draw.integers(0, 80, number * each, np.int32),
        "broken_row": np.zeros(0, np.int64),
        "reason": np.zeros(0, np.str_),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=docstring_of(__file__))
    parser.add_argument("--weights", required=True, help="a file, or the folder of a run")
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--side", type=int, default=64, help="of the images, at most 256")
    parser.add_argument("--score", type=float, default=0.05, help="lowest score that is kept")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--workers", type=int, nargs="+", default=[0, 1], help="of the local engine"
    )
    parser.add_argument("--ray", action="store_true", help="measure Ray with two actors, too")
    args = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place, "images")
        write_images(folder, args.images, args.side)
        model = Model.of(*recipe_of(None, args.weights, ["train.device=cpu"]))
        predictor = model.load("cpu")
        print_bounds()
        detect = Detect(lambda: predictor, args.score)

        def local(workers: int, job: Job, done: Clock) -> None:
            predict_locally(job, detect, ["cpu"], workers, done)

        def with_ray(job: Job, done: Clock) -> None:
            from lowres_d2.predictor.scale.on_ray import predict_on_ray

            predict_on_ray(job, "cpu", None, ACTORS, done)

        engines = {f"local, --workers {k}": partial(local, k) for k in args.workers}
        engines |= {"ray": with_ray} if args.ray else {}
        ratios: dict[str, list[float]] = {name: [] for name in engines}
        for _ in range(args.rounds):
            loop = Clock(args.images)
            bare(predictor, folder, args.score, loop)
            print(f"loop: {1000 * loop.seconds:.2f} ms of CPU an image, {loop.rate:.1f} a second")
            for name, engine in engines.items():
                clock = measured(engine, model, predictor, folder, args.score)
                ratios[name].append(loop.seconds / clock.seconds)
                print(
                    f"{name}: {1000 * clock.seconds:.2f} ms of CPU an image, {clock.rate:.1f} a "
                    f"second, ratio {ratios[name][-1]:.3f}, memory {clock.memory[0]} MiB after "
                    f"half of the images, {clock.memory[-1]} MiB after all",
                    flush=True,
                )
    for name, found in ratios.items():
        claim = 0.9 if name == "ray" else 0.95
        print(f"{name}: median ratio {statistics.median(found):.3f} (claim: at least {claim})")


if __name__ == "__main__":
    main()
