"""Images per second that one core loads, crops and mirrors in batches, against a claim of 20,000.

    python benchmarks/array_loading.py [--rounds 15]

``build_array_train_loader`` makes batches of 128 images of 32x32 by tensor operations, with crop
and flip as CIFAR's recipes have them. The other row is the usual way: torchvision's transforms on
one Pillow image after the other, which are then stacked; without a DataLoader, whose processes
would hide the cost. Both take turns in this process with one thread. Rates are medians over rounds,
of processor time, since machines are shared; the ratio is the median of those of single rounds.
Exit code 1 where the claim is missed.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterator

import lowres_d2  # noqa: F401  (first: it decides which Detectron2 runs)
from lowres_d2.data.classification import ImageArrays, build_array_train_loader
from lowres_d2.programs.command import summary_of

import torch
from PIL import Image
from torchvision import transforms

CLAIM = 20_000
NUMBER, SIDE, BATCH, PADDING = 20_000, 32, 128, 4
BATCHES = 60  # of a round


def image_by_image(dataset: ImageArrays) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Endless batches of images and labels, as torchvision's data sets and transforms make them."""
    augment = transforms.Compose(
        [
            transforms.RandomCrop(SIDE, padding=PADDING),
            transforms.RandomHorizontalFlip(),
            transforms.PILToTensor(),
        ]
    )
    # As torchvision's CIFAR10 holds them: (N, H, W, 3) in memory, a Pillow image at each access.
    pixels = dataset.images.permute(0, 2, 3, 1).contiguous().numpy()
    while True:
        for indices in torch.randperm(len(pixels)).split(BATCH)[: len(pixels) // BATCH]:
            images = [augment(Image.fromarray(pixels[k])) for k in indices.tolist()]
            yield torch.stack(images), torch.tensor([dataset.labels[k] for k in indices.tolist()])


def rate(batches: Iterator, number: int) -> float:
    """Images per second of processor time."""
    start = time.process_time()
    for _ in range(number):
        next(batches)
    return number * BATCH / (time.process_time() - start)


def main() -> int:
    """Print a row for each way; exit code 1 where the claim is missed."""
    parser = argparse.ArgumentParser(description=summary_of(__file__))
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    images = torch.randint(0, 256, (NUMBER, 3, SIDE, SIDE), dtype=torch.uint8)
    dataset = ImageArrays(images, [k % 10 for k in range(NUMBER)], list("0123456789"), "noise")
    ways = {
        "build_array_train_loader": iter(build_array_train_loader(dataset, BATCH, 0, PADDING)),
        "torchvision, one by one": image_by_image(dataset),
    }
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for batches in ways.values():  # warms up
        rate(batches, 5)
    for number in range(rounds):
        for name in list(ways) if number % 2 else reversed(ways):
            rates[name].append(rate(ways[name], BATCHES))
    print(f"{'':26}{'images per CPU s':>18}{'of claim':>10}")
    for name, found in rates.items():
        median = statistics.median(found)
        print(f"{name:26}{median:18.0f}{median / CLAIM:10.2f}")
    ours, theirs = rates.values()
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    low, _, high = statistics.quantiles(ratios, n=4)
    print(f"ratio {statistics.median(ratios):.1f} ±{(high - low) / 2:.1f}")
    return int(statistics.median(ours) < CLAIM)


if __name__ == "__main__":
    raise SystemExit(main())
