"""Deformable DETR for graphs: the boxes of all queries, for images of one size.

The geometry of its pyramid is made of the image's size in Python, and so is constant in a graph.
"""

from __future__ import annotations

from lowres_d2.deploy.export.candidates import Level, Selection
from lowres_d2.deploy.export.forms.normalized import normalized
from lowres_d2.modeling.meta_arch import DeformableDETR

from detectron2.structures import ImageList
from jaxtyping import Float
from torch import Tensor, nn
from torchvision.ops import box_convert


class SetPredictionForm(nn.Module):
    """The network, and its boxes in pixels.

    Args:
        detector: in evaluation mode.
    """

    OF = (DeformableDETR,)
    needs_nms = False
    any_size = False
    levels = 1

    def __init__(self, detector: DeformableDETR) -> None:
        super().__init__()
        self.detector = detector
        self.selection = Selection(max_detections=detector.test_topk)

    def forward(self, image: Float[Tensor, "C h w"]) -> list[Level]:
        """Box and scores of each query."""
        size = image.shape[-2], image.shape[-1]
        images = ImageList(normalized(image, self.detector), [size])
        outputs = self.detector.predict(images)
        boxes = box_convert(outputs["pred_boxes"][0], "cxcywh", "xyxy")
        pixels = boxes * boxes.new_tensor([size[1], size[0], size[1], size[0]])
        return [(pixels, outputs["pred_logits"][0].sigmoid())]
