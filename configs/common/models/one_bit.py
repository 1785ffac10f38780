"""Any network in 1 bit: recipes set ``one_bit.detector`` to a real-valued one."""

from lowres_d2.modeling.one_bit import AS_WRITTEN, binarized

from detectron2.config import LazyCall as L

one_bit = L(binarized)(
    # The real-valued detector or classifier.
    detector=None,
    # Layers that stay real-valued: patterns of their paths, and the groups first, shortcuts, last,
    # pyramid. These are DFR-Det's (Sec. 4.1).
    real_layers=list(AS_WRITTEN),
    # sign; shifted_sign, with a learned threshold for each channel (ReActNet); learned_step, of
    # several bits (LSQ); none: real-valued, with the same layers otherwise.
    quantizer="sign",
    # Of the sign: clip, or the polynomial of Bi-Real Net.
    gradient="polynomial",
    # Of each output channel: learned, or mean (of |w|).
    scale="learned",
    # Whether each convolution of the towers of a dense head gets a shortcut.
    tower_shortcuts=False,
    # In place of ReLU: prelu, or shifted_prelu (ReActNet).
    activation="prelu",
    # Of learned_step.
    bits=4,
)
