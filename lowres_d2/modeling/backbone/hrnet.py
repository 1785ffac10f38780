"""HRNet and its bottom-heavy twin, as Detectron2 backbones of timm's parts.

Sources: Wang et al., "Deep High-Resolution Representation Learning for Visual Recognition" (TPAMI
2021); the twin: Ning et al., "Rethinking the Backbone Architecture for Tiny Object Detection"
(VISAPP 2023), Table 4. ``res2`` to ``res5`` are the branches of the last stage, at strides 4 to 32;
``final`` is what an HRNet's classifier pools. Parameters have timm's names below ``network``:
timm's weights of ``hrnet_w18`` and others fit with ``?matching_heuristics=True``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from detectron2.layers import FrozenBatchNorm2d
from detectron2.modeling import Backbone
from jaxtyping import Float
from torch import Tensor, nn

NAMES = ("res2", "res3", "res4", "res5")
FINAL, FINAL_CHANNELS = "final", 2048
# Modules of timm's network that are frozen one after the other, the stem being the first.
PARTS = (
    ("conv1", "bn1", "conv2", "bn2"),
    ("layer1",),
    ("transition1", "stage2"),
    ("transition2", "stage3"),
    ("transition3", "stage4"),
)
# What timm's classifiers have behind the branches, beside the class predictor.
CLASSIFIER_PARTS = ("incre_modules", "downsamp_modules", "final_layer")
NORMS = ("BN", "FrozenBN")
STEM_CHANNELS = 64  # of HRNets of any width
# Table 4: (modules, blocks in each branch of a module) of stages 2, 3, 4.
STANDARD = ((1, 4), (4, 4), (3, 4))
# Its repeats as modules of equal numbers of blocks, as many modules as in the standard twin.
PRINTED = {32: ((1, 4), (4, 2), (3, 1)), 18: ((1, 4), (4, 3), (3, 2))}
# With one more module in stage 2 of W32, Table 4's MACs are met.
AT_EQUAL_COST = PRINTED | {32: ((2, 4), (4, 2), (3, 1))}


class HRNet(Backbone):
    """HRNet without its class predictor.

    Args:
        width: channels of the finest branch, 18 or 32 in the paper; each next one has twice as
            many.
        out_features: branches that ``forward`` returns, or ``("final",)`` alone: the branches
            joined by the bottlenecks of the published classifiers, 2048 channels at stride 32,
            which only an ``ImageClassifier`` needs.
        in_channels: channels of the image.
        stages: for stages 2, 3 and 4 the number of modules, and of basic blocks in each branch of
            a module.
        freeze_at: number of frozen parts, as of Detectron2's ResNets: 1 is the stem, 2 stage 1,
            too, and 5 is all. Their batch norm becomes ``FrozenBatchNorm2d``.
        norm: ``BN``, or ``FrozenBN`` in all parts, also those that are trained.

    Raises:
        ValueError: ``out_features`` is empty, has an unknown branch, or branches beside ``final``;
            there are fewer parts; or the norm is unknown.
    """

    def __init__(
        self,
        width: int = 32,
        out_features: Sequence[str] = NAMES,
        in_channels: int = 3,
        stages: Sequence[tuple[int, int]] = STANDARD,
        freeze_at: int = 0,
        norm: str = "BN",
    ) -> None:
        super().__init__()
        if norm not in NORMS:
            raise ValueError(
                f"{type(self).__name__}: norm={norm!r}: expected one of {', '.join(NORMS)}"
            )
        if not 0 <= freeze_at <= len(PARTS):
            raise ValueError(f"{type(self).__name__}: freeze_at={freeze_at}: expected 0 to 5")
        joined = [*out_features] == [FINAL]
        if not joined and (not out_features or set(out_features) - set(NAMES)):
            raise ValueError(
                f"out_features={[*out_features]}: expected some of {', '.join(NAMES)}, or {FINAL} "
                "alone"
            )
        self._out_features = [name for name in (*NAMES, FINAL) if name in out_features]
        channels = {name: width * 2**k for k, name in enumerate(NAMES)}
        strides = {name: 4 * 2**k for k, name in enumerate(NAMES)}
        self._out_feature_channels = channels | {FINAL: FINAL_CHANNELS}
        self._out_feature_strides = strides | {FINAL: strides[NAMES[-1]]}
        self.network = _network(self.first_stage(width), width, stages, in_channels, joined)
        # Of a file these modules are a classifier's head to a network that has none of them.
        self.published_head = () if joined else tuple(f"{part}." for part in CLASSIFIER_PARTS)
        for k, part in enumerate([*PARTS, CLASSIFIER_PARTS] if joined else PARTS):
            for name in part:
                module = getattr(self.network, name)
                if k < freeze_at:
                    module.requires_grad_(False)
                if k < freeze_at or norm == "FrozenBN":
                    module = FrozenBatchNorm2d.convert_frozen_batchnorm(module)
                setattr(self.network, name, module)

    def first_stage(self, width: int) -> dict[str, Any]:
        """What stage 1 is made of, as timm describes it: four bottleneck blocks."""
        return _stage(1, [4], [64], "BOTTLENECK")

    @property
    def size_divisibility(self) -> int:
        """Sides of images are multiples of it, so that each branch has half the one before."""
        return self._out_feature_strides[NAMES[-1]]

    def forward(self, x: Float[Tensor, "N C H W"]) -> dict[str, Float[Tensor, "N _C _h _w"]]:
        """Feature maps in ``out_features``, finest first."""
        found = self.network.forward_features(x)
        if self._out_features == [FINAL]:
            return {FINAL: found}
        branches = dict(zip(NAMES, found, strict=True))
        return {name: branches[name] for name in self._out_features}


class BottomHeavyHRNet(HRNet):
    """BH-HRNet of Table 4: later downsampling, basic blocks in stage 1, and fewer blocks behind.

    The table prints the stem's max pooling before stage 1, which costs 30.4 GFLOPs (W32) and 15.3
    (W18) on 640x512, not the 51.89 and 21.66 that it also prints. With the pooling behind stage 1,
    and two modules in W32's stage 2 in place of one, the printed costs are met within 1 %: this
    reading is the default.

    Args:
        width: as in :class:`HRNet`.
        out_features: likewise.
        in_channels: likewise.
        as_printed: whether the max pooling belongs to the stem, and W32's stage 2 has one module.
        stages: likewise; None: the paper's, for a width of 18 or 32.
        freeze_at: as in :class:`HRNet`.
        norm: likewise.

    Raises:
        ValueError: ``out_features``, ``freeze_at`` or ``norm`` as in :class:`HRNet`, or the paper
            has no stages for a width.
    """

    def __init__(
        self,
        width: int = 32,
        out_features: Sequence[str] = NAMES,
        in_channels: int = 3,
        as_printed: bool = False,
        stages: Sequence[tuple[int, int]] | None = None,
        freeze_at: int = 0,
        norm: str = "BN",
    ) -> None:
        known = PRINTED if as_printed else AT_EQUAL_COST
        if stages is None and width not in known:
            raise ValueError(
                f"BottomHeavyHRNet: width={width}: the paper has stages for 18 and 32; give stages"
            )
        stages = known[width] if stages is None else stages
        super().__init__(width, out_features, in_channels, stages, freeze_at, norm)
        # The first downsampling comes one convolution later, and a pooling makes up for it.
        self.network.conv1.stride = (1, 1)
        pool = nn.MaxPool2d(3, stride=2, padding=1)
        if as_printed:
            self.network.act2 = nn.Sequential(self.network.act2, pool)
        else:
            self.network.layer1.append(pool)

    def first_stage(self, width: int) -> dict[str, Any]:
        """Four basic blocks of twice the width."""
        return _stage(1, [4], [2 * width])


def _stage(
    modules: int, blocks: Sequence[int], channels: Sequence[int], kind: str = "BASIC"
) -> dict[str, Any]:
    return {
        "num_modules": modules,
        "num_branches": len(blocks),
        "block_type": kind,
        "num_blocks": tuple(blocks),
        "num_channels": tuple(channels),
        "fuse_method": "SUM",
    }


def _network(
    first: Mapping[str, Any],
    width: int,
    stages: Sequence[tuple[int, int]],
    in_channels: int,
    joined: bool,
) -> nn.Module:
    # Imported here because importing timm takes longer than this package.
    from timm.models.hrnet import HighResolutionNet

    parts = {
        f"stage{branches}": _stage(
            modules, [blocks] * branches, [width * 2**k for k in range(branches)]
        )
        for branches, (modules, blocks) in enumerate(stages, start=2)
    }
    # Without a head, `forward_features` gives the four branches. No classes: no class predictor.
    network = HighResolutionNet(
        {"stem_width": STEM_CHANNELS, "stage1": dict(first), **parts},
        in_chans=in_channels,
        num_classes=0,
        head="classification" if joined else "",
    )
    # A run checks that every `num_classes` of its model is that of the data.
    network.num_classes = None
    return network
