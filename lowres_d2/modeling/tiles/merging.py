"""One list of detections from those of overlapping tiles, without seams.

What two tiles can agree about is what both of them see, so only boxes of different tiles are
compared: what a tile's detector has kept side by side are several objects. A box at a border of
its tile inside the image may be cut by it. M boxes, XYXY in pixels of the whole image.

1. Of whole boxes that overlap, the one with the highest score stays; it stands for at most one box
   of each other tile.
2. A cut box that lies in a whole one, as part of the same object, is dropped, whatever its score.
3. Cut boxes that agree where both of their tiles see are one object: the box around them stays.

Boxes of one class are merged only with each other.
"""

from __future__ import annotations

from collections.abc import Sequence

from lowres_d2.modeling.tiles.pairs import areas, intersections, overlapping_pairs
from lowres_d2.structures import Size, Window

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def seam_distances(
    boxes: Float[Tensor, "*#any 4"], windows: Float[Tensor, "*#any 4"], size: Size
) -> Float[Tensor, " *any"]:
    """Pixels from boxes to the nearest border of a tile that is not one of the image.

    Negative for a box that lies beyond it, infinite for a tile without such a border.

    Args:
        boxes: detections.
        windows: tiles, XYXY.
        size: of the image.
    """
    ends = boxes.new_tensor([0, 0, size[1], size[0]])
    inside = (boxes - windows) * boxes.new_tensor([1, 1, -1, -1])
    return inside.masked_fill(windows == ends, torch.inf).amin(dim=-1)


def cut_by_seams(
    boxes: Float[Tensor, "M 4"], windows: Float[Tensor, "M 4"], size: Size, margin: float
) -> Bool[Tensor, " M"]:
    """Which boxes end at a border of their tile that is not one of the image.

    Args:
        boxes: detections.
        windows: the tile of each, XYXY.
        size: of the image.
        margin: distance in pixels up to which a box ends at a border.
    """
    return seam_distances(boxes, windows, size) <= margin


def merge(
    boxes: Float[Tensor, "M 4"],
    scores: Float[Tensor, " M"],
    classes: Int[Tensor, " M"],
    tiles: Int[Tensor, " M"],
    windows: Sequence[Window],
    size: Size,
    iou_threshold: float = 0.5,
    seam_threshold: float = 0.5,
    margin: float = 2.0,
) -> tuple[Int[Tensor, " kept"], Float[Tensor, "kept 4"]]:
    """Merge the detections of an image's tiles.

    Args:
        boxes: detections of all tiles.
        scores: of each.
        classes: of each.
        tiles: index of the tile of each.
        windows: the tiles.
        size: of the image.
        iou_threshold: intersection over union from which two whole boxes are one object.
        seam_threshold: share of a cut box that lies in a whole one from which it is a part of
            that; of two cut ones, intersection over union of what both of their tiles see.
        margin: see :func:`cut_by_seams`.

    Returns:
        Indices of the detections that stay, highest score first, and their boxes: those of
        objects that no tile has seen as a whole are larger than given.
    """
    found = boxes.detach().double().cpu()
    order = scores.detach().cpu().argsort(descending=True, stable=True)
    # From here on sorted by score: the lower index of a pair is the better box.
    found, tiles = found[order], tiles.cpu()[order]
    places = torch.tensor(windows, dtype=found.dtype).reshape(-1, 4)[tiles]
    cut = cut_by_seams(found, places, size, margin)
    pairs = overlapping_pairs(found, classes.cpu()[order], tiles).sort(dim=1).values
    shared = intersections(found[pairs[:, 0]], found[pairs[:, 1]])
    area = areas(found)
    cuts = cut[pairs].sum(dim=1)
    # 1. Both are whole.
    union = area[pairs].sum(dim=1) - shared
    same = (cuts == 0) & (shared >= iou_threshold * union)
    stays = torch.from_numpy(_matched(pairs[same], (shared / union)[same], tiles))
    # 2. One is cut.
    whole_first = torch.where(cut[pairs[:, :1]], pairs.flip(1), pairs)
    part = (cuts == 1) & (shared >= seam_threshold * area[whole_first[:, 1]])
    part &= stays[whole_first[:, 0]]
    stays[whole_first[part, 1]] = False
    # 3. Both are cut.
    halves = pairs[(cuts == 2) & stays[pairs].all(dim=1)]
    merged = _joined(found, halves, places, seam_threshold, stays)
    kept = stays.nonzero()[:, 0]
    return order[kept].to(boxes.device), merged[kept].to(boxes)


def _matched(
    pairs: Int[Tensor, "pairs 2"], ious: Float[Tensor, " pairs"], tiles: Int[Tensor, " M"]
) -> np.ndarray:
    """Which boxes stay, where each stands for its best match of every other tile."""
    stays = np.ones(len(tiles), dtype=bool)
    by_match = ious.argsort(descending=True, stable=True)
    pairs = pairs[by_match]
    pairs = pairs[pairs[:, 0].argsort(stable=True)]
    matched: set[tuple[int, int]] = set()
    of_tile = tiles[pairs[:, 1]].tolist()
    for (better, other), tile in zip(pairs.tolist(), of_tile, strict=True):
        if stays[better] and stays[other] and (better, tile) not in matched:
            matched.add((better, tile))
            stays[other] = False
    return stays


def _joined(
    boxes: Float[Tensor, "M 4"],
    pairs: Int[Tensor, "pairs 2"],
    places: Float[Tensor, "M 4"],
    threshold: float,
    stays: Bool[Tensor, " M"],
) -> Float[Tensor, "M 4"]:
    """Boxes around the parts of each object; all but its best part are dropped from ``stays``."""
    from scipy.sparse import coo_array  # slow, and few images have such parts
    from scipy.sparse.csgraph import connected_components

    a, b = pairs.unbind(dim=1)
    low = torch.maximum(places[a, :2], places[b, :2])
    high = torch.minimum(places[a, 2:], places[b, 2:])
    seen = torch.cat([low, high], dim=1)
    one, other = (_clipped(boxes[index], seen) for index in (a, b))
    shared = intersections(one, other)
    same = (shared > 0) & (shared >= threshold * (areas(one) + areas(other) - shared))
    if not same.any():
        return boxes
    rows, columns = pairs[same].T.numpy()
    graph = coo_array((np.ones(len(rows)), (rows, columns)), shape=(len(boxes),) * 2)
    _, labels = connected_components(graph, directed=False)
    _, best, member = np.unique(labels, return_index=True, return_inverse=True)
    head = best[member]  # the first of its object, so with the highest score
    around = boxes.numpy().copy()
    np.minimum.at(around[:, :2], head, boxes[:, :2].numpy())
    np.maximum.at(around[:, 2:], head, boxes[:, 2:].numpy())
    stays &= torch.from_numpy(head) == torch.arange(len(boxes))
    return torch.from_numpy(around)


def _clipped(
    boxes: Float[Tensor, "pairs 4"], windows: Float[Tensor, "pairs 4"]
) -> Float[Tensor, "pairs 4"]:
    low = torch.maximum(boxes[:, :2], windows[:, :2])
    return torch.cat([low, torch.minimum(boxes[:, 2:], windows[:, 2:])], dim=1)
