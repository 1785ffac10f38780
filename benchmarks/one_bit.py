"""Time of 1-bit layers and networks against the same in float32.

    python benchmarks/one_bit.py [--networks] [--path vpopcntdq] [--threads 1] [--rounds 15]

A layer's time is that of packing its input and of convolving the bits; its output's memory is used
again (``out=``); in the last column the library takes memory itself, as packed networks do.
float32 runs in both memory layouts, and the faster one counts. All of them take turns, and are
compared by medians of rounds (and by the fastest round, in brackets): machines are shared. With
``--path avx2`` torch runs in a process of its own with AVX2, too, as ``ATEN_CPU_CAPABILITY`` and
``ONEDNN_MAX_CPU_ISA`` have it. Exit code 1 where a claim is missed.

``--networks``: ResNet-18 and FCOS on P2 to P6 (``configs/common/models/fcos_r18_p2_p6.py``), random
weights, an image of 800x800 (``--side``), batch norms folded on both sides. The 1-bit ones have the
topology with a shortcut around each convolution, in the towers, too. FCOS is timed from image
to detections. The last column is what one image adds to the memory of a process of its own.
"""

from __future__ import annotations

import argparse
import copy
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from lowres_d2.programs.command import summary_of

SHAPES = (  # channels in, out, side of the map, kernel, least ratio with VPOPCNTDQ, with AVX2
    (64, 64, 200, 3, 9.0, 0),
    (128, 128, 100, 3, 12.9, 0),
    (256, 256, 50, 3, 15.3, 5.0),
    (256, 256, 200, 3, 16.2, 5.0),
    (512, 512, 25, 3, 19.3, 5.0),
    (128, 256, 100, 1, 8.1, 0),
)
# Ways of each network, and the least ratio with VPOPCNTDQ, with AVX2; float32 has none.
FLOAT = ("float32 NCHW", "float32 NHWC")
RULES = {  # layers that stay real-valued
    "1 bit": ("first", "shortcuts"),
    "1 bit, as written": ("first", "shortcuts", "last"),
    "1 bit, FPN real": ("first", "shortcuts", "last", "pyramid"),
}
NETWORKS = {
    "ResNet-18": {"1 bit": (6.0, 4.0)},
    "FCOS P2-P6": {"1 bit, as written": (7.0, 0), "1 bit, FPN real": (0, 0)},
}
RECIPE = Path(__file__).parents[1] / "configs" / "common" / "models" / "fcos_r18_p2_p6.py"
AVX2 = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"}


def times(
    ways: dict[str, Callable[[], object]], rounds: int, clock: Callable[[], float]
) -> dict[str, list[float]]:
    """Milliseconds of each way in each round; the ways take turns."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(-2, rounds):  # two to warm up
        for name, way in ways.items():
            start = clock()
            way()
            if number >= 0:
                found[name].append(1e3 * (clock() - start))
    return found


def layer_times(channels: int, outputs: int, side: int, kernel: int, rounds: int, clock):
    """Milliseconds of one layer: float32 in two layouts, 1 bit in given and in own memory."""
    from lowres_d2.deploy.one_bit import PackedWeights, pack_bits, packed_conv

    import torch
    import torch.nn.functional as F

    padding = kernel // 2
    x = torch.randn(1, channels, side, side)
    weights = torch.randn(outputs, channels, kernel, kernel)
    x_last, weights_last = (t.contiguous(memory_format=torch.channels_last) for t in (x, weights))
    signs, scale = PackedWeights.pack(weights, padding), torch.rand(outputs)
    out = torch.empty(1, outputs, side, side).contiguous(memory_format=torch.channels_last)

    def one_bit(out: torch.Tensor | None) -> None:
        packed_conv(pack_bits(x_last, padding=padding), signs, scale=scale, out=out)

    return times(
        {
            "NCHW": lambda: F.conv2d(x, weights, padding=padding),
            "NHWC": lambda: F.conv2d(x_last, weights_last, padding=padding),
            "1 bit": lambda: one_bit(out),
            "own memory": lambda: one_bit(None),
        },
        rounds,
        clock,
    )


def network(name: str, way: str, side: int) -> Callable[[], object]:
    """A function that runs the network on an image."""
    import lowres_d2  # noqa: F401
    from lowres_d2.deploy.one_bit import pack
    from lowres_d2.deploy.one_bit.folding import fold_norms
    from lowres_d2.modeling.backbone import PReLUStem, ShortcutBlock
    from lowres_d2.modeling.one_bit import binarized

    import torch
    from detectron2.config import LazyConfig, instantiate
    from detectron2.modeling.backbone.resnet import ResNet

    torch.manual_seed(0)
    model = instantiate(LazyConfig.load(str(RECIPE)).model)
    if way not in FLOAT:
        stages = ResNet.make_default_stages(18, block_class=ShortcutBlock, norm="BN")
        names = ["res2", "res3", "res4", "res5"]
        model.backbone.bottom_up = ResNet(PReLUStem(), stages, out_features=names)
    whole = name.startswith("FCOS")
    model = (model if whole else model.backbone.bottom_up).eval()
    if way in FLOAT:
        fold_norms(model)
    else:
        model = pack(binarized(model, RULES[way], tower_shortcuts=whole))
    order = torch.contiguous_format if way == FLOAT[0] else torch.channels_last
    model = copy.deepcopy(model).to(memory_format=order)
    image = torch.rand(3, side, side) * 255
    given = [{"image": image}] if whole else image[None].contiguous(memory_format=order)
    return lambda: model(given)


def peak_memory() -> float:
    """The most memory that this process has had, in MB (Linux)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def memory_of(name: str, way: str, side: int, threads: int) -> float:
    """MB that an image takes at most, weights left aside, in a process of its own."""
    command = [sys.executable, __file__, "--memory-of", name, way, "--side", str(side)]
    command += ["--threads", str(threads)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def network_rows(arguments: argparse.Namespace, clock: Callable[[], float], path: str) -> bool:
    """Print a row for each way of each network; whether a claim is missed."""
    print(f"{'network':12}{'':20}{'ms':>9}{'fastest':>9}{'ratio':>8}{'memory MB':>11}")
    missed = False
    for name, claims in NETWORKS.items():
        ways = (*FLOAT, *claims)
        runs = {way: network(name, way, arguments.side) for way in ways}
        found = times(runs, arguments.rounds, clock)
        medians = {way: statistics.median(x) for way, x in found.items()}
        for way in ways:
            ratio = min(medians[x] for x in FLOAT) / medians[way]
            claim = dict(zip(("vpopcntdq", "avx2"), claims.get(way, (0, 0)), strict=True))
            short = ratio < claim.get(path, 0)
            missed |= short
            memory = memory_of(name, way, arguments.side, arguments.threads)
            print(
                f"{name:12}{way:20}{medians[way]:9.1f}{min(found[way]):9.1f}{ratio:8.1f}"
                f"{memory:11.0f}" + (f"  below {claim[path]}" if short else "")
            )
    return missed


def main() -> int:
    """Print a row for each layer, or network; exit code 1 where a claim is missed."""
    parser = argparse.ArgumentParser(description=summary_of(__file__))
    parser.add_argument("--path", default="auto")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--cpu-time", action="store_true", help="processor time, on busy machines")
    parser.add_argument("--networks", action="store_true", help="in place of single layers")
    parser.add_argument("--side", type=int, default=800, help="of the networks' image, in pixels")
    parser.add_argument("--memory-of", nargs=2, metavar=("NETWORK", "WAY"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    clock = time.process_time if arguments.cpu_time else time.perf_counter
    os.environ["LOWRES_D2_ONE_BIT"] = arguments.path
    if arguments.path == "avx2" and any(os.environ.get(name) != x for name, x in AVX2.items()):
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **AVX2})
    import lowres_d2  # noqa: F401
    from lowres_d2.deploy.one_bit import chosen_path

    import torch

    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    path = chosen_path()
    if arguments.memory_of:
        run = network(*arguments.memory_of, arguments.side)
        Path("/proc/self/clear_refs").write_text("5")  # the peak is that of now
        before = peak_memory()
        with torch.inference_mode():
            run()
        print(peak_memory() - before)
        return 0
    print(f"path {path}, {arguments.threads} threads, torch {torch.__version__}, default allocator")
    if arguments.networks:
        with torch.inference_mode():
            return int(network_rows(arguments, clock, path))
    print(f"{'layer':22}{'NCHW ms':>9}{'NHWC ms':>9}{'1 bit ms':>9}{'ratio':>16}{'own memory':>12}")
    missed = False
    with torch.inference_mode():
        for *shape, vpopcntdq, avx2 in SHAPES:
            found = layer_times(*shape, arguments.rounds, clock)
            medians = {name: statistics.median(x) for name, x in found.items()}
            least = {name: min(x) for name, x in found.items()}
            ratios = [min(x["NCHW"], x["NHWC"]) / x["1 bit"] for x in (medians, least)]
            new = min(medians["NCHW"], medians["NHWC"]) / medians["own memory"]
            claim = {"vpopcntdq": vpopcntdq, "avx2": avx2}.get(path, 0)
            missed |= ratios[0] < claim
            name = "{0}->{1} {3}x{3} @{2}".format(*shape)
            print(
                f"{name:22}{medians['NCHW']:9.2f}{medians['NHWC']:9.2f}{medians['1 bit']:9.2f}"
                f"{ratios[0]:9.1f} [{ratios[1]:4.1f}]{new:12.1f}"
                + (f"  below {claim}" if ratios[0] < claim else "")
            )
    return int(missed)


if __name__ == "__main__":
    raise SystemExit(main())
