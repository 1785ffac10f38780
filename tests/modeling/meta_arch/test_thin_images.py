"""Images of a pixel's height or width go through every detector and resampler."""

from lowres_d2.modeling import LowResDetector
from lowres_d2.modeling.meta_arch import NearestPointFCOS
from lowres_d2.modeling.resample import Bicubic, DownUp, Identity, LearnedDownsampler

import pytest
import torch
from detectron2.utils.events import EventStorage

from toys import detectors
from toys.deformable_detr import SMALL, deformable_detr

THIN = [(1, 150), (150, 1)]
BUILDERS = {
    **detectors.DETECTORS,
    "nearest_point_fcos": lambda: detectors.fcos(NearestPointFCOS),
    "deformable_detr": lambda: deformable_detr(SMALL),
}


@pytest.mark.parametrize("name", BUILDERS)
def test_every_detector_trains_and_detects_on_thin_images(name):
    model = LowResDetector(BUILDERS[name](), LearnedDownsampler(4, 2))
    batch = [detectors.training_input(*size) for size in THIN]
    model.train()
    with EventStorage():
        losses = model(batch)
    assert losses and all(loss.isfinite() for loss in losses.values())
    model.eval()
    with torch.no_grad():
        outputs = model(batch)
    for (height, width), output in zip(THIN, outputs, strict=True):
        boxes = output["instances"].pred_boxes.tensor
        assert (boxes >= 0).all() and (boxes <= torch.tensor([width, height] * 2)).all()


RESAMPLERS = [Identity(), Bicubic(4), Bicubic("3/2"), DownUp(4)]
RESAMPLERS += [LearnedDownsampler(*variant) for variant in ((2, 2), (3, 2), (4, 1), (4, 5))]


@pytest.mark.parametrize("resampler", RESAMPLERS, ids=str)
def test_resamplers_keep_a_pixel_of_thin_images(resampler):
    for height, width in THIN:
        image = torch.full((3, height, width), 0.5)
        with torch.no_grad():
            (result,) = resampler([image])
        assert min(result.shape[1:]) >= 1 and result.isfinite().all()
        assert max(result.shape[1:]) == -(-150 // float(resampler.factor))


def test_an_image_smaller_than_the_factor_is_named():
    model = LowResDetector(detectors.fcos(), Bicubic(4)).eval()
    inputs = {"image": detectors.random_image(3, 2), "file_name": "tiny.png"}
    with pytest.raises(ValueError, match=r"tiny\.png of 3x2 .*smaller than the factor 4"):
        model([inputs])
