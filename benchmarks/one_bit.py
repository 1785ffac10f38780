"""Time of 1-bit convolutions against the same layers of torch in float32.

    python benchmarks/one_bit.py [--path vpopcntdq] [--threads 1] [--rounds 15]

A layer's time is that of packing its input and of convolving the bits; its output's memory is used
again (``out=``), as packed networks do, and in the last column it is new each time, as torch's is.
float32 runs in both memory layouts, and the faster one counts. All of them take turns, and are
compared by medians of rounds (and by the fastest round, in brackets): machines are shared. With
``--path avx2`` torch runs in a process of its own with AVX2, too, as ``ATEN_CPU_CAPABILITY`` and
``ONEDNN_MAX_CPU_ISA`` have it. Exit code 1 where a claim is missed.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable

from lowres_d2.programs.command import summary_of

SHAPES = (  # channels in, out, side of the map, kernel, least ratio with VPOPCNTDQ, with AVX2
    (64, 64, 200, 3, 9.0, 0),
    (128, 128, 100, 3, 12.9, 0),
    (256, 256, 50, 3, 15.3, 5.0),
    (256, 256, 200, 3, 16.2, 5.0),
    (512, 512, 25, 3, 19.3, 5.0),
    (128, 256, 100, 1, 8.1, 0),
)
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
    """Milliseconds of one layer: float32 in two layouts, 1 bit with old and new memory."""
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
            "new memory": lambda: one_bit(None),
        },
        rounds,
        clock,
    )


def main() -> int:
    """Print a row for each layer; exit code 1 where a claim is missed."""
    parser = argparse.ArgumentParser(description=summary_of(__file__))
    parser.add_argument("--path", default="auto")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--cpu-time", action="store_true", help="processor time, on busy machines")
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
    print(f"path {path}, {arguments.threads} threads, torch {torch.__version__}, default allocator")
    print(f"{'layer':22}{'NCHW ms':>9}{'NHWC ms':>9}{'1 bit ms':>9}{'ratio':>16}{'new memory':>12}")
    missed = False
    with torch.inference_mode():
        for *shape, vpopcntdq, avx2 in SHAPES:
            found = layer_times(*shape, arguments.rounds, clock)
            medians = {name: statistics.median(x) for name, x in found.items()}
            least = {name: min(x) for name, x in found.items()}
            ratios = [min(x["NCHW"], x["NHWC"]) / x["1 bit"] for x in (medians, least)]
            new = min(medians["NCHW"], medians["NHWC"]) / medians["new memory"]
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
