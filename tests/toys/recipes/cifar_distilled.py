"""Its student on images degraded to 8x8, with DFD's loss; for tests of whole runs."""

from copy import deepcopy

from lowres_d2.modeling.objectives import FeatureDistillation, FeaturePair
from lowres_d2.modeling.resample import DownUp
from lowres_d2.modeling.teacher import Teacher

from detectron2.config import LazyCall as L

from .cifar_full import dataloader, lr_multiplier, model, optimizer, train

model.resampler = L(DownUp)(factor=4)
model.teacher = L(Teacher)(model=deepcopy(model.detector), checkpoint="")
model.objectives = [
    L(FeatureDistillation)(pairs=[L(FeaturePair)(student="features")], distance="euclidean")
]
model.loss_weights = {"feature/*": 2.0}
