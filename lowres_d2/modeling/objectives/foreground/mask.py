"""The pixels of objects: DFR-Det (Xu et al., ICML 2024), Eq. 7, M.

Boxes are XYXY in continuous pixels of the image: pixel ``j`` covers ``[j, j + 1)``.
"""

from __future__ import annotations

from lowres_d2.structures import Size

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def object_mask(boxes: Float[Tensor, "M 4"], size: Size) -> Bool[Tensor, "H W"]:
    """Whether a pixel lies in a box: its centre does, borders included.

    An object of less than a pixel may have none.

    Args:
        boxes: of one image.
        size: (height, width) of the image.
    """
    x0, y0, x1, y1 = (edge[:, None] for edge in boxes.unbind(dim=1))
    rows, columns = (torch.arange(n, device=boxes.device) + 0.5 for n in size)
    in_rows = (y0 <= rows) & (rows <= y1)  # (M, H)
    in_columns = (x0 <= columns) & (columns <= x1)  # (M, W)
    # A product counts the boxes over each pixel, without a mask (H, W) of every box.
    return in_rows.float().T @ in_columns.float() > 0
