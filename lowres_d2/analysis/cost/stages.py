"""MACs of a backbone by stage (BottomHeavy, Fig. 2): where a network computes."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from lowres_d2.analysis.cost.complexity import counted
from lowres_d2.analysis.cost.counting_rules import MACS, CountingRule
from lowres_d2.fonts import plot_fonts, plot_text
from lowres_d2.modeling.backbone import HRNet
from lowres_d2.modeling.backbone.hrnet import CLASSIFIER_PARTS
from lowres_d2.modeling.channels import input_channels
from lowres_d2.own_files import own_path

import torch
from torch import nn

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIZE = (512, 640)  # height and width that the paper counts on
REST = "rest"  # what belongs to no stage
_LEGIBLE = 0.055  # share from which a stage's name fits into its bar
# HRNets as the paper's Table 4 has them: the layers that make the branches of a stage belong to it.
_OF_HRNET = {
    "conv1": "stem",
    "conv2": "stem",
    "layer1": "stage 1",
    **{f"transition{k}": f"stage {k + 1}" for k in (1, 2, 3)},
    **{f"stage{k}": f"stage {k}" for k in (2, 3, 4)},
    # Of a classifier's head.
    **dict.fromkeys(CLASSIFIER_PARTS, REST),
}


def backbone_of(model: nn.Module) -> nn.Module:
    """The network below the pyramid of a detector, a classifier, or a composition of either."""
    for name in ("detector", "backbone", "bottom_up"):
        model = getattr(model, name, model)
    return model


def macs_by_stage(
    model: nn.Module, size: tuple[int, int] = SIZE, rule: CountingRule = MACS
) -> dict[str, int]:
    """MACs of each stage of a model's backbone on one image, in the order in which they run.

    Stages are the backbone's parts, such as ``stem`` and ``res2``; those that count nothing are
    left out.

    Args:
        model: a backbone, or a model that has one; it is not run itself, a copy without values is.
        size: height and width of the image.
        rule: what counts.

    Raises:
        ValueError: the backbone takes no images.
    """
    backbone = backbone_of(model)
    channels = input_channels(backbone)
    if channels is None:
        raise ValueError(f"{type(backbone).__name__}: no convolution of images to count from")
    shapes = copy.deepcopy(backbone).to("meta").eval()
    names = _OF_HRNET if isinstance(shapes, HRNet) else {}
    found: Counter[str] = Counter()
    with counted(rule) as count:
        for name, part in _parts(shapes):
            stage = names.get(name, name)
            if stage != REST:
                _watch(part, stage, count, found)
        shapes(torch.empty(1, channels, *size, device="meta"))
        found[REST] = count() - found.total()
    return {name: number for name, number in found.items() if number}


def plot_stages(macs: Mapping[str, Mapping[str, int]], path: str | Path, note: str = "") -> Path:
    """Draw a bar for each model, divided into the shares of its stages.

    Args:
        macs: for each model's name, the MACs of its stages.
        path: PNG to write.
        note: text below the figure.

    Returns:
        The path.
    """
    with plot_fonts(macs):
        figure = _figure(macs, note)
    with own_path(path) as part:
        figure.savefig(part, dpi=130)
    return Path(path)


def _parts(network: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Parts of a network by name; those of a list or dict of layers have its name."""
    parts = list(network.named_children())
    while len(parts) == 1:
        parts = list(parts[0][1].named_children())
    for name, part in parts:
        # A list has no forward of its own to watch.
        listed = isinstance(part, nn.ModuleList | nn.ModuleDict)
        yield from ((name, layer) for layer in (part.children() if listed else [part]))


def _watch(part: nn.Module, name: str, count: Callable[[], int], found: Counter[str]) -> None:
    started: list[int] = []
    part.register_forward_pre_hook(lambda *_: started.append(count()))
    part.register_forward_hook(lambda *_: found.update({name: count() - started.pop()}))


def _figure(macs: Mapping[str, Mapping[str, int]], note: str) -> Figure:
    # Not through pyplot, which keeps figures alive and may want a display.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.0, 1.2 + 0.7 * len(macs)), layout="constrained")
    ax = figure.subplots()
    for row, stages in enumerate(macs.values()):
        total, left = sum(stages.values()), 0.0
        for index, (stage, number) in enumerate(stages.items()):
            share = number / total
            ax.barh(row, share, left=left, color=f"C{index % 10}", edgecolor="white", height=0.7)
            if share >= _LEGIBLE:
                text = f"{plot_text(stage)}\n{100 * share:.0f} %"
                ax.text(left + share / 2, row, text, ha="center", va="center", fontsize=8)
            left += share
        ax.text(1.01, row, f"{total / 1e9:.3g} G", va="center")
    ax.set_yticks(range(len(macs)), [plot_text(name) for name in macs])
    ax.invert_yaxis()
    ax.set_xlim(0, 1)
    ax.set_xticks([])
    ax.spines[:].set_visible(False)
    if note:
        figure.supxlabel(note, fontsize=9, color="0.4")
    return figure
