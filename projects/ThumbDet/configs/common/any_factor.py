"""One checkpoint, any factor: a downsampler for each."""

from copy import deepcopy

from lowres_d2.modeling.resample import AnyFactor, Identity

from detectron2.config import LazyCall as L

from .method import downsampler

any_factor = L(AnyFactor)(
    resamplers=[L(Identity)(), *(deepcopy(downsampler) for _ in (2, 3, 4))],
    # Factor in evaluation: 1, 2, 3 or 4, the larger the faster.
    factor=4,
    # How often training draws each: iterations at small images are cheap, and more are needed.
    shares=[1, 2, 3, 4],
)
for _resampler, _factor in zip(any_factor.resamplers[1:], (2, 3, 4), strict=True):
    _resampler.factor = _factor
