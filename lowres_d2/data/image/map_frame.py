"""Where the pixels of a GeoTIFF lie on the earth, read with ``rasterio``.

It is no dependency of this project: ``pip install 'lowres-d2[geo]'``. A pixel's corners become
coordinates of the file's own reference system (CRS) by its geotransform, which is affine and may
rotate, and these become WGS84 longitude and latitude, as GeoJSON has them (RFC 7946). The boxes'
frame is that of GDAL: continuous, with the origin at the upper left corner of the first pixel.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, floor
from typing import Any

import numpy as np
from jaxtyping import Float

TIFF_ENDINGS = (".tif", ".tiff")
_WGS84 = "OGC:CRS84"  # longitude first
_DECIMALS = 8  # of degrees: about a millimetre
_INSTALL = "rasterio reads it, which is not installed: pip install 'lowres-d2[geo]'"


class NoMapFrameError(ValueError):
    """An image of which it is not known where it lies; the message says why, without its name."""


@dataclass(frozen=True)
class MapFrame:
    """Where an image lies.

    Attributes:
        size: height and width of the image as stored.
        affine: geotransform from (x, y) in pixels, 2 x 3.
        crs: rasterio's reference system.
    """

    size: tuple[int, int]
    affine: Float[np.ndarray, "2 3"]
    crs: Any

    @classmethod
    def of(cls, path: str) -> MapFrame:
        """The frame of an image file.

        Raises:
            NoMapFrameError: it has no geotransform or reference system, this is nowhere on the
                earth, or rasterio is not installed.
        """
        try:
            import rasterio
        except ModuleNotFoundError:
            raise NoMapFrameError(_INSTALL) from None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
            try:
                with rasterio.open(path) as file:
                    size, transform, crs = file.shape, file.transform, file.crs
            except rasterio.errors.RasterioError as error:
                raise NoMapFrameError(f"rasterio cannot read it ({_line(error)})") from error
        missing = ["geotransform"] if transform.is_identity or transform.is_degenerate else []
        missing += [] if crs else ["CRS"]
        if missing:
            raise NoMapFrameError(f"it has no {' and no '.join(missing)}")
        frame = cls(size, np.array(transform[:6]).reshape(2, 3), crs)
        frame.geometries(np.array([[0.25, 0.25, 0.75, 0.75]]) * [*size[::-1], *size[::-1]])
        return frame

    def geometries(
        self, boxes: Float[np.ndarray, "M 4"], orientation: int = 1
    ) -> list[dict[str, Any] | None]:
        """GeoJSON geometries of boxes: their four corners in WGS84, counterclockwise.

        One that crosses the 180th meridian is cut there into a MultiPolygon, as RFC 7946 asks for.

        Args:
            boxes: XYXY in pixels of the image after EXIF's rotation.
            orientation: EXIF's; 1 where it was not applied.

        Returns:
            A geometry for each box; None: it has no place on the earth, as corners of an image of
            the whole globe have not.

        Raises:
            NoMapFrameError: not one of the boxes has.
        """
        corners = np.asarray(boxes, float)[:, [[0, 1], [0, 3], [2, 3], [2, 1]]]
        points = as_stored(corners, orientation, self.size) @ self.affine[:, :2].T
        points = points + self.affine[:, 2]
        try:
            degrees = self._degrees(points)
        except Exception as error:  # GDAL's errors have no public class in common
            degrees = np.concatenate([self._degrees_or_nan(box) for box in points])
            if np.isnan(degrees).all():
                name = self.crs.to_string().partition("[")[0][:60]
                raise NoMapFrameError(
                    f"its CRS, {name}, has no longitude and latitude there ({_line(error)})"
                ) from error
        # Longitudes that are one already say how wide a box is, also beyond half of the globe.
        widths = points[..., 0] if self.crs.is_geographic else np.zeros(points.shape[:2])
        return [
            _geometry(ring, width) if np.isfinite(ring).all() else None
            for ring, width in zip(degrees, widths, strict=True)
        ]

    def _degrees(self, points: Float[np.ndarray, "M 4 2"]) -> Float[np.ndarray, "M 4 2"]:
        from rasterio.warp import transform

        x, y = points.reshape(-1, 2).T.tolist()
        found = transform(self.crs, _WGS84, x, y) if x else [x, y]
        return np.stack(found, axis=-1).reshape(points.shape)

    def _degrees_or_nan(self, points: Float[np.ndarray, "4 2"]) -> Float[np.ndarray, "1 4 2"]:
        try:
            return self._degrees(points[None])
        except Exception:  # as above
            return np.full((1, 4, 2), np.nan)


def as_stored(
    points: Float[np.ndarray, "*any 2"], orientation: int, size: tuple[int, int]
) -> Float[np.ndarray, "*any 2"]:
    """Points (x, y) of an image that EXIF has rotated, in the image as its file has it.

    Args:
        points: in pixels of the rotated image.
        orientation: EXIF's, 1 to 8.
        size: height and width as stored.
    """
    height, width = size[::-1] if orientation >= 5 else size
    x, y = points[..., 0], points[..., 1]
    x = width - x if orientation in (2, 3, 6, 7) else x
    y = height - y if orientation in (3, 4, 7, 8) else y
    return np.stack([y, x] if orientation >= 5 else [x, y], axis=-1)


def _geometry(ring: Float[np.ndarray, "corners 2"], along: np.ndarray) -> dict[str, Any]:
    """The polygon of four corners, cut at the 180th meridian.

    Args:
        ring: longitudes and latitudes.
        along: numbers whose differences are about those of the longitudes, but for full turns.
    """
    ring, along = np.concatenate([ring, ring[:1]]), np.append(along, along[0])
    about = np.diff(along)
    steps = about + (np.diff(ring[:, 0]) - about + 180) % 360 - 180
    ring[1:, 0] = ring[0, 0] + np.cumsum(steps)
    if abs(ring[-1, 0] - ring[0, 0]) > 180:  # around a pole, along which it is closed
        pole = np.copysign(90, ring[:, 1].mean())
        ring = np.concatenate([ring, [[ring[-1, 0], pole], [ring[0, 0], pole]], ring[:1]])
    (x, y), (next_x, next_y) = (ring[:-1] - ring[0]).T, (ring[1:] - ring[0]).T
    if (x * next_y - next_x * y).sum() < 0:
        ring = ring[::-1]
    parts = []
    for turn in range(floor((ring[:, 0].min() + 180) / 360), ceil((ring[:, 0].max() + 180) / 360)):
        part = ring - [360 * turn, 0]
        part = _beyond(_beyond(part, -180, 1), 180, -1)
        parts.append([part.round(_DECIMALS).tolist()])
    if len(parts) == 1:
        return {"type": "Polygon", "coordinates": parts[0]}
    return {"type": "MultiPolygon", "coordinates": parts}


def _beyond(ring: Float[np.ndarray, "_ 2"], border: float, side: int) -> np.ndarray:
    """The part of a closed ring that lies east (1) or west (-1) of a longitude, closed."""
    kept = []
    for (x, y), (next_x, next_y) in pairwise(ring):
        inside, next_inside = ((value - border) * side >= 0 for value in (x, next_x))
        if inside:
            kept.append((x, y))
        if inside != next_inside:
            kept.append((border, y + (next_y - y) * (border - x) / (next_x - x)))
    return np.array(kept + kept[:1])


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:120]
