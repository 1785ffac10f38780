"""The grammar of augmentations: a random policy looks at its input and returns a transform.

An augmentation names the inputs it looks at by the arguments of its `get_transform`; an AugInput
holds them as attributes and is changed in place by the transform. Images are (H, W) or (H, W, C),
uint8 or floating point; boxes are (N, 4), XYXY in pixels of the image.
"""

# ruff: noqa: NPY002 (Detectron2 draws from numpy's global generator; so must we)

from __future__ import annotations

import inspect
import pprint
from collections.abc import Sequence
from typing import Any

import numpy as np
from fvcore.transforms.transform import Transform, TransformList

__all__ = [
    "AugInput",
    "Augmentation",
    "AugmentationList",
    "StandardAugInput",
    "TransformGen",
    "apply_augmentations",
    "apply_transform_gens",
]


def _argument_names(augmentation: Augmentation) -> tuple[str, ...]:
    """Names of the inputs that `augmentation.get_transform` asks for."""
    parameters = list(inspect.signature(augmentation.get_transform).parameters.values())
    if [p.name for p in parameters] == ["args"] or not parameters:
        return ("image",)  # the base class's open signature
    for parameter in parameters:
        if parameter.default is not parameter.empty or parameter.kind in (
            parameter.VAR_POSITIONAL,
            parameter.VAR_KEYWORD,
        ):
            raise TypeError(
                f"{type(augmentation).__name__}.get_transform: argument {parameter.name!r} must "
                "be a plain one without default; or set the attribute `input_args` by hand"
            )
    return tuple(p.name for p in parameters)


def _get_aug_input_args(aug: Augmentation, aug_input: AugInput) -> list[Any]:
    """What `get_transform` of an augmentation is called with: the inputs that it names."""
    if aug.input_args is None:
        aug.input_args = _argument_names(aug)
    missing = [name for name in aug.input_args if not hasattr(aug_input, name)]
    if missing:
        raise AttributeError(
            f"{type(aug).__name__} needs {missing[0]!r}, which {type(aug_input).__name__} does "
            "not have"
        )
    return [getattr(aug_input, name) for name in aug.input_args]


class Augmentation:
    """A random choice of a transform.

    A subclass implements `get_transform`, whose arguments are names of attributes of an AugInput:
    ``get_transform(self, image)``, ``get_transform(self, image, boxes)``, ...

    Attributes:
        input_args: those names; found from the signature where it is None.
    """

    input_args: tuple[str, ...] | None = None

    def _init(self, params: dict[str, Any] | None = None) -> None:
        """Make attributes of a constructor's ``locals()``."""
        for name, value in (params or {}).items():
            if name != "self" and not name.startswith("_"):
                setattr(self, name, value)

    def get_transform(self, *args) -> Transform:
        """Draw the transform for these inputs; must not change them."""
        raise NotImplementedError(f"{type(self).__name__} does not define get_transform")

    def __call__(self, aug_input: AugInput) -> Transform:
        """Draw a transform, apply it to `aug_input` in place and return it."""
        transform = self.get_transform(*_get_aug_input_args(self, aug_input))
        if not isinstance(transform, Transform):
            raise TypeError(
                f"{type(self).__name__}.get_transform must return a Transform, got {transform!r}"
            )
        aug_input.transform(transform)
        return transform

    def _rand_range(
        self, low: float = 1.0, high: float | None = None, size: Any = None
    ) -> float | np.ndarray:
        """Uniform in [low, high), or in [0, low) when `high` is left out."""
        if high is None:
            low, high = 0, low
        return np.random.uniform(low, high, [] if size is None else size)

    def __repr__(self) -> str:
        """The constructor call, as far as it differs from the defaults."""
        shown = []
        for name, parameter in inspect.signature(type(self).__init__).parameters.items():
            if name == "self" or parameter.kind in (
                parameter.VAR_POSITIONAL,
                parameter.VAR_KEYWORD,
            ):
                continue
            value = getattr(self, name, parameter.default)
            if value is not parameter.default:
                text = pprint.pformat(value)
                shown.append(f"{name}={'...' if chr(10) in text else text}")
        return f"{type(self).__name__}({', '.join(shown)})"

    __str__ = __repr__


class _TransformToAug(Augmentation):
    """The augmentation that always returns one given transform."""

    def __init__(self, tfm: Transform):
        self.tfm = tfm

    def get_transform(self, *args) -> Transform:
        return self.tfm

    def __repr__(self) -> str:
        return repr(self.tfm)

    __str__ = __repr__


def _transform_to_aug(tfm_or_aug: Transform | Augmentation) -> Augmentation:
    """See a transform as an augmentation; leave augmentations alone."""
    if isinstance(tfm_or_aug, Augmentation):
        return tfm_or_aug
    if isinstance(tfm_or_aug, Transform):
        return _TransformToAug(tfm_or_aug)
    raise TypeError(f"expected a Transform or an Augmentation, got {tfm_or_aug!r}")


class AugmentationList(Augmentation):
    """Augmentations in sequence; each sees what the ones before it made.

    Args:
        augs: augmentations or transforms.
    """

    def __init__(self, augs: Sequence[Augmentation | Transform]):
        self.augs = [_transform_to_aug(aug) for aug in augs]

    def __call__(self, aug_input: AugInput) -> TransformList:
        return TransformList([aug(aug_input) for aug in self.augs])

    def __repr__(self) -> str:
        return f"AugmentationList[{', '.join(str(aug) for aug in self.augs)}]"

    __str__ = __repr__


def _check_image(image: Any) -> None:
    if not isinstance(image, np.ndarray):
        raise TypeError(f"an image must be a numpy array, got {type(image).__name__}")
    if image.ndim not in (2, 3):
        raise ValueError(f"an image must be (H, W) or (H, W, C), got shape {image.shape}")
    if image.dtype != np.uint8 and not np.issubdtype(image.dtype, np.floating):
        raise TypeError(f"an image must be uint8 or floating point, got {image.dtype}")


class AugInput:
    """What belongs to one image and must be transformed together.

    Args:
        image: (H, W) or (H, W, C); uint8 in 0..255 or floating point.
        boxes: (N, 4), XYXY in pixels.
        sem_seg: (H, W), one class index a pixel.
    """

    def __init__(
        self,
        image: np.ndarray,
        *,
        boxes: np.ndarray | None = None,
        sem_seg: np.ndarray | None = None,
    ):
        _check_image(image)
        self.image = image
        self.boxes = boxes
        self.sem_seg = sem_seg

    def transform(self, tfm: Transform) -> None:
        """Apply `tfm` to everything held, in place."""
        self.image = tfm.apply_image(self.image)
        if self.boxes is not None:
            self.boxes = tfm.apply_box(self.boxes)
        if self.sem_seg is not None:
            self.sem_seg = tfm.apply_segmentation(self.sem_seg)

    def apply_augmentations(
        self, augmentations: Sequence[Augmentation | Transform]
    ) -> TransformList:
        """Apply augmentations one after the other, in place, and return what they did."""
        return AugmentationList(augmentations)(self)


def apply_augmentations(
    augmentations: Sequence[Augmentation | Transform], inputs: AugInput | np.ndarray
) -> tuple[AugInput | np.ndarray, TransformList]:
    """Apply augmentations to an AugInput (in place) or to a bare image.

    Returns:
        The augmented thing, of the kind that was given, and the transforms that were applied.
    """
    held = AugInput(inputs) if isinstance(inputs, np.ndarray) else inputs
    transforms = held.apply_augmentations(augmentations)
    return (held.image if isinstance(inputs, np.ndarray) else held), transforms


# Older names of the same things.
apply_transform_gens = apply_augmentations
StandardAugInput = AugInput
TransformGen = Augmentation
