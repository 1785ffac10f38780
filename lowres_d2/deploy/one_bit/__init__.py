"""Convolutions of signs whose bits are bits: packed operands, XNOR and popcount.

``core/`` is the C source, which the system's compiler makes into a library on first use.
``LOWRES_D2_ONE_BIT`` chooses how products are counted: ``auto`` (the default) takes the
best instruction set of this processor, ``vpopcntdq``, ``avx512bw``, ``avx2``, ``neon`` or
``scalar`` that one, and ``torch`` none of them: the same results without a compiler.
"""

from lowres_d2.deploy.one_bit.bits import PackedBits, pack_bits
from lowres_d2.deploy.one_bit.convolution import packed_conv
from lowres_d2.deploy.one_bit.file import load_packed, save_packed
from lowres_d2.deploy.one_bit.layers import PackedConv2d, PackedLinear, is_packed
from lowres_d2.deploy.one_bit.packing import pack
from lowres_d2.deploy.one_bit.paths import PATHS, chosen_path, supported_paths
from lowres_d2.deploy.one_bit.weights import PackedWeights

__all__ = [
    "PATHS",
    "PackedBits",
    "PackedConv2d",
    "PackedLinear",
    "PackedWeights",
    "chosen_path",
    "is_packed",
    "load_packed",
    "pack",
    "pack_bits",
    "packed_conv",
    "save_packed",
    "supported_paths",
]
