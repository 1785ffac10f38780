"""Frames, tiles, feature maps with their geometry, and the context that an objective receives."""

from lowres_d2.structures.alike import by_size
from lowres_d2.structures.feature_map import FeatureMap
from lowres_d2.structures.frames import (
    Size,
    as_factor,
    check_factor_fits,
    image_sizes,
    low_res_size,
    pad_to_factor,
    padded_size,
)
from lowres_d2.structures.instance_frames import drop_small, fit_instances, scale_instances
from lowres_d2.structures.objective_context import ObjectiveContext
from lowres_d2.structures.tile_grid import TileGrid, Window
from lowres_d2.structures.windowed_image import WindowedImage

__all__ = [
    "FeatureMap",
    "ObjectiveContext",
    "Size",
    "TileGrid",
    "Window",
    "WindowedImage",
    "as_factor",
    "by_size",
    "check_factor_fits",
    "drop_small",
    "fit_instances",
    "image_sizes",
    "low_res_size",
    "pad_to_factor",
    "padded_size",
    "scale_instances",
]
