"""Optimizers; the run gives them the model's parameters."""

from copy import deepcopy

from detectron2.config import LazyCall as L
from detectron2.solver import get_default_optimizer_params
from torch.optim import SGD as StochasticGradientDescent
from torch.optim import AdamW as AdamWithDecay

_parameters = L(get_default_optimizer_params)(
    # Weight decay of the normalization layers' own weights and biases.
    weight_decay_norm=0.0,
)

# For 16 images per iteration; twice as many images, twice the rate (Goyal et al. 2017).
SGD = L(StochasticGradientDescent)(
    params=_parameters,
    # Largest learning rate of the run; lr_multiplier scales it.
    lr=0.02,
    # Momentum: share of the previous update that is applied again.
    momentum=0.9,
    # Decay of each weight towards 0, times the learning rate.
    weight_decay=0.0001,
)

# Loshchilov and Hutter 2019; the same keys.
AdamW = L(AdamWithDecay)(params=deepcopy(_parameters), lr=0.0001, weight_decay=0.05)
