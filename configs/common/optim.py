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

# Goyal et al. 2017, for 16 images a step: twice as many images, twice the rate.
SGD = L(StochasticGradientDescent)(
    params=_parameters,
    # Largest learning rate of the run; lr_multiplier scales it.
    lr=0.02,
    # Share of the last step that is taken again.
    momentum=0.9,
    # Pull of each weight towards 0, times the learning rate.
    weight_decay=0.0001,
)

# Loshchilov and Hutter 2019; the same keys.
AdamW = L(AdamWithDecay)(params=deepcopy(_parameters), lr=0.0001, weight_decay=0.05)
