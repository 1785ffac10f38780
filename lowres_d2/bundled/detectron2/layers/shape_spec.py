"""What is known of a feature map before it exists."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class ShapeSpec:
    """Shape of a feature map; None where unknown.

    Attributes:
        channels: number of channels.
        height: rows.
        width: columns.
        stride: image pixels a cell.
    """

    channels: int | None = None
    height: int | None = None
    width: int | None = None
    stride: int | None = None
