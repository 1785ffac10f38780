"""Bottom-heavy residual networks: blocks moved from late stages to early ones at equal MACs.

Source: Ning et al., "Rethinking the Backbone Architecture for Tiny Object Detection" (VISAPP 2023),
Sec. 3 and Table 4. What tells tiny objects apart is lost where feature maps are downsampled before
much has been computed, so the first downsampling comes later and early stages get more blocks.

The paper has one such network, BH-ResNet50, and calls its choice not final (Sec. 6). Here any
ResNet of Detectron2's blocks has a twin; of ResNet-50 it is the paper's, with blocks 7, 6, 2, 1.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator, Sequence
from itertools import product
from math import ceil, floor
from typing import Any

from lowres_d2.modeling.backbone.shortcut_resnet import PReLUStem
from lowres_d2.modeling.backbone.small import DeepStem, SmallStem

import fvcore.nn.weight_init as weight_init
import torch
from detectron2.layers import CNNBlockBase, Conv2d
from detectron2.modeling.backbone.resnet import BasicStem, ResNet
from jaxtyping import Float
from torch import Tensor, nn

logger = logging.getLogger(__name__)

# Of the MACs of BH-ResNet50's stages (Table 4, Fig. 2b).
PAPER_SHARES = (0.394, 0.365, 0.147, 0.093)
PAPER_SIZE = (512, 640)  # height and width of the images that Table 4 counts on


class BottomHeavyStem(SmallStem):
    """A 3x3 convolution at full resolution, and a 3x3 max pooling of stride 2 (Table 4, stem).

    Args:
        in_channels: channels of the image.
        out_channels: channels of the output.
        norm: name of a normalisation that ``get_norm`` knows.
    """

    def __init__(self, in_channels: int = 3, out_channels: int = 64, norm: Any = "BN") -> None:
        super().__init__(in_channels, out_channels, 1, norm)
        self.stride = 2
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)

    def forward(self, x: Float[Tensor, "N _C H W"]) -> Float[Tensor, "N C h w"]:
        """Features of images, at a stride of 2."""
        return self.pool(super().forward(x))


def bottom_heavy(
    backbone: ResNet,
    blocks: Sequence[int] | None = None,
    late: bool = True,
    shares: Sequence[float] | None = None,
    tolerance: float = 0.02,
) -> ResNet:
    """The bottom-heavy twin of a ResNet: more blocks in early stages, at equal MACs.

    Without ``blocks`` they are searched: of all numbers that do not grow from stage to stage and
    keep the MACs within ``tolerance``, those whose stages have the shares of MACs nearest to
    ``shares`` (least squares). On ResNet-50 this finds the paper's 7, 6, 2, 1. MACs before and
    after are logged. Weights are new; names of parameters are those of Detectron2's ResNets.

    Args:
        backbone: a ResNet of Detectron2's blocks, or of blocks built like these.
        blocks: number of blocks of each stage.
        late: whether the stem becomes :class:`BottomHeavyStem` (with PReLU, one with PReLU does),
            and ``res2`` takes over a stride that it loses, so that output strides stay.
        shares: of each stage in the MACs of all; None: those of BH-ResNet50's.
        tolerance: allowed relative difference in MACs of the search.

    Raises:
        ValueError: the numbers do not fit, no numbers of blocks keep the MACs, or the network has
            no such twin; says which.
    """
    backbone = copy.deepcopy(backbone)
    before = [list(getattr(backbone, name).children()) for name in backbone.stage_names]
    budget = sum(map(sum, _macs(backbone)))
    stem = _late_stem(backbone.stem) if late else backbone.stem
    first = [stage[0] for stage in before]
    if stem.stride < backbone.stem.stride:
        first[0] = _strided(first[0], before[1][0] if len(before) > 1 else None)
    pairs = [[block, _inner(block)] for block in first]
    skeleton = ResNet(stem, pairs, out_features=[backbone.stage_names[-1]])
    (stem_macs,), *stage_macs = _macs(skeleton)
    if blocks is None:
        wanted = _shares_of(shares, len(pairs))
        blocks = _search(budget - stem_macs, stage_macs, wanted, tolerance * budget)
        if blocks is None:
            counts = ", ".join(str(len(stage)) for stage in before)
            raise ValueError(
                f"bottom_heavy: no blocks have the MACs of {counts} within {tolerance:.1%}, none "
                "of them more in a later stage: raise tolerance, or give blocks"
            )
    elif len(blocks) != len(pairs) or min(blocks) < 1:
        raise ValueError(
            f"bottom_heavy: blocks={[*blocks]}: expected {len(pairs)} positive numbers"
        )
    stages = [
        [start] + [_inner(start) for _ in range(number - 1)]
        for (start, _), number in zip(pairs, blocks, strict=True)
    ]
    after = stem_macs + sum(map(_stage_macs, stage_macs, blocks))
    logger.info(
        "bottom-heavy twin: blocks %s -> %s, MACs %.3f G -> %.3f G (%+.1f %%) on %dx%d",
        *("-".join(str(len(stage)) for stage in network) for network in (before, stages)),
        *(budget / 1e9, after / 1e9, 100 * (after / budget - 1), *PAPER_SIZE),
    )
    return ResNet(stem, stages, backbone.num_classes, list(backbone._out_features))


def _search(
    budget: float, macs: Sequence[Sequence[float]], shares: Sequence[float], slack: float
) -> tuple[int, ...] | None:
    """Numbers of blocks of each stage, see :func:`bottom_heavy`; None: there are none."""
    candidates = _within(budget, macs, slack)

    def rank(blocks: tuple[int, ...]) -> tuple:
        costs = [*map(_stage_macs, macs, blocks)]
        total = sum(costs)
        distance = sum((c / total - share) ** 2 for c, share in zip(costs, shares, strict=True))
        return distance, abs(total - budget), blocks

    return min(candidates, key=rank, default=None)


def _within(
    budget: float, macs: Sequence[Sequence[float]], slack: float
) -> Iterator[tuple[int, ...]]:
    """All numbers of blocks that do not grow from stage to stage and keep the MACs."""
    (first, more), *later = macs
    # Of a later stage, as many as leave the first one block.
    left = budget + slack - sum(stage[0] for stage in macs)
    ranges = [range(1, max(floor(left / each) + 2, 2)) for _, each in later]
    for rest in product(*ranges):
        if list(rest) != sorted(rest, reverse=True):
            continue
        free = budget - first - sum(map(_stage_macs, later, rest))
        lowest = max(1 + ceil((free - slack) / more), *rest, 1)
        for number in range(lowest, 2 + floor((free + slack) / more)):
            yield (number, *rest)


def _stage_macs(macs: Sequence[float], blocks: int) -> float:
    """MACs of a stage of so many blocks, from those of its first and of each further one."""
    return macs[0] + (blocks - 1) * macs[1]


def _shares_of(shares: Sequence[float] | None, stages: int) -> list[float]:
    """Shares that sum up to 1; the paper's first ones for fewer stages than its four."""
    wanted = list(PAPER_SHARES[:stages] if shares is None else shares)
    if len(wanted) != stages or min(wanted) < 0 or not sum(wanted):
        raise ValueError(f"bottom_heavy: shares={wanted}: expected {stages} numbers, not negative")
    return [share / sum(wanted) for share in wanted]


def _late_stem(stem: nn.Module) -> CNNBlockBase:
    """The stem of Table 4 with the channels, the norm and the activation of a given one."""
    if not isinstance(stem, BasicStem | SmallStem | DeepStem | PReLUStem) or stem.stride == 1:
        raise ValueError(
            f"bottom_heavy: a {type(stem).__name__} of stride {stem.stride} has no later form: "
            "late=False keeps it"
        )
    convolutions = [layer for layer in stem.modules() if isinstance(layer, nn.Conv2d)]
    norm = convolutions[-1].norm
    arguments = (
        convolutions[0].in_channels,
        stem.out_channels,
        "" if norm is None else lambda _: copy.deepcopy(norm),
    )
    if isinstance(stem, PReLUStem):
        late = PReLUStem(*arguments, kernel_size=3)
        late.conv1.stride, late.stride = (1, 1), 2
    else:
        late = BottomHeavyStem(*arguments)
    if not any(parameter.requires_grad for parameter in stem.parameters()):
        late.freeze()
    return late


def _strided(block: CNNBlockBase, other: CNNBlockBase | None) -> CNNBlockBase:
    """The block with the strides that the first block of the next stage has."""
    if block.stride != 1 or other is None or other.stride != 2 or other.shortcut is None:
        raise ValueError(
            f"bottom_heavy: res2 of stride {block.stride} cannot take over the stem's: "
            "late=False keeps both"
        )
    if block.shortcut is None and other.shortcut.stride == (2, 2):
        # Of basic blocks, whose channels do not change in res2. Those that pool need none.
        block.shortcut = Conv2d(
            block.in_channels,
            block.out_channels,
            kernel_size=1,
            bias=False,
            norm=copy.deepcopy(block.conv2.norm),
        )
        weight_init.c2_msra_fill(block.shortcut)
    for name, layer in block.named_children():
        if hasattr(layer, "stride"):
            layer.stride = getattr(other, name).stride
    block.stride = other.stride
    return block


def _inner(first: CNNBlockBase) -> CNNBlockBase:
    """A further block of the stage that a block starts, with weights of its own."""
    block = copy.deepcopy(first)
    block.shortcut = None
    block.stride, block.in_channels = 1, block.out_channels
    for layer in block.children():
        if hasattr(layer, "stride"):
            layer.stride = (1, 1)
    entry = block.conv1
    if entry.in_channels != block.out_channels:
        shape = (entry.out_channels, block.out_channels // entry.groups, *entry.kernel_size)
        entry.weight = nn.Parameter(entry.weight.new_empty(shape), entry.weight.requires_grad)
        entry.in_channels = block.out_channels
    for layer in block.modules():
        # Those with a bias predict offsets of a deformable block, which start from 0.
        if _has_kernel(layer) and layer.bias is None:
            weight_init.c2_msra_fill(layer)
    return block


@torch.no_grad()
def _macs(network: ResNet) -> list[list[float]]:
    """MACs on an image of the paper's size: of the stem, and of each block of each stage."""
    shapes = copy.deepcopy(network).to("meta").eval()
    found: dict[nn.Module, float] = {}

    def note(layer: nn.Module, _: Any, output: Tensor) -> None:
        found[layer] = layer.weight.numel() * output.shape[-2:].numel()

    kernels = [layer for layer in shapes.modules() if _has_kernel(layer)]
    for layer in kernels:
        layer.register_forward_hook(note)
    shapes(torch.empty(1, kernels[0].in_channels, *PAPER_SIZE, device="meta"))
    stages = [[shapes.stem], *(getattr(shapes, name).children() for name in shapes.stage_names)]
    return [
        [sum(found.get(layer, 0.0) for layer in block.modules()) for block in stage]
        for stage in stages
    ]


def _has_kernel(layer: nn.Module) -> bool:
    """Whether a layer is a convolution, a deformable one too."""
    weight = getattr(layer, "weight", None)
    return weight is not None and weight.dim() == 4
