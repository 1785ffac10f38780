"""Checks that tensors have the shapes and dtypes that signatures say (jaxtyping, beartype).

``install`` stands in the first lines of ``tests/conftest.py``: it has to run before the modules are
imported. Only annotations with tensors are checked: what users may get wrong beside them is checked
by the code itself, whose errors have tests of their own.
"""

import inspect
import typing

from beartype import BeartypeConf, beartype
from jaxtyping import AbstractArray, install_import_hook

CHECKED = [
    "lowres_d2.deploy",
    "lowres_d2.layers",
    "lowres_d2.modeling.deformable_detr",
    "lowres_d2.modeling.meta_arch",
    "lowres_d2.modeling.objectives",
    "lowres_d2.modeling.one_bit",
    "lowres_d2.modeling.resample",
    "lowres_d2.modeling.roi_heads",
    "lowres_d2.modeling.teacher",
    "lowres_d2.structures",
]
_check = beartype(conf=BeartypeConf(is_pep484_tower=True))


def install():
    """Check the calls of every function in the modules that are imported from now on."""
    install_import_hook(CHECKED, "shape_checks.only_tensors")


def only_tensors(function):
    """A function whose arguments and result are checked where their annotation has a tensor."""
    hints = {}
    for name, hint in function.__annotations__.items():
        if isinstance(hint, str):
            hint = eval(hint, function.__globals__)
        if _has_tensor(hint):
            hints[name] = hint
    if not hints:
        return function
    function.__annotations__ = hints
    return _check(function)


def _has_tensor(hint):
    if inspect.isclass(hint) and issubclass(hint, AbstractArray):
        return True
    return any(map(_has_tensor, typing.get_args(hint)))
