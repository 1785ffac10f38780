"""Whoever adds an operator or objective adds its case, beside the other tests of its folder."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import runpy
import typing
from pathlib import Path

import lowres_d2  # noqa: F401

import pytest
from torch import nn

from operator_case import OperatorCase

PACKAGES = [
    "lowres_d2.layers",
    "lowres_d2.structures",
    "lowres_d2.modeling.deformable_detr",
    "lowres_d2.modeling.objectives",
    "lowres_d2.modeling.resample",
    "lowres_d2.modeling.roi_heads",
    "lowres_d2.modeling.super_resolution",
]
# A function is an operator if it takes one of these and gives one of them.
OF_TENSORS = ("Tensor", "FeatureMap", "Instances", "Boxes")
OTHERS = {
    "Objective": "base class",
    "BinaryWeights": "base class",
    "KBitWeights": "base class",
    "DenseDistillation": "base class",
    "SuperResolutionNetwork": "base class",
    "SuperResolvedHeads": "base class",
    "SuperResolvedCascadeROIHeads": "head of a detector: test_super_resolved_heads.py",
    "SuperResolvedRes5ROIHeads": "head of a detector: test_super_resolved_heads.py",
    "SuperResolvedStandardROIHeads": "head of a detector: test_super_resolved_heads.py",
    "by_size": "a function of batches applied to images: test_alike.py",
    "content_loss": "a mean of squares: test_super_resolution.py",
    "divided": "one division",
    "convolved": "of Downsampled and DownUp in graphs: test_as_convolution.py",
    "interpolated": "of Downsampled and DownUp: test_resample.py",
    "rescaled": "likewise",
    "masks_joined": "indexing",
    "multiplied": "one multiplication",
    "plus_or_minus_one": "the sign without its gradient: test_one_bit_layers.py",
    "pooled_at": "a shift of boxes: test_alignment.py",
    "teacher_predictions": "the teacher's part of ProposalLogitDistillation",
    "convert_deformable_detr": "weights of a checkpoint: test_convert_deformable_detr.py",
    "weights_for_factor": "weights of a checkpoint: test_norm_by_factor.py",
}


def _modules():
    for package in map(importlib.import_module, PACKAGES):
        yield package
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            yield importlib.import_module(found.name)


def _is_operator(value):
    if inspect.isclass(value):
        return issubclass(value, nn.Module)
    if not inspect.isfunction(value):
        return False
    hints = typing.get_type_hints(value)
    output = hints.pop("return", None)
    return _has_tensor(output) and any(map(_has_tensor, hints.values()))


def _has_tensor(hint):
    return any(name in str(hint) for name in OF_TENSORS)


def _operators():
    return {
        value.__name__: value
        for module in _modules()
        for name, value in vars(module).items()
        if not name.startswith("_")
        and getattr(value, "__module__", None) == module.__name__
        and _is_operator(value)
    }


def _covered():
    names = set()
    for path in Path(__file__).parent.glob("**/test_*_operators.py"):
        for value in runpy.run_path(str(path)).values():
            if inspect.isclass(value) and issubclass(value, OperatorCase):
                names.update(x.__name__ for x in value.covers)
    return names


def test_every_operator_has_a_case():
    missing = _operators().keys() - _covered() - OTHERS.keys()
    assert not missing, f"write an OperatorCase (tests/operator_case.py) for {sorted(missing)}"


def test_what_has_no_case_exists_and_has_none():
    assert OTHERS.keys() <= _operators().keys()
    assert not OTHERS.keys() & _covered()


@pytest.mark.parametrize("name", ["LearnedDownsampler", "MomentMatching", "sample_bags"])
def test_operators_are_found(name):
    assert name in _operators()
