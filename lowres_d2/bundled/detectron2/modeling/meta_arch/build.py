"""The registry of meta-architectures; building one from a yacs config is left to upstream."""

from __future__ import annotations

from detectron2._uncovered import uncovered
from detectron2.utils.registry import Registry

META_ARCH_REGISTRY = Registry("META_ARCH")
META_ARCH_REGISTRY.__doc__ = "Whole models by name, for code that builds them from a yacs config."

build_model = uncovered("build_model")
