"""Time of detectors in 1 bit and in int8, which a user would pick instead, against float32.

    python benchmarks/int8.py [--size 800] [--threads 1] [--rounds 5] [--only layers backbone]

Needs ``pip install onnx onnxscript onnxruntime openvino nncf``. Measured are chains of equal 3x3
convolutions with an activation (time of one), a ResNet-18, and FCOS on P2 to P6 without and with
its post-processing. float32 is torch's, in both memory layouts, of which the faster one counts.
onnxruntime and OpenVINO run the same network in float (OpenVINO in bfloat16 where the CPU has it)
and quantised to int8 by their own tools. The 1-bit network has a shortcut around each convolution
of the backbone; real-valued in it are the first layer, shortcuts and last layers, and in the last
column the pyramid, too. Batch norms are folded everywhere.

All take turns, in one process. With one thread its processor time is measured, else time. Weights
are random; so many boxes of FCOS pass its score threshold as ``--candidates`` says.
"""

from __future__ import annotations

import argparse
import itertools
import logging
import platform
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
from lowres_d2.deploy.one_bit import PackedWeights, chosen_path, pack, pack_bits, packed_conv
from lowres_d2.modeling.backbone import PReLUStem, ShortcutBlock
from lowres_d2.modeling.one_bit import binarized
from lowres_d2.programs.command import summary_of

import torch
from detectron2.config import LazyCall as L
from detectron2.config import LazyConfig, instantiate
from tabulate import tabulate
from torch import Tensor, nn

MODEL = "configs/common/models/fcos_r18_p2_p6.py"
RULES = {
    "1 bit": ("first", "shortcuts", "last"),
    "1 bit, real-valued pyramid": ("first", "shortcuts", "last", "pyramid"),
}
SUBJECTS = ("layers", "backbone", "fcos")
LAYERS = ((64, 200), (128, 100), (256, 50), (256, 200), (512, 25))  # channels, side
CHAIN = 4  # layers: what enters and leaves an engine's graph is converted once
CALIBRATION = 2  # random images: ranges alone do not change the time
NCHW, NHWC = "torch NCHW", "torch NHWC"
LAST = {"memory_format": torch.channels_last}


class Backbone(nn.Module):
    """The backbone of a detector alone."""

    def __init__(self, layers: nn.Module) -> None:
        super().__init__()
        self.layers = layers

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

    def in_one_bit(self, x: Tensor) -> Network:
        """Equal 1-bit convolutions with PReLU: numbers in, numbers out, packed before each."""
        weights = [PackedWeights.pack(part.weight, 1) for part in self if hasattr(part, "weight")]
        scale, slope = torch.rand(x.shape[1]), torch.full((x.shape[1],), 0.25)
        memory = itertools.cycle([torch.empty_like(x, **LAST) for _ in range(2)])

        def run(x: Tensor) -> Tensor:
            for each in weights:
                bits = pack_bits(x, padding=1)
                x, _ = packed_conv(bits, each, scale=scale, slope=slope, out=next(memory))
            return x

        x = x.contiguous(**LAST)
        return lambda _: run(x)


def detector(real_layers: tuple[str, ...] = (), shortcuts: bool = False) -> nn.Module:
    """FCOS with random weights; with layers that stay real-valued, in 1 bit."""
    config = LazyConfig.load(MODEL).model
    if real_layers:
        config.backbone.bottom_up.stem = L(PReLUStem)()
        config.backbone.bottom_up.stages.block_class = ShortcutBlock
    model = instantiate(config)
    if real_layers:
        model = binarized(model, real_layers, tower_shortcuts=shortcuts)
    return model.eval()


def predictions(model: nn.Module) -> Network:
    """A detector's network alone."""

    def run(image: Tensor) -> list[Tensor]:
        maps = model.backbone(image)
        found = model.head([maps[name] for name in model.head_in_features])
        return [level for kind in found for level in kind]

    return run


def real_valued_ways(network: nn.Module, image: Tensor, threads: int) -> dict[str, Network]:
    """A network by each engine and precision."""
    network = network.eval()
    channels_last = folded(network).to(**LAST)
    with tempfile.TemporaryDirectory() as folder:
        graph = write_onnx(network, image, Path(folder, "network.onnx"))
        images = [torch.randn_like(image) for _ in range(CALIBRATION)]
        return {
            NCHW: network,
            NHWC: lambda x: channels_last(x.contiguous(**LAST)),
            "onnxruntime float32": with_onnxruntime(graph, threads),
            "OpenVINO float": with_openvino(graph, threads),
            "onnxruntime int8": with_onnxruntime(onnxruntime_int8(graph, images), threads),
            "OpenVINO int8": with_openvino(openvino_int8(graph, images), threads),
        }


def subjects(args: argparse.Namespace) -> Iterator[tuple[str, dict[str, Callable], Any, int]]:
    """Name, ways to run it, what it is given, and how many equal parts it has."""
    if "layers" in args.only:
        for channels, side in LAYERS:
            x, chain = torch.randn(1, channels, side, side), Chain(channels)
            ways = real_valued_ways(chain, x, args.threads) | {"1 bit": chain.in_one_bit(x)}
            yield f"3x3, {channels} channels, {side}x{side}", ways, x, CHAIN
    image, model = torch.randn(1, 3, args.size, args.size), detector()
    if "backbone" in args.only:
        ways = real_valued_ways(Backbone(folded(model.backbone.bottom_up)), image, args.threads)
        one_bit = pack(detector(RULES["1 bit"])).backbone.bottom_up
        yield "ResNet-18", ways | {"1 bit": Backbone(one_bit)}, image, 1
    if "fcos" in args.only:
        ways = real_valued_ways(DenseNetwork(model), image, args.threads)
        packed = {name: pack(detector(real, args.tower_shortcuts)) for name, real in RULES.items()}
        alone = ways | {name: predictions(each) for name, each in packed.items()}
        yield "FCOS", alone, image, 1
        pixels = torch.randint(0, 256, image.shape[1:], dtype=torch.uint8)
        given = [{"image": pixels, "height": args.size, "width": args.size}]
        for each in (model, *packed.values()):
            set_threshold(each, given, args.candidates)
        whole = {name: with_network(model, way) for name, way in ways.items()} | packed
        yield "FCOS with post-processing", whole, given, 1


def set_threshold(model: nn.Module, given: list[dict[str, Any]], candidates: int) -> None:
    """Choose the score threshold of FCOS that so many boxes pass."""
    found = predictions(model)(model.preprocess_image(given).tensor)
    levels = len(model.head_in_features)
    pairs = zip(found[:levels], found[2 * levels :], strict=True)
    scores = [(c.sigmoid() * centre.sigmoid()).sqrt().flatten() for c, centre in pairs]
    model.test_score_thresh = float(torch.cat(scores).topk(candidates).values[-1])


def times(
    ways: dict[str, Callable], given: Any, rounds: int, clock: Callable[[], float]
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
    parser.add_argument("--size", type=int, default=800, help="side of the image, in 32s")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--candidates", type=int, default=1000, help="boxes that go into NMS")
    parser.add_argument(
        "--tower-shortcuts", action="store_true", help="around the 1-bit convolutions of the head"
    )
    parser.add_argument("--only", nargs="+", choices=SUBJECTS, default=SUBJECTS)
    args = parser.parse_args()
    logging.getLogger("nncf").setLevel(logging.ERROR)
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    clock = time.process_time if args.threads == 1 else time.perf_counter
    where = f"{platform.processor() or platform.machine()}, {args.threads} thread(s)"
    print(f"{where}, 1 bit by {chosen_path()}, torch {torch.__version__}, {args.size}x{args.size}")
    rows = []
    with torch.inference_mode():
        for name, ways, given, parts in subjects(args):
            rows.append(row(name, times(ways, given, args.rounds, clock), parts))
            print(rows[-1], flush=True)
    print(tabulate(rows, headers="keys", tablefmt="github"))


if __name__ == "__main__":
    main()
