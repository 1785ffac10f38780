"""Time of the bundled Detectron2 core relative to upstream: a ratio for each job.

    python benchmarks/core.py --upstream-python PATH

A job is a training iteration (forward, backward, SGD step) or an inference of a detector of
``configs/common/models`` with random weights, on images of seeded noise. Each provider runs in its
own process; only one works at a time, in alternating rounds, and each ratio is that of one round,
so that a busy machine favours neither (``--cpu-time`` measures processor time, for machines shared
with other programs). The claim: no job's median ratio is above 1 by more than its noise (half the
interquartile range).
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MODELS = ("retinanet", "fcos", "faster_rcnn_fpn")
JOBS = ("train", "inference")
OBJECTS = 8


def make_job(model_name: str, job: str, height: int, width: int, batch: int):
    """A function without arguments that does the job once."""
    import lowres_d2  # noqa: F401

    import torch
    from detectron2.config import LazyConfig, instantiate
    from detectron2.structures import Boxes, Instances
    from detectron2.utils.events import EventStorage

    torch.manual_seed(0)
    recipe = LazyConfig.load(str(ROOT / "configs" / "common" / "models" / f"{model_name}.py"))
    model = instantiate(recipe.model)
    inputs = []
    for _ in range(batch):
        target = Instances((height, width))
        corner = torch.rand(OBJECTS, 2) * torch.tensor([width, height]) * 0.6
        target.gt_boxes = Boxes(torch.cat([corner, corner + 10 + 100 * torch.rand(OBJECTS, 2)], 1))
        target.gt_boxes.clip((height, width))
        target.gt_classes = torch.randint(0, 80, (OBJECTS,))
        image = (torch.rand(3, height, width) * 255).to(torch.uint8)
        inputs.append({"image": image, "instances": target, "height": height, "width": width})

    if job == "inference":
        model.eval()

        def infer() -> None:
            with torch.no_grad():
                model(inputs)

        return infer

    optimizer = torch.optim.SGD(
        [p for p in model.parameters() if p.requires_grad], lr=1e-6, momentum=0.9
    )

    def train() -> None:
        with EventStorage():
            loss = sum(model(inputs).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return train


def work(clock: str, model_name: str, job: str, *numbers: int) -> None:
    """Child process: for each line of standard input, print the seconds of one round.

    Args:
        clock: name of a function of the module ``time``.
        model_name: a recipe of ``configs/common/models``.
        job: one of ``JOBS``.
        *numbers: height, width, images per batch, repeats per round.
    """
    now, (*shape, repeats) = getattr(time, clock), numbers
    out = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):
        run = make_job(model_name, job, *shape)
        run()
    print("ready", file=out, flush=True)
    for _ in sys.stdin:
        start = now()
        for _ in range(repeats):
            run()
        print((now() - start) / repeats, file=out, flush=True)


class Child:
    """One provider's process, idle unless asked for a round."""

    def __init__(self, python: str, provider: str, arguments: list[str]) -> None:
        environment = {**os.environ, "LOWRES_D2_PROVIDER": provider, "PYTHONPATH": str(ROOT)}
        self.log = tempfile.TemporaryFile("w+")  # noqa: SIM115  (closed in `close`)
        self.process = subprocess.Popen(
            [python, "-W", "ignore", __file__, "--work", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            env=environment,
            text=True,
        )
        self.provider = provider

    def answer(self) -> str:
        """The next line that the process prints."""
        line = self.process.stdout.readline().strip()
        if not line:
            self.log.seek(0)
            raise SystemExit(f"{self.provider}: {self.log.read().strip()[-2000:]}")
        return line

    def round(self) -> float:
        """Let the process work once and return the seconds it took."""
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        return float(self.answer())

    def close(self) -> None:
        """End the process."""
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()
        self.log.close()


def compare(upstream_python: str, arguments: list[str], rounds: int) -> tuple[float, ...]:
    """Median seconds of both providers, and the median ratio with its noise."""
    bundled = Child(sys.executable, "bundled", arguments)
    upstream = Child(upstream_python, "upstream", arguments)
    for child in (bundled, upstream):
        child.answer()
    seconds: dict[str, list[float]] = {"bundled": [], "upstream": []}
    for number in range(rounds):
        for child in (bundled, upstream) if number % 2 else (upstream, bundled):
            seconds[child.provider].append(child.round())
    for child in (bundled, upstream):
        child.close()
    ratios = [b / u for b, u in zip(seconds["bundled"], seconds["upstream"], strict=True)]
    low, _, high = statistics.quantiles(ratios, n=4)
    medians = (statistics.median(seconds[name]) for name in ("bundled", "upstream"))
    return *medians, statistics.median(ratios), (high - low) / 2


def has_upstream(python: str) -> bool:
    """Whether upstream Detectron2 can be imported by that Python."""
    environment = {**os.environ, "LOWRES_D2_PROVIDER": "upstream", "PYTHONPATH": str(ROOT)}
    command = [python, "-W", "ignore", "-c", "import lowres_d2, detectron2.modeling"]
    try:
        return subprocess.run(command, env=environment, capture_output=True).returncode == 0
    except OSError:
        return False


def main() -> int:
    """Print the table; exit code 1 where a job is slower than upstream by more than the noise."""
    from lowres_d2.programs.command import summary_of

    parser = argparse.ArgumentParser(description=summary_of(__file__))
    parser.add_argument("--upstream-python", default=sys.executable, metavar="PATH")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS)
    parser.add_argument("--jobs", nargs="+", choices=JOBS, default=JOBS)
    parser.add_argument("--size", nargs=2, type=int, default=(320, 480), metavar=("H", "W"))
    parser.add_argument("--batch", type=int, default=2, help="images per batch")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--repeats", type=int, default=1, help="times that a round does the job")
    parser.add_argument(
        "--cpu-time", action="store_true", help="measure processor time, not wall time"
    )
    options = parser.parse_args()
    if not has_upstream(options.upstream_python):
        print(
            f"no upstream Detectron2 for {options.upstream_python}: install it there, or name a "
            "Python that has it with --upstream-python PATH"
        )
        return 2

    print(f"{'model':16} {'job':10} {'bundled':>9} {'upstream':>9} {'ratio':>7} {'noise':>7}")
    clock = "process_time" if options.cpu_time else "perf_counter"
    slower = 0
    for model_name in options.models:
        for job in options.jobs:
            numbers = (*options.size, options.batch, options.repeats)
            arguments = [clock, model_name, job, *map(str, numbers)]
            bundled, upstream, ratio, noise = compare(
                options.upstream_python, arguments, options.rounds
            )
            slower += ratio > 1 + noise
            print(
                f"{model_name:16} {job:10} {bundled:8.3f}s {upstream:8.3f}s {ratio:7.3f} "
                f"±{noise:6.3f}",
                flush=True,
            )
    return int(slower > 0)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--work"]:
        work(*sys.argv[2:5], *map(int, sys.argv[5:]))
    else:
        raise SystemExit(main())
