"""Memory and time of matching thousands of objects in one image, against a claim of 500 MB.

    python benchmarks/matching_memory.py

Each detector's own ``label_anchors`` matches random boxes of 4 to 64 pixels in an image of
800 x 1344, in a process of its own; measured is by how much that process's peak memory rises.
Detectors: RetinaNet and the region proposal network of Faster R-CNN with three anchors per cell at
strides 4 to 64 (268,569 anchors), FCOS and NearestPointFCOS at strides 4 to 64. Then the time for
usual numbers of objects, as a ratio to matching without chunks.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import statistics
import sys
import time
from collections.abc import Callable

SIZE = (800, 1344)
STRIDES = (4, 8, 16, 32, 64)
OBJECTS = 2000
ORDINARY = (7, 30, 100)
CLAIM_MB = 500
DETECTORS = ("retinanet", "rpn", "fcos", "nearest_point_fcos")


def make_matching(name: str) -> Callable[[int], object]:
    """A function of the number of objects that labels all anchors of one image."""
    import lowres_d2  # noqa: F401
    from lowres_d2.modeling.meta_arch import NearestPointFCOS

    import torch
    from detectron2.modeling.anchor_generator import DefaultAnchorGenerator
    from detectron2.modeling.box_regression import Box2BoxTransform
    from detectron2.modeling.matcher import Matcher
    from detectron2.modeling.meta_arch.fcos import FCOS
    from detectron2.modeling.meta_arch.retinanet import RetinaNet
    from detectron2.modeling.proposal_generator.rpn import RPN
    from detectron2.structures import Boxes, Instances

    class Shape:
        def __init__(self, stride: int) -> None:
            self.stride = stride

    class Levels(torch.nn.Module):
        def output_shape(self) -> dict[str, Shape]:
            return {f"p{stride}": Shape(stride) for stride in STRIDES}

    def target(number: int) -> Instances:
        generator = torch.Generator().manual_seed(0)
        side = 4 + 60 * torch.rand(number, 2, generator=generator)
        extent = torch.tensor([SIZE[1], SIZE[0]]) - side
        corner = torch.rand(number, 2, generator=generator) * extent
        found = Instances(SIZE)
        found.gt_boxes = Boxes(torch.cat([corner, corner + side], dim=1))
        found.gt_classes = torch.zeros(number, dtype=torch.int64)
        return found

    features = [torch.empty(1, 1, SIZE[0] // s, SIZE[1] // s) for s in STRIDES]
    pixels = dict(pixel_mean=[0.0], pixel_std=[1.0])
    common = dict(head=torch.nn.Identity(), num_classes=1, head_in_features=None, **pixels)
    if name.endswith("fcos"):
        kind = FCOS if name == "fcos" else NearestPointFCOS
        model = kind(backbone=Levels(), **common)
        anchors = model.anchor_generator(features)
        return lambda number: model.label_anchors(anchors, [target(number)])
    generator = DefaultAnchorGenerator(
        sizes=[[4 * s] for s in STRIDES], aspect_ratios=[0.5, 1.0, 2.0], strides=list(STRIDES)
    )
    anchors = generator(features)
    parts = dict(anchor_generator=generator, box2box_transform=Box2BoxTransform((1.0,) * 4))
    if name == "retinanet":
        matcher = Matcher([0.4, 0.5], [0, -1, 1], allow_low_quality_matches=True)
        model = RetinaNet(backbone=Levels(), anchor_matcher=matcher, **parts, **common)
        return lambda number: model.label_anchors(anchors, [target(number)])
    rpn = RPN(
        in_features=[],
        head=torch.nn.Identity(),
        anchor_matcher=Matcher([0.3, 0.7], [0, -1, 1], allow_low_quality_matches=True),
        batch_size_per_image=256,
        positive_fraction=0.5,
        pre_nms_topk=(2000, 1000),
        post_nms_topk=(1000, 1000),
        **parts,
    )
    return lambda number: rpn.label_and_sample_anchors(anchors, [target(number)])


def extra_memory(name: str, number: int = OBJECTS) -> float:
    """Megabytes (1e6 bytes) by which matching raises this process's peak."""
    matching = make_matching(name)
    matching(3)  # warms up: allocations of the first use do not count
    unit = 1 if sys.platform == "darwin" else 1024
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    matching(number)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * unit / 1e6


def time_ratio(name: str, number: int, rounds: int = 7) -> float:
    """Processor time of matching over that without chunks, median of interleaved rounds."""
    from lowres_d2 import row_chunks

    import torch
    from detectron2.modeling import matcher

    torch.set_num_threads(1)
    matching = make_matching(name)
    usual, ratios = row_chunks.CHUNK_ENTRIES, []
    for _ in range(rounds):
        spent = []
        for entries in (usual, 2**40):
            row_chunks.CHUNK_ENTRIES = matcher.CHUNK_ENTRIES = entries
            start = time.thread_time()
            matching(number)
            spent.append(time.thread_time() - start)
        ratios.append(spent[0] / spent[1])
    row_chunks.CHUNK_ENTRIES = matcher.CHUNK_ENTRIES = usual
    return statistics.median(ratios)


def main() -> None:
    """Print a row for each detector; exit with 1 where one takes more than claimed."""
    from lowres_d2.programs.command import summary_of

    argparse.ArgumentParser(description=summary_of(__file__)).parse_args()
    columns = "".join(f"{f'time x, {number}':>13}" for number in ORDINARY)
    print(f"{'':20}{f'MB, {OBJECTS} objects':>18}{columns}")
    too_much = False
    for name in DETECTORS:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            megabytes = pool.apply(extra_memory, (name,))
            ratios = [pool.apply(time_ratio, (name, number)) for number in ORDINARY]
        print(f"{name:20}{megabytes:18.0f}" + "".join(f"{ratio:13.2f}" for ratio in ratios))
        too_much |= megabytes > CLAIM_MB
    raise SystemExit(int(too_much))


if __name__ == "__main__":
    main()
