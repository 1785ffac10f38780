"""The formats of exported files: one table, which imports nothing heavy."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lowres_d2.deploy.packages import needed
from lowres_d2.near_names import near

from jaxtyping import Float, Shaped
from torch import Tensor

Run = Callable[[Float[Tensor, "C H W"]], list[Shaped[Tensor, "*_any"]]]


@dataclass(frozen=True)
class Format:
    """A format and what it can.

    Attributes:
        name: as ``--format`` takes it.
        suffix: of its files.
        module: of this package, with ``write`` and ``read``.
        to_write: packages that writing needs, as ``pip install`` names them; their modules have
            the same names.
        to_read: packages that running a file needs.
        selects: whether the graph ends with detections: the format has NMS.
        any_size: whether a file takes images of any size.
        box_tolerance: largest difference to eager torch that is accepted, in pixels.
        score_tolerance: likewise, of scores.
        beside: suffixes of further files that belong to one.
    """

    name: str
    suffix: str
    module: str
    to_write: tuple[str, ...]
    to_read: tuple[str, ...]
    selects: bool = True
    any_size: bool = True
    box_tolerance: float = 1e-2
    score_tolerance: float = 1e-4
    beside: tuple[str, ...] = ()

    def check_packages(self, names: tuple[str, ...]) -> None:
        """Raise unless the packages are there.

        Raises:
            ModuleNotFoundError: one is missing; says how to install all.
        """
        for name in names:
            needed(name, self.name, " ".join(names))

    def files(self, path: Path) -> list[Path]:
        """All files that one export writes."""
        return [path.with_suffix(suffix) for suffix in (self.suffix, *self.beside)]

    def backend(self) -> Any:
        """Its module, with ``write`` and ``read``."""
        return importlib.import_module(f"{__package__}.{self.module}")


FORMATS = {
    entry.name: entry
    for entry in (
        Format(
            "onnx",
            ".onnx",
            "onnx_file",
            to_write=("onnx", "onnxscript", "onnxruntime"),
            to_read=("onnxruntime",),
        ),
        Format(
            "openvino",
            ".xml",
            "openvino_file",
            to_write=("onnx", "onnxscript", "openvino"),
            to_read=("openvino",),
            beside=(".bin",),
        ),
        Format(
            "executorch",
            ".pte",
            "executorch_file",
            to_write=("executorch",),
            to_read=("executorch",),
            selects=False,
            # XNNPACK reshapes one dynamic axis at most, an image has two.
            any_size=False,
        ),
    )
}
SUFFIXES = tuple(entry.suffix for entry in FORMATS.values())


def format_of(path: str | Path, name: str | None = None) -> Format:
    """The format of a file.

    Args:
        path: its suffix says the format.
        name: the format that it is to have; None: that of the suffix.

    Raises:
        ValueError: there is no such format, or its files have another suffix.
    """
    if name is not None and name not in FORMATS:
        raise ValueError(
            f"format {name!r}: expected one of {', '.join(FORMATS)}{near(name, FORMATS)}"
        )
    for entry in FORMATS.values():
        if name in (None, entry.name) and Path(path).suffix == entry.suffix:
            return entry
    suffixes = SUFFIXES if name is None else (FORMATS[name].suffix,)
    raise ValueError(f"{path}: expected a name that ends with {' or '.join(suffixes)}")
