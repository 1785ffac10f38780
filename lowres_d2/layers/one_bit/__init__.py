"""1-bit layers: weights and inputs are -1 or +1, so that a product is one XNOR and a bit count."""

from lowres_d2.layers.one_bit.convolution import BinaryConv2d
from lowres_d2.layers.one_bit.input_quantizers import ShiftedSign, Sign
from lowres_d2.layers.one_bit.linear import BinaryLinear
from lowres_d2.layers.one_bit.shifted_prelu import ShiftedPReLU
from lowres_d2.layers.one_bit.signs import sign
from lowres_d2.layers.one_bit.weights import BinaryWeights

__all__ = [
    "BinaryConv2d",
    "BinaryLinear",
    "BinaryWeights",
    "ShiftedPReLU",
    "ShiftedSign",
    "Sign",
    "sign",
]
