"""Helpers of tests."""

from __future__ import annotations

import io
import tempfile
import unittest
from pathlib import Path
from typing import Any

import torch
from detectron2 import model_zoo
from detectron2._uncovered import uncovered
from detectron2.config import LazyConfig
from detectron2.structures import Boxes, Instances
from detectron2.utils.env import TORCH_VERSION
from torch import Tensor, nn

convert_scripted_instances = uncovered("convert_scripted_instances")
get_sample_coco_image = uncovered("get_sample_coco_image")
has_dynamic_axes = uncovered("has_dynamic_axes")
register_custom_op_onnx_export = uncovered("register_custom_op_onnx_export")
unregister_custom_op_onnx_export = uncovered("unregister_custom_op_onnx_export")
_pytorch1111_symbolic_opset9_repeat_interleave = uncovered("repeat_interleave for ONNX")
_pytorch1111_symbolic_opset9_to = uncovered("to for ONNX")

# Decorators of export tests, none of which can run here.
skipIfOnCPUCI = unittest.skip("needs upstream Detectron2")


def skipIfUnsupportedMinOpsetVersion(min_opset_version: int, current: int | None = None) -> Any:
    """Decorator that skips a test of ONNX export."""
    return unittest.skip(f"ONNX export (opset {min_opset_version}) needs upstream Detectron2")


def skipIfUnsupportedMinTorchVersion(min_version: str) -> Any:
    """Decorator that skips a test where torch is older than `min_version`."""
    wanted = tuple(int(part) for part in min_version.split(".")[:2])
    return unittest.skipIf(wanted > TORCH_VERSION, f"needs torch {min_version}")


def get_model_no_weights(config_path: str) -> nn.Module:
    """A detector of the zoo with random weights; see `detectron2.model_zoo.get_config`."""
    return model_zoo.get(config_path)


def random_boxes(num_boxes: int, max_coord: float = 100, device: str = "cpu") -> Tensor:
    """Boxes (num_boxes, 4), XYXY, at least 1 long, within [1, max_coord]."""
    boxes = (torch.rand(num_boxes, 4, device=device) * (max_coord / 2)).clamp_(min=1.0)
    boxes[:, 2:] += boxes[:, :2]
    return boxes


def assert_instances_allclose(
    input: Instances,
    other: Instances,
    *,
    rtol: float = 1e-5,
    msg: str = "",
    size_as_tensor: bool = False,
) -> None:
    """Assert that both have the same size and fields, with values as near as `rtol`.

    Args:
        input: one.
        other: the other.
        rtol: relative to the largest magnitude in `input`; of boxes and floating point tensors.
        msg: put before what differs.
        size_as_tensor: the sizes are tensors.
    """
    sizes = (torch.as_tensor(input.image_size), torch.as_tensor(other.image_size))
    same_size = torch.equal(*sizes) if size_as_tensor else input.image_size == other.image_size
    assert same_size, f"{msg}: image_size {input.image_size} is not {other.image_size}"
    names = sorted(input.get_fields())
    assert names == sorted(other.get_fields()), f"{msg}: fields {names} differ from {other}"
    for name in names:
        first, second = input.get(name), other.get(name)
        if isinstance(first, Boxes):
            first, second = first.tensor, second.tensor
        if not isinstance(first, Tensor):
            raise ValueError(f"{msg}: cannot compare field {name!r}, a {type(first).__name__}")
        assert first.shape == second.shape, f"{msg}: {name} {first.shape} is not {second.shape}"
        if first.is_floating_point():
            atol = rtol * float(first.abs().max()) if first.numel() else 0.0
            equal = torch.allclose(first, second, rtol=0, atol=atol)
        else:
            equal = torch.equal(first, second)
        assert equal, f"{msg}: {name} differs: {first} and {second}"


def reload_script_model(module: Any) -> Any:
    """Save a scripted module and load it again."""
    buffer = io.BytesIO()
    torch.jit.save(module, buffer)
    buffer.seek(0)
    return torch.jit.load(buffer)


def reload_lazy_config(cfg: Any) -> Any:
    """Save a config and load it again."""
    with tempfile.TemporaryDirectory(prefix="detectron2") as folder:
        file = str(Path(folder) / "config.yaml")
        LazyConfig.save(cfg, file)
        return LazyConfig.load(file)
