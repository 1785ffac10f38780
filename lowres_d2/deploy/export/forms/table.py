"""Which detectors can be exported, each with the form that goes into a graph.

A form is a module: the network's image (C, h, w), 0 to 255, in; levels of candidates out. Its
``selection`` makes detections of them. Forms of classifiers give scores (K,), and have none.
"""

from __future__ import annotations

from lowres_d2.deploy.export.forms.classifier import ClassifierForm
from lowres_d2.deploy.export.forms.dense import DenseForm
from lowres_d2.deploy.export.forms.set_prediction import SetPredictionForm
from lowres_d2.deploy.export.forms.two_stage import TwoStageForm
from lowres_d2.deploy.one_bit import PackedConv2d, PackedLinear
from lowres_d2.layers.one_bit import BinaryConv2d, BinaryLinear
from lowres_d2.modeling.meta_arch import SuperResolver
from lowres_d2.modeling.tiles import TiledDetector

from torch import nn

FORMS = (DenseForm, TwoStageForm, SetPredictionForm, ClassifierForm)


def form_of(detector: nn.Module) -> nn.Module:
    """The form of a detector, whose weights it shares.

    Args:
        detector: what is inside of a composition, or a plain detector, in evaluation mode.

    Raises:
        ValueError: it cannot be exported; says why.
    """
    name = type(detector).__name__
    if any(isinstance(part, PackedConv2d | PackedLinear) for part in detector.modules()):
        raise ValueError(
            "packed 1-bit detectors run in their own engine alone: load them with "
            "lowres_d2.load, or export the run that was packed"
        )
    # Measured on a quick FCOS with random weights: next to none of its detections stays.
    if any(isinstance(part, BinaryConv2d | BinaryLinear) for part in detector.modules()):
        raise ValueError(
            "in 1-bit layers another runtime's rounding turns signs, and so changes what is found: "
            "use `lowres-d2 pack`"
        )
    if isinstance(detector, TiledDetector):
        raise ValueError("detectors in tiles have no graph of their own: export them without tiles")
    if isinstance(detector, SuperResolver):
        raise ValueError("networks that make images find nothing: export detectors or classifiers")
    for form in FORMS:
        if isinstance(detector, form.OF):
            return form(detector)
    raise ValueError(
        f"{name} has no form for export: "
        f"{', '.join(kind.__name__ for form in FORMS for kind in form.OF)} have one"
    )
