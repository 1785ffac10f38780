"""Time of int8, which a user would pick in place of a 1-bit detector, against torch in float32.

    python benchmarks/int8.py [--size 800] [--threads 1] [--rounds 5] [--only layers backbone]

Needs ``pip install onnx onnxscript onnxruntime openvino nncf``. Measured are chains of equal 3x3
convolutions with ReLU (time of one), the ResNet-18 of the detectors of tiny objects, FCOS on P2 to
P6 without and with its post-processing. Batch norms are folded for all. torch runs in both memory
layouts, and the faster one counts; onnxruntime and OpenVINO run the same graph in float (OpenVINO
in bfloat16 where the CPU has it) and quantised to int8 by their own tools. All take turns, in one
process. With one thread its processor time is measured, else time. Weights are random; so many
boxes of FCOS pass its score threshold as ``--candidates`` says.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import lowres_d2  # noqa: F401  (first: it decides which Detectron2 runs)
from lowres_d2.deploy.int8 import (
    DenseNetwork,
    Network,
    folded,
    onnxruntime_int8,
    openvino_int8,
    with_network,
    with_onnxruntime,
    with_openvino,
    write_onnx,
)
from lowres_d2.programs.command import summary_of

import torch
from detectron2.config import LazyConfig, instantiate
from tabulate import tabulate
from torch import Tensor, nn

MODEL = "configs/common/models/fcos_r18_p2_p6.py"
SUBJECTS = ("layers", "backbone", "fcos")
LAYERS = ((64, 200), (128, 100), (256, 50), (256, 200), (512, 25))  # channels, side
CHAIN = 4  # layers: what enters and leaves the graph is converted once
CALIBRATION = 2  # random images: ranges alone do not change the time
NCHW, NHWC = "torch NCHW", "torch NHWC"


class Backbone(nn.Module):
    """The backbone of a detector alone, with folded norms."""

    def __init__(self, detector: nn.Module) -> None:
        super().__init__()
        self.layers = folded(detector.backbone.bottom_up)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Its feature maps."""
        return tuple(self.layers(image).values())


class Chain(nn.Sequential):
    """Equal convolutions, each with a ReLU."""

    def __init__(self, channels: int) -> None:
        layers = (nn.Conv2d(channels, channels, 3, padding=1) for _ in range(CHAIN))
        super().__init__(*(part for layer in layers for part in (layer, nn.ReLU(inplace=True))))

    def forward(self, image: Tensor) -> tuple[Tensor]:
        """The last one's output."""
        return (super().forward(image),)


def ways_to_run(network: nn.Module, image: Tensor, threads: int) -> dict[str, Network]:
    """A network by each engine and precision."""
    network = network.eval()
    last = {"memory_format": torch.channels_last}
    channels_last = folded(network).to(**last)
    with tempfile.TemporaryDirectory() as folder:
        graph = write_onnx(network, image, Path(folder, "network.onnx"))
        images = [torch.randn_like(image) for _ in range(CALIBRATION)]
        return {
            NCHW: network,
            NHWC: lambda x: channels_last(x.contiguous(**last)),
            "onnxruntime float32": with_onnxruntime(graph, threads),
            "OpenVINO float": with_openvino(graph, threads),
            "onnxruntime int8": with_onnxruntime(onnxruntime_int8(graph, images), threads),
            "OpenVINO int8": with_openvino(openvino_int8(graph, images), threads),
        }


def times(
    ways: dict[str, Network], given: Any, rounds: int, clock: Callable[[], float]
) -> dict[str, list[float]]:
    """Milliseconds of each way in each round; the ways take turns."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(-1, rounds):  # one to warm up
        for name, way in ways.items():
            start = clock()
            way(given)
            if number >= 0:
                found[name].append(1e3 * (clock() - start))
    return found


def subjects(args: argparse.Namespace, detector: nn.Module) -> Iterator[tuple[str, dict, Any, int]]:
    """Name, ways to run it, what it is given, and how many equal parts it has."""
    if "layers" in args.only:
        for channels, side in LAYERS:
            x = torch.rand(1, channels, side, side)
            ways = ways_to_run(Chain(channels), x, args.threads)
            yield f"3x3, {channels} channels, {side}x{side}", ways, x, CHAIN
    image = torch.randn(1, 3, args.size, args.size)
    if "backbone" in args.only:
        yield "ResNet-18", ways_to_run(Backbone(detector), image, args.threads), image, 1
    if "fcos" in args.only:
        ways = ways_to_run(DenseNetwork(detector), image, args.threads)
        yield "FCOS", ways, image, 1
        pixels = torch.randint(0, 256, image.shape[1:], dtype=torch.uint8)
        given = [{"image": pixels, "height": args.size, "width": args.size}]
        set_threshold(detector, given, args.candidates)
        whole = {name: with_network(detector, way) for name, way in ways.items()}
        yield "FCOS with post-processing", whole, given, 1


def set_threshold(detector: nn.Module, given: list[dict[str, Any]], candidates: int) -> None:
    """Choose the score threshold that so many pairs of a cell and a class pass."""
    network = DenseNetwork(detector)
    images = detector.preprocess_image(given)
    found, levels = network(images.tensor), len(detector.head_in_features)
    classes, centres = found[:levels], found[2 * levels :]
    scores = [
        (c.sigmoid() * o.sigmoid()).sqrt().flatten() for c, o in zip(classes, centres, strict=True)
    ]
    detector.test_score_thresh = float(torch.cat(scores).topk(candidates).values[-1])


def row(name: str, found: dict[str, list[float]], parts: int) -> dict[str, str]:
    """Cells of the table: median time, and how many times faster than torch."""
    medians = {way: statistics.median(ms) / parts for way, ms in found.items()}
    torch_ms = min(medians[NCHW], medians[NHWC])
    cells = {"": name, "torch float32": f"{torch_ms:.1f} ms"}
    for way, ms in medians.items():
        if way not in (NCHW, NHWC):
            cells[way] = f"{ms:.1f} ms, {torch_ms / ms:.1f}x"
    return cells


def main() -> None:
    """Print a row for each subject as soon as it is measured, then the table."""
    parser = argparse.ArgumentParser(description=summary_of(__file__))
    parser.add_argument("--size", type=int, default=800, help="side of the image, in 64s for FCOS")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--candidates", type=int, default=1000, help="boxes that go into NMS")
    parser.add_argument("--only", nargs="+", choices=SUBJECTS, default=SUBJECTS)
    args = parser.parse_args()
    logging.getLogger("nncf").setLevel(logging.ERROR)
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    clock = time.process_time if args.threads == 1 else time.perf_counter
    detector = instantiate(LazyConfig.load(MODEL).model).eval()
    rows = []
    with torch.inference_mode():
        for name, ways, given, parts in subjects(args, detector):
            rows.append(row(name, times(ways, given, args.rounds, clock), parts))
            print(rows[-1], flush=True)
    print(tabulate(rows, headers="keys", tablefmt="github"))


if __name__ == "__main__":
    main()
