"""A detector that finds exactly the rectangles of an image: what tiles do to it is known."""

import torch
from detectron2.structures import Boxes, Instances
from scipy.ndimage import find_objects, label
from torch import nn

BACKGROUND = 0


class RectangleDetector(nn.Module):
    """Finds rectangles of one colour, (1, H, W), whose class is the value divided by ten.

    The score is the value modulo ten, as tenths, so that it says which object a detection is of.

    Args:
        smallest, largest: sides in pixels that are found.
        score: from (rectangle in the tile's pixels, tile's size, its own score) to its score.
    """

    def __init__(self, smallest=1, largest=10**6, score=None):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.smallest, self.largest, self.score = smallest, largest, score
        self.seen = []

    def forward(self, batched_inputs):
        if self.training:
            return {"loss": torch.stack([x["image"].float().mean() for x in batched_inputs]).sum()}
        self.seen.append([tuple(x["image"].shape[-2:]) for x in batched_inputs])
        return [self._detect(x) for x in batched_inputs]

    def _detect(self, x):
        image = x["image"][0].round().long()
        height, width = image.shape
        boxes, scores, classes = [], [], []
        for value in sorted({*image.unique().tolist()} - {BACKGROUND}):
            for rows, columns in find_objects(label(image.numpy() == value)[0]):
                box = [columns.start, rows.start, columns.stop, rows.stop]
                sides = (box[2] - box[0], box[3] - box[1])
                if min(sides) < self.smallest or max(sides) > self.largest:
                    continue
                boxes.append([float(v) for v in box])
                classes.append(value // 10)
                own = value % 10 / 10
                scores.append(own if self.score is None else self.score(box, (height, width), own))
        found = Instances((height, width))
        found.pred_boxes = Boxes(torch.tensor(boxes).reshape(-1, 4))
        found.scores = torch.tensor(scores)
        found.pred_classes = torch.tensor(classes, dtype=torch.long)
        order = found.scores.argsort(descending=True, stable=True)
        found = found[order]
        wanted = x.get("height", height), x.get("width", width)
        ratio = (wanted[1] / width, wanted[0] / height)
        found.pred_boxes.scale(*ratio)
        return {"instances": Instances(wanted, **found.get_fields())}


def drawn(size, rectangles):
    """An image (1, H, W) with rectangles of (x0, y0, x1, y1, value)."""
    image = torch.zeros(1, *size, dtype=torch.uint8)
    for x0, y0, x1, y1, value in rectangles:
        image[:, y0:y1, x0:x1] = value
    return image


def rows(output):
    """Sorted (x0, y0, x1, y1, class, score) of a detector's output for an image."""
    found = output["instances"]
    values = torch.cat(
        [found.pred_boxes.tensor, found.pred_classes[:, None].float(), found.scores[:, None]], dim=1
    )
    return sorted(tuple(round(v, 3) for v in row) for row in values.tolist())
