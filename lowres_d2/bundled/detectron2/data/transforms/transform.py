"""Deterministic transforms beyond fvcore's: resizing, cutting out a region, rotation, colour.

Shapes: an image is an array (H, W) or (H, W, C), uint8 or floating point; coordinates are (N, 2),
each (x, y) in pixels of the continuous frame whose origin is the image's top-left corner.
Sizes are (height, width). `interp` is a PIL filter, in RotationTransform an OpenCV flag.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from fvcore.transforms.transform import (
    NoOpTransform,
    Transform,
)
from PIL import Image

__all__ = [
    "ColorTransform",
    "ExtentTransform",
    "PILColorTransform",
    "ResizeTransform",
    "RotationTransform",
]

TORCH_MODE_OF_PIL_FILTER = {
    Image.NEAREST: "nearest",
    Image.BILINEAR: "bilinear",
    Image.BICUBIC: "bicubic",
}


def _through_pil(image: np.ndarray, change: Callable[[Image.Image], Image.Image]) -> np.ndarray:
    """Apply `change` to a uint8 array; PIL knows no (H, W, 1): that axis is taken off and back."""
    single = image.ndim == 3 and image.shape[2] == 1
    changed = np.asarray(change(Image.fromarray(image[:, :, 0] if single else image)))
    return changed[:, :, None] if single else changed


class ExtentTransform(Transform):
    """Cut a rectangle, which may reach outside, out of the image and resize it.

    Args:
        src_rect: (x0, y0, x1, y1) in the input; x0 > x1 or y0 > y1 mirrors.
        output_size: (height, width) of the result.
        interp: PIL filter.
        fill: value of what lies outside the input.
    """

    def __init__(
        self,
        src_rect: tuple[float, float, float, float],
        output_size: tuple[int, int],
        interp: int = Image.BILINEAR,
        fill: int = 0,
    ):
        super().__init__()
        self._set_attributes(locals())

    def apply_image(self, img: np.ndarray, interp: int | None = None) -> np.ndarray:
        height, width = self.output_size

        def cut(image: Image.Image) -> Image.Image:
            fill = self.fill if len(image.getbands()) == 1 else (self.fill,) * len(image.getbands())
            return image.transform(
                (width, height),
                Image.EXTENT,
                data=self.src_rect,
                resample=self.interp if interp is None else interp,
                fillcolor=fill,
            )

        return _through_pil(img, cut)

    def apply_coords(self, coords: np.ndarray) -> np.ndarray:
        height, width = self.output_size
        x0, y0, x1, y1 = self.src_rect
        scale = np.array([width / (x1 - x0), height / (y1 - y0)])
        return ((coords - np.array([x0, y0])) * scale).astype(np.float32)

    def apply_segmentation(self, segmentation: np.ndarray) -> np.ndarray:
        return self.apply_image(segmentation, interp=Image.NEAREST)


class ResizeTransform(Transform):
    """Resize: uint8 images by PIL (which antialiases), others by torch (which does not).

    Args:
        h, w: size of the input.
        new_h, new_w: size of the output.
        interp: PIL filter, bilinear by default.
    """

    def __init__(self, h: int, w: int, new_h: int, new_w: int, interp: int | None = None):
        super().__init__()
        if interp is None:
            interp = Image.BILINEAR
        self._set_attributes(locals())

    def apply_image(self, img: np.ndarray, interp: int | None = None) -> np.ndarray:
        if img.shape[:2] != (self.h, self.w):
            raise ValueError(
                f"ResizeTransform for {self.h}x{self.w} (height x width) applied to an image of "
                f"{img.shape[0]}x{img.shape[1]}"
            )
        resample = self.interp if interp is None else interp
        if img.dtype == np.uint8:
            return _through_pil(img, lambda p: p.resize((self.new_w, self.new_h), resample))
        return self._resize_by_torch(img, resample)

    def _resize_by_torch(self, image: np.ndarray, resample: int) -> np.ndarray:
        mode = TORCH_MODE_OF_PIL_FILTER.get(resample)
        if mode is None:
            raise ValueError(
                f"ResizeTransform: interp={resample} on {image.dtype}: only nearest, bilinear and "
                "bicubic are possible on images that are not uint8"
            )
        channels = torch.from_numpy(np.ascontiguousarray(image.reshape(self.h, self.w, -1)))
        resized = F.interpolate(
            channels.permute(2, 0, 1)[None],
            (self.new_h, self.new_w),
            mode=mode,
            align_corners=None if mode == "nearest" else False,
        )[0].permute(1, 2, 0)
        return resized.reshape(self.new_h, self.new_w, *image.shape[2:]).numpy()

    def apply_coords(self, coords: np.ndarray) -> np.ndarray:
        coords[:, 0] = coords[:, 0] * (self.new_w * 1.0 / self.w)
        coords[:, 1] = coords[:, 1] * (self.new_h * 1.0 / self.h)
        return coords

    def apply_segmentation(self, segmentation: np.ndarray) -> np.ndarray:
        return self.apply_image(segmentation, interp=Image.NEAREST)

    def inverse(self) -> Transform:
        return ResizeTransform(self.new_h, self.new_w, self.h, self.w, self.interp)


class RotationTransform(Transform):
    """Rotate about a point, counter-clockwise as seen on the screen.

    Args:
        h, w: size of the input.
        angle: degrees.
        expand: enlarge the output so that the whole rotated image fits; the result is then
            independent of `center`.
        center: (x, y) of the fixed point; None is the image's centre.
        interp: OpenCV interpolation flag, linear by default.
    """

    def __init__(
        self,
        h: int,
        w: int,
        angle: float,
        expand: bool = True,
        center: tuple[float, float] | None = None,
        interp: int | None = None,
    ):
        super().__init__()
        middle = np.array((w / 2, h / 2))
        if center is None:
            center = middle
        if interp is None:
            interp = cv2.INTER_LINEAR
        cos, sin = (abs(f(np.deg2rad(angle))) for f in (np.cos, np.sin))
        bound_w, bound_h = w, h
        if expand:
            bound_w, bound_h = np.rint([h * sin + w * cos, h * cos + w * sin]).astype(int)
        self.h, self.w, self.angle, self.expand = h, w, angle, expand
        self.center, self.interp, self.image_center = center, interp, middle
        self.bound_w, self.bound_h = bound_w, bound_h
        self._make_matrices()

    def _make_matrices(self) -> None:
        self.rm_coords = self.create_rotation_matrix()
        # OpenCV counts from the centre of the first pixel, coordinates from its corner.
        self.rm_image = self.create_rotation_matrix(offset=-0.5)

    def create_rotation_matrix(self, offset: float = 0) -> np.ndarray:
        """The (2, 3) affine matrix, for a frame whose origin is moved by `-offset`."""
        fixed = (float(self.center[0] + offset), float(self.center[1] + offset))
        matrix = cv2.getRotationMatrix2D(fixed, self.angle, 1)
        if self.expand:
            middle = matrix @ np.append(self.image_center + offset, 1)
            matrix[:, 2] += np.array([self.bound_w / 2, self.bound_h / 2]) + offset - middle
        return matrix

    def _is_identity(self) -> bool:
        return self.angle % 360 == 0

    def apply_image(self, img: np.ndarray, interp: int | None = None) -> np.ndarray:
        if len(img) == 0 or self._is_identity():
            return img
        if img.shape[:2] != (self.h, self.w):
            raise ValueError(
                f"RotationTransform for {self.h}x{self.w} (height x width) applied to an image of "
                f"{img.shape[0]}x{img.shape[1]}"
            )
        size = (int(self.bound_w), int(self.bound_h))
        flags = self.interp if interp is None else interp
        return cv2.warpAffine(img, self.rm_image, size, flags=flags)

    def apply_coords(self, coords: np.ndarray) -> np.ndarray:
        coords = np.asarray(coords, dtype=float)
        if len(coords) == 0 or self._is_identity():
            return coords
        return coords @ self.rm_coords[:, :2].T + self.rm_coords[:, 2]

    def apply_segmentation(self, segmentation: np.ndarray) -> np.ndarray:
        return self.apply_image(segmentation, interp=cv2.INTER_NEAREST)

    def inverse(self) -> Transform:
        """Rotate back without the margin; only where nothing was lost (`expand`)."""
        if not self.expand:
            raise NotImplementedError("RotationTransform.inverse: corners are lost without expand")
        back = RotationTransform(self.bound_h, self.bound_w, -self.angle, True, None, self.interp)
        # About the common centre, which whole pixels of a crop would miss by half of one.
        back.bound_w, back.bound_h = self.w, self.h
        back._make_matrices()
        return back


class ColorTransform(Transform):
    """Any function of the pixel values that leaves geometry alone.

    Args:
        op: takes and returns an image array.
    """

    def __init__(self, op: Callable[[np.ndarray], np.ndarray]):
        if not callable(op):
            raise ValueError(f"{type(self).__name__}: op must be callable, got {op!r}")
        super().__init__()
        self._set_attributes(locals())

    def apply_image(self, img: np.ndarray) -> np.ndarray:
        return self.op(img)

    def apply_coords(self, coords: np.ndarray) -> np.ndarray:
        return coords

    def inverse(self) -> Transform:
        return NoOpTransform()

    def apply_segmentation(self, segmentation: np.ndarray) -> np.ndarray:
        return segmentation


class PILColorTransform(ColorTransform):
    """A ColorTransform whose function takes and returns a PIL image, such as those of ImageOps."""

    def apply_image(self, img: np.ndarray) -> np.ndarray:
        return np.asarray(self.op(Image.fromarray(img)))
