"""What a model costs, in words: MACs, or OPs where it has layers of few bits."""

from __future__ import annotations

OPS = "OPs are MACs with those of 1 bit counted as 1/64, of 4 bits as 1/8."


def cost(macs: float, ops: float) -> str:
    """``1.55 G MACs``; of a model with layers of few bits, whose OPs are fewer, ``171 M OPs``."""
    number, unit = (ops, "OPs") if ops < macs else (macs, "MACs")
    return f"{number / 1e9:.3g} G {unit}" if number >= 1e9 else f"{number / 1e6:.3g} M {unit}"
