"""Placeholders for the parts of Detectron2 that this core does not cover.

Files that only mention such a name (an import, a base class, ``isinstance``) work; using one raises
an error that says ``<name> needs upstream Detectron2``. Names come from ``uncovered(name)``; whole
modules that no file here provides (``UNCOVERED_MODULES``) are made of such names on import.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any, NoReturn

UNCOVERED_MODULES = (
    "detectron2.checkpoint.catalog",
    "detectron2.config.compat",
    "detectron2.config.defaults",
    "detectron2.data.benchmark",
    "detectron2.data.datasets.cityscapes",
    "detectron2.data.datasets.cityscapes_panoptic",
    "detectron2.data.datasets.coco_panoptic",
    "detectron2.data.datasets.lvis",
    "detectron2.data.datasets.lvis_v0_5_categories",
    "detectron2.data.datasets.lvis_v1_categories",
    "detectron2.data.datasets.lvis_v1_category_image_count",
    "detectron2.evaluation.cityscapes_evaluation",
    "detectron2.evaluation.lvis_evaluation",
    "detectron2.evaluation.panoptic_evaluation",
    "detectron2.evaluation.rotated_coco_evaluation",
    "detectron2.evaluation.sem_seg_evaluation",
    "detectron2.export",
    "detectron2.layers.mask_ops",
    "detectron2.layers.roi_align_rotated",
    "detectron2.layers.rotated_boxes",
    "detectron2.modeling.backbone.mvit",
    "detectron2.modeling.backbone.regnet",
    "detectron2.modeling.backbone.swin",
    "detectron2.modeling.backbone.utils",
    "detectron2.modeling.backbone.vit",
    "detectron2.modeling.meta_arch.panoptic_fpn",
    "detectron2.modeling.meta_arch.semantic_seg",
    "detectron2.modeling.mmdet_wrapper",
    "detectron2.modeling.proposal_generator.rrpn",
    "detectron2.modeling.roi_heads.keypoint_head",
    "detectron2.modeling.roi_heads.mask_head",
    "detectron2.modeling.roi_heads.rotated_fast_rcnn",
    "detectron2.projects",
    "detectron2.structures.keypoints",
    "detectron2.structures.masks",
    "detectron2.structures.rotated_boxes",
    "detectron2.tracking",
    "detectron2.utils.torch_version_utils",
    "detectron2.utils.tracing",
    "detectron2.utils.video_visualizer",
)
_UNCOVERED_PREFIXES = tuple(f"{name}." for name in UNCOVERED_MODULES)


class NeedsUpstreamError(NotImplementedError):
    """Something was used that only upstream Detectron2 has."""


def needs_upstream(name: str) -> NoReturn:
    """Raise the error that names what is missing."""
    raise NeedsUpstreamError(
        f"{name} needs upstream Detectron2, which is not installed; the core bundled with "
        "lowres_d2 covers LazyConfig and boxes only"
    )


class _Placeholder(type):
    """Metaclass of placeholders: classes without instances, which cannot be called."""

    def __call__(cls, *args: Any, **kwargs: Any) -> NoReturn:
        needs_upstream(cls.__qualname__)

    def __getattr__(cls, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(f"placeholder {cls.__qualname__} has no attribute {name}")
        return uncovered(f"{cls.__qualname__}.{name}")


def uncovered(name: str) -> Any:
    """A placeholder to import, subclass or test with ``isinstance`` (false); calling it raises.

    Args:
        name: the name in Detectron2, used in the error.
    """
    return _Placeholder(name, (), {"__qualname__": name, "__module__": "detectron2"})


class _PlaceholderModules(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Importer, asked last, whose modules hold nothing but placeholders."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        # A capitalised last part is a class, which whoever resolves dotted names tries to import.
        is_class = fullname.rpartition(".")[2][:1].isupper()
        if not is_class and f"{fullname}.".startswith(_UNCOVERED_PREFIXES):
            return importlib.machinery.ModuleSpec(fullname, self, is_package=True)
        return None

    def exec_module(self, module: ModuleType) -> None:
        def placeholder_attribute(name: str) -> Any:
            if name.startswith("__"):
                raise AttributeError(f"module {module.__name__} has no attribute {name}")
            return uncovered(f"{module.__name__}.{name}")

        module.__getattr__ = placeholder_attribute  # type: ignore[method-assign]  # PEP 562


def install_module_finder() -> None:
    """Make ``UNCOVERED_MODULES`` importable, behind every other importer."""
    if not any(isinstance(finder, _PlaceholderModules) for finder in sys.meta_path):
        sys.meta_path.append(_PlaceholderModules())
