"""Time and memory of our Deformable DETR relative to that of Hugging Face's transformers.

    python benchmarks/deformable_detr.py

Both have ResNet-50, 91 classes and the same random weights, and take turns on the same noise, in
one process, on one thread, whose processor time is measured; each ratio is that of one round. Our
weights are channels-last, as ``train.channels_last`` makes them. A training iteration is a forward
pass with the predictions of all layers, and the backward pass of the sum of the last layer's
predictions, without losses or optimizer. In both, batch norms and the backbone's first stages are
frozen. Memory is the growth of a separate process. The claim: our forward pass takes at most 0.7 of
their time.

Needs ``pip install transformers``.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import lowres_d2  # noqa: F401
from lowres_d2.modeling.deformable_detr.convert import convert_deformable_detr
from lowres_d2.programs.command import summary_of

import torch
from detectron2.config import LazyConfig, instantiate
from detectron2.structures import ImageList
from torch import Tensor, nn

RECIPE = Path(__file__).resolve().parents[1] / "configs/common/models/deformable_detr.py"
CLASSES = 91
LIMIT = 0.7
JOBS = ("forward", "training iteration")


def build_theirs() -> nn.Module:
    """The model of transformers, with random weights."""
    import transformers

    backbone = transformers.ResNetConfig(out_features=["stage2", "stage3", "stage4"])
    config = transformers.DeformableDetrConfig(
        backbone=None,
        use_timm_backbone=False,
        use_pretrained_backbone=False,
        backbone_config=backbone,
        num_labels=CLASSES,
    )
    torch.manual_seed(0)
    model = transformers.DeformableDetrForObjectDetection(config)
    # The parts that freeze_at=2 freezes in ours.
    for name, parameter in model.named_parameters():
        if any(part in name for part in ("embedder.", "stages.0.")):
            parameter.requires_grad_(False)
    return model


def build_ours() -> nn.Module:
    """Our model, with random weights."""
    recipe = LazyConfig.load(str(RECIPE))
    recipe.model.num_classes = CLASSES
    return instantiate(recipe.model).to(memory_format=torch.channels_last)


def predict_theirs(model: nn.Module, image: Tensor) -> list[Tensor]:
    """Logits (N, Q, K) and boxes (N, Q, 4) of a normalised image."""
    out = model(pixel_values=image, pixel_mask=image.new_ones(image[:, 0].shape).long())
    return [out.logits, out.pred_boxes]


def predict_ours(model: nn.Module, image: Tensor) -> list[Tensor]:
    """As :func:`predict_theirs`."""
    out = model.predict(ImageList(image, [tuple(image.shape[-2:])] * len(image)))
    return [out["pred_logits"], out["pred_boxes"]]


SIDES = {"ours": (build_ours, predict_ours), "theirs": (build_theirs, predict_theirs)}


def make_job(side: str, job: str, model: nn.Module, image: Tensor) -> Callable[[], object]:
    """A function that does the job once."""
    predict = SIDES[side][1]
    if job == "forward":

        def forward() -> list[Tensor]:
            with torch.no_grad():
                return predict(model.eval(), image)

        return forward

    def iterate() -> None:
        model.zero_grad()
        sum(tensor.sum() for tensor in predict(model.train(), image)).backward()

    return iterate


def peak() -> float:
    """The most MiB that this process has held so far."""
    fields = dict(x.split(":", 1) for x in Path("/proc/self/status").read_text().splitlines())
    return int(fields["VmHWM"].split()[0]) / 2**10


def growth(side: str, job: str, size: tuple[int, int], results: multiprocessing.Queue) -> None:
    """Child process: measure by how many MiB a job makes the process grow."""
    torch.set_num_threads(1)
    work = make_job(side, job, SIDES[side][0](), torch.randn(1, 3, *size))
    before = peak()
    work()
    results.put(peak() - before)


def memory(side: str, job: str, size: tuple[int, int]) -> float:
    """MiB that a job needs beyond the model, measured in a new process."""
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    child = context.Process(target=growth, args=(side, job, size, results))
    child.start()
    child.join()
    if child.exitcode:
        raise SystemExit(f"{job}, {side}: the process that measures memory has failed")
    return results.get()


def compare(jobs: dict[str, Callable[[], object]], rounds: int) -> tuple[float, ...]:
    """Median seconds of ours and theirs, median ratio, and half its interquartile range."""
    seconds: dict[str, list[float]] = {side: [] for side in jobs}
    for work in jobs.values():
        work()
    for number in range(rounds):
        for side in list(jobs)[:: 1 if number % 2 else -1]:
            start = time.thread_time()
            jobs[side]()
            seconds[side].append(time.thread_time() - start)
    ratios = [ours / theirs for ours, theirs in zip(*seconds.values(), strict=True)]
    low, _, high = statistics.quantiles(ratios, n=4)
    medians = (statistics.median(values) for values in seconds.values())
    return *medians, statistics.median(ratios), (high - low) / 2


def main() -> int:
    """Print the table; exit code 1 where the claim does not hold."""
    parser = argparse.ArgumentParser(description=summary_of(__file__))
    parser.add_argument("--size", nargs=2, type=int, default=(800, 1120), metavar=("H", "W"))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--jobs", nargs="+", choices=JOBS, default=JOBS)
    parser.add_argument(
        "--no-memory", action="store_true", help="do not measure memory, which needs Linux"
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    theirs, ours = build_theirs(), build_ours()
    ours.load_state_dict(convert_deformable_detr(theirs.state_dict(), ours))
    models = {"ours": ours, "theirs": theirs}
    image = torch.randn(1, 3, *options.size)
    pairs = zip(*(make_job(s, "forward", models[s], image)() for s in models), strict=True)
    print(f"outputs differ by at most {max((a - b).abs().max().item() for a, b in pairs):.1e}")
    print(f"{'job':18} {'ours':>9} {'theirs':>9} {'ratio':>7} {'noise':>7}   memory, MiB")
    missed = 0
    for job in options.jobs:
        work = {side: make_job(side, job, models[side], image) for side in models}
        ours_s, theirs_s, ratio, noise = compare(work, options.rounds)
        missed += job == "forward" and ratio > LIMIT
        line = f"{job:18} {ours_s:8.3f}s {theirs_s:8.3f}s {ratio:7.3f} ±{noise:6.3f}"
        if not options.no_memory:
            sizes = [memory(side, job, tuple(options.size)) for side in models]
            line += "   {:.0f} : {:.0f}".format(*sizes)
        print(line, flush=True)
    return int(missed > 0)


if __name__ == "__main__":
    raise SystemExit(main())
