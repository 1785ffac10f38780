"""sahi's own slicing with our detectors: boxes of whole images, in the places that they have."""

from lowres_d2.data import DetectionMapper
from lowres_d2.predictor import Classification, Predictor

import numpy as np
import pytest
import torch
from detectron2.structures import Boxes, Instances

pytest.importorskip("sahi", reason="needs sahi: extra `sahi`")
from lowres_d2.interop.sahi_model import SahiModel

from sahi.predict import get_prediction, get_sliced_prediction


class RedFinder:
    """One object around what is red in an image, if anything is; its score is the red's share."""

    def __init__(self):
        self.batches = []

    def __call__(self, inputs):
        self.batches.append(len(inputs))
        return [{"instances": self.find(x["image"])} for x in inputs]

    def find(self, image):
        red = (image[0].float() - image[1]) > 100
        rows, columns = red.any(1).nonzero()[:, 0], red.any(0).nonzero()[:, 0]
        corners = [[columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]] if len(rows) else []
        number = len(corners)
        return Instances(
            image.shape[1:],
            pred_boxes=Boxes(torch.tensor(corners, dtype=torch.float32).view(-1, 4)),
            scores=torch.full((number,), float(image[0].max()) / 255),
            pred_classes=torch.ones(number, dtype=torch.int64),
        )


def sahi_model(model=None, **more):
    mapper = DetectionMapper(is_train=False, image_format="RGB")
    predictor = Predictor(model or RedFinder(), mapper, ["grey", "red"], lambda *_: None)
    return SahiModel(model=predictor, device="cpu", **more)


def scene():
    pixels = np.full((100, 160, 3), 40, np.uint8)
    pixels[70:82, 110:130] = (204, 20, 20)  # in the lower right slice alone
    return pixels


def found(result):
    return [(o.bbox.to_xyxy(), o.category.id, o.category.name, o.score.value)
            for o in result.object_prediction_list]  # fmt: skip


def test_slices_are_detected_in_batches_and_put_into_their_places():
    model = RedFinder()
    result = get_sliced_prediction(
        scene(), sahi_model(model), slice_height=50, slice_width=80, batch_size=4,
        overlap_height_ratio=0, overlap_width_ratio=0, perform_standard_pred=False, verbose=0,
    )  # fmt: skip
    assert model.batches == [4]
    (row,) = found(result)
    assert row == ([110, 70, 130, 82], 1, "red", pytest.approx(0.8))


def test_whole_images_thresholds_and_remapped_classes():
    assert [row[0] for row in found(get_prediction(scene(), sahi_model()))] == [[110, 70, 130, 82]]
    assert not found(get_prediction(scene(), sahi_model(confidence_threshold=0.81)))
    remapped = sahi_model(category_remapping={"0": 5, "1": 7})
    assert found(get_prediction(scene(), remapped))[0][1:3] == (7, "red")
    named = sahi_model(category_mapping={"0": "a", "1": "b"})
    assert found(get_prediction(scene(), named))[0][2] == "b"


def test_what_does_not_fit_is_one_line(tmp_path):
    with pytest.raises(ValueError, match="image_size=640: the recipe's mapper resizes"):
        sahi_model(image_size=640)
    with pytest.raises(ValueError, match="model_path: expected the folder of a run"):
        SahiModel(device="cpu")
    with pytest.raises(FileNotFoundError, match=r"nowhere\.pth"):
        SahiModel(str(tmp_path / "nowhere.pth"), device="cpu")
    classifier = sahi_model(lambda inputs: [{"scores": torch.ones(2) / 2} for _ in inputs])
    assert isinstance(classifier.model(scene()), Classification)
    with pytest.raises(ValueError, match="classifier, which has no boxes"):
        get_prediction(scene(), classifier)
