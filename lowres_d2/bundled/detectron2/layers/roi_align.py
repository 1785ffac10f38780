"""RoIAlign (He et al., arXiv 1703.06870) as a module, on torchvision's operator."""

from __future__ import annotations

from torch import Tensor, nn
from torchvision.ops import roi_align

__all__ = ["ROIAlign", "roi_align"]


class ROIAlign(nn.Module):
    """Pool a fixed grid out of each region of interest."""

    def __init__(
        self,
        output_size: int | tuple[int, int],
        spatial_scale: float,
        sampling_ratio: int,
        aligned: bool = True,
    ):
        """Set the grid.

        Args:
            output_size: (height, width) of the grid.
            spatial_scale: cells of the feature map per pixel of the image, 1 / stride.
            sampling_ratio: samples a cell of the grid along an axis; 0 takes as many as needed.
            aligned: pixel centres lie at +0.5, as everywhere in Detectron2; False is the older
                convention, half a cell off.
        """
        super().__init__()
        self.output_size = output_size
        self.spatial_scale = spatial_scale
        self.sampling_ratio = sampling_ratio
        self.aligned = aligned

    def forward(self, input: Tensor, rois: Tensor) -> Tensor:
        """Pool.

        Args:
            input: features (N, C, H, W).
            rois: (R, 5): index in the batch, then the XYXY box in pixels of the image.

        Returns:
            (R, C, *output_size).
        """
        assert rois.dim() == 2 and rois.size(1) == 5, rois.shape
        if input.is_quantized:
            input = input.dequantize()
        return roi_align(
            input,
            rois.to(dtype=input.dtype),
            self.output_size,
            self.spatial_scale,
            self.sampling_ratio,
            self.aligned,
        )

    def extra_repr(self) -> str:
        names = ("output_size", "spatial_scale", "sampling_ratio", "aligned")
        return ", ".join(f"{name}={getattr(self, name)}" for name in names)
