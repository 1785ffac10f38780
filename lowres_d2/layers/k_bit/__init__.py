"""Layers whose weights and inputs are whole multiples, of k bits, of learned steps."""

from lowres_d2.layers.k_bit.layers import KBitConv2d, KBitLinear, KBitWeights
from lowres_d2.layers.k_bit.learned_step import LearnedStep, quantized

__all__ = ["KBitConv2d", "KBitLinear", "KBitWeights", "LearnedStep", "quantized"]
