"""A trained detector as a model of sahi, whose slicing and merging then run with it.

    from lowres_d2.interop.sahi_model import SahiModel
    from sahi.predict import get_sliced_prediction

    model = SahiModel("output/full_fcos_small_own", confidence_threshold=0.3)
    result = get_sliced_prediction("large.jpg", model, slice_height=512, slice_width=640)

It needs ``pip install 'lowres-d2[sahi]'``. sahi brings opencv-python, which overwrites the files of
opencv-python-headless: where ``import cv2`` then lacks a library of a display,
``pip install --force-reinstall --no-deps opencv-python-headless`` mends it. To detect in tiles
nothing of this is needed: ``lowres_d2.load(..., overrides=["+tiles.size=640"])``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lowres_d2.predictor import Classification, Predictor, load

import numpy as np
from jaxtyping import Shaped

try:
    from sahi.models.base import DetectionModel
    from sahi.prediction import ObjectPrediction
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"{error}: sahi is needed here: pip install 'lowres-d2[sahi]'", name=error.name
    ) from None


class SahiModel(DetectionModel):
    """A detector that sahi calls, with sahi's arguments.

    ``model_path`` and ``config_path`` are a run's folder, weights, or a recipe with ``model_path``
    as its weights, as :func:`lowres_d2.load` takes them; ``model`` is what that returns.

    Raises:
        ValueError: ``image_size`` is given, which the recipe says, or the model has no boxes.
    """

    def load_model(self) -> None:
        """Load the detector that the paths name.

        Raises:
            FileNotFoundError, ValueError: as :func:`lowres_d2.load`; or there is no path.
        """
        if self.model_path is None:
            raise ValueError("model_path: expected the folder of a run, or a file of weights")
        recipe_and_weights = (self.config_path, self.model_path)
        given = (self.model_path,) if self.config_path is None else recipe_and_weights
        self.set_model(load(*given, device=str(self.device)))

    def set_model(self, model: Predictor, **kwargs: Any) -> None:
        """Use a loaded detector.

        Args:
            model: of :func:`lowres_d2.load`.
            kwargs: sahi's; none is used.
        """
        if self.image_size is not None:
            raise ValueError(
                f"image_size={self.image_size}: the recipe's mapper resizes images: "
                "load(..., overrides=['dataloader.test.mapper.augmentations=[]']) as the model "
                "leaves slices as they are"
            )
        self.model = model
        if self.category_mapping is None:
            self.category_mapping = {str(k): name for k, name in enumerate(model.class_names)}

    def perform_inference(self, image: Shaped[np.ndarray, "H W C"]) -> None:
        """Detect on one image, RGB."""
        self.perform_batch_inference([image])

    def perform_batch_inference(self, images: Sequence[Shaped[np.ndarray, "_H _W C"]]) -> None:
        """Detect on several images, RGB, at once."""
        found = self.model(list(images), self.confidence_threshold, batch_size=len(images) or 1)
        if any(isinstance(result, Classification) for result in found):
            raise ValueError("the model is a classifier, which has no boxes: expected a detector")
        self._original_predictions = found

    def _create_object_prediction_list_from_original_predictions(
        self,
        shift_amount_list: Any = None,
        full_shape_list: Any = None,
    ) -> None:
        """What was found as sahi's objects, each with its slice's place."""
        results = self._original_predictions
        shifts = _of_each(shift_amount_list, len(results)) or [[0, 0]] * len(results)
        shapes = _of_each(full_shape_list, len(results)) or [None] * len(results)
        self._object_prediction_list_per_image = [
            [
                ObjectPrediction(
                    bbox=box,
                    category_id=label,
                    category_name=self.category_mapping[str(label)],
                    score=score,
                    shift_amount=shift,
                    full_shape=shape,
                )
                for box, label, score in zip(
                    found.pred_boxes.tensor.tolist(),
                    found.pred_classes.tolist(),
                    found.scores.tolist(),
                    strict=True,
                )
                if box[0] < box[2] and box[1] < box[3]  # sahi refuses others
            ]
            for found, shift, shape in zip(results, shifts, shapes, strict=True)
        ]


def _of_each(pairs: Any, images: int) -> list[Any] | None:
    """Two numbers for each image, of which sahi gives those of a single one without a list."""
    if pairs and not isinstance(pairs[0], list | tuple):
        return [list(pairs)] * images
    return pairs
