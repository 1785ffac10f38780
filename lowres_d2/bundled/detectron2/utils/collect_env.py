"""What runs where: versions and devices, for bug reports."""

from __future__ import annotations

import importlib
import os
import platform
import sys
from collections import Counter
from collections.abc import Iterator
from importlib import metadata

import torch
from tabulate import tabulate

__all__ = ["collect_env_info"]

_PACKAGES = (
    "detectron2",
    "torchvision",
    "numpy",
    "PIL",
    "cv2",
    "fvcore",
    "iopath",
    "omegaconf",
    "hydra",
    "pycocotools",
    "hotcoco",
)


def collect_env_info() -> str:
    """A table of platform, devices, packages and environment variables."""
    return tabulate([*_machine(), *map(_package, _PACKAGES), *_variables()])


def _machine() -> Iterator[tuple[str, str]]:
    yield "platform", platform.platform()
    yield "Python", sys.version.replace("\n", "")
    yield "torch", f"{torch.__version__} @{os.path.dirname(torch.__file__)}"
    yield "torch debug build", str(torch.version.debug)
    yield "CPU threads", f"{torch.get_num_threads()} of {os.cpu_count()}"
    yield "GPU available", str(torch.cuda.is_available())
    if not torch.cuda.is_available():
        return
    names = []
    for i in range(torch.cuda.device_count()):
        major, minor = torch.cuda.get_device_capability(i)
        names.append(f"{torch.cuda.get_device_name(i)} (arch={major}.{minor})")
    for name, count in Counter(names).items():
        yield "GPU", f"{count} x {name}"
    yield "CUDA, cuDNN", f"{torch.version.cuda}, {torch.backends.cudnn.version()}"


def _package(name: str) -> tuple[str, str]:
    try:
        module = importlib.import_module(name)
    except ImportError as error:
        return name, f"cannot be imported: {error}"
    version = getattr(module, "__version__", None) or _installed_version(name)
    return name, f"{version} @{os.path.dirname(module.__file__ or '')}"


def _installed_version(name: str) -> str:
    """Of a package whose module does not say it, such as pycocotools."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "no version"


def _variables() -> Iterator[tuple[str, str]]:
    for name in sorted(os.environ):
        if name.startswith(("DETECTRON2_", "LOWRES_D2_", "CUDA_", "OMP_NUM", "FVCORE_CACHE")):
            yield f"${name}", os.environ[name]


if __name__ == "__main__":
    print(collect_env_info())
