"""ESPCN at 2x (Shi et al., CVPR 2016): 26,796 parameters."""

from lowres_d2.modeling.super_resolution import ESPCN

from detectron2.config import LazyCall as L

from .super_resolution import lr_multiplier, model, optimizer, train

model.detector.network = L(ESPCN)(
    # Pixels along each side that are made of one.
    factor=2,
    # Channels after the first convolution; half as many after the others.
    width=64,
    # Number of convolutions.
    depth=3,
)
