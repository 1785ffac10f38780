"""State of the process: versions, random seeds, a user's own set-up module."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
import random
from collections.abc import Iterable
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np
import torch

TORCH_VERSION: tuple[int, ...] = tuple(int(part) for part in torch.__version__.split(".")[:2])
DOC_BUILDING = bool(os.environ.get("_DOC_BUILDING"))


def seed_all_rng(seed: int | None = None) -> None:
    """Seed python, numpy and torch.

    Args:
        seed: None takes one from the operating system, and logs it.
    """
    if seed is None:
        seed = int.from_bytes(os.urandom(4), "little") >> 1
        logging.getLogger(__name__).info("Random seed %d, from the operating system", seed)
    np.random.seed(seed)  # noqa: NPY002 (the generator that augmentations draw from)
    torch.manual_seed(seed)
    random.seed(seed)
    # For child processes; too late for this one.
    os.environ["PYTHONHASHSEED"] = str(seed)


@cache
def setup_environment() -> None:
    """Set up the process, once.

    OpenCV's OpenCL is switched off, which contends with CUDA for the device. The environment
    variable DETECTRON2_ENV_MODULE may name a module or a python file with a function
    ``setup_environment()``, which is called.
    """
    os.environ.setdefault("OPENCV_OPENCL_RUNTIME", "disabled")
    custom = os.environ.get("DETECTRON2_ENV_MODULE")
    if custom:
        setup_custom_environment(custom)


def setup_custom_environment(custom_module: str) -> None:
    """Call ``setup_environment()`` of a module.

    Args:
        custom_module: an importable name, or the path of a file that ends in .py.
    """
    if custom_module.endswith(".py"):
        module = _import_file("detectron2.utils.env.custom_module", custom_module)
    else:
        module = importlib.import_module(custom_module)
    if not callable(getattr(module, "setup_environment", None)):
        raise ValueError(f"{custom_module} has no function setup_environment()")
    module.setup_environment()


def _import_file(module_name: str, file_path: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(module_name, file_path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file_path}: not a python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def fixup_module_metadata(
    module_name: str, namespace: dict[str, Any], keys: Iterable[str] | None = None
) -> None:
    """Make objects say they live where users import them from, while documentation is built.

    Args:
        module_name: the public module.
        namespace: its names, ``globals()`` of it.
        keys: names to change; None for all that start without an underscore.
    """
    if not DOC_BUILDING:
        return
    root = module_name.partition(".")[0]
    for name in [key for key in namespace if not key.startswith("_")] if keys is None else keys:
        home = getattr(namespace[name], "__module__", None)
        # Objects of other packages stay as they are.
        if isinstance(home, str) and home.partition(".")[0] == root:
            namespace[name].__module__ = module_name
