"""Images of every kind through a stub that finds the brightest red: the boxes are known."""

import io

from lowres_d2.data import BrokenImageError, DetectionMapper
from lowres_d2.data.classification import ClassificationMapper
from lowres_d2.predictor import Classification, Predictor

import numpy as np
import pytest
import torch
from detectron2.data import transforms as T
from detectron2.structures import Boxes, Instances
from PIL import Image

HEIGHT, WIDTH = 40, 60
BOX = [10.0, 4.0, 30.0, 24.0]  # of the red square, XYXY


class RedFinder:
    """Finds what is red and neither green nor blue, as one object; scores by the red channel."""

    def __init__(self):
        self.batches = []

    def __call__(self, inputs):
        self.batches.append([tuple(x["image"].shape) for x in inputs])
        return [{"instances": self.find(x)} for x in inputs]

    def find(self, x):
        image = x["image"].float()
        red = (image[0] - image[1:].amax(dim=0)) > 100
        rows, columns = red.any(1).nonzero()[:, 0], red.any(0).nonzero()[:, 0]
        corners = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1] if len(rows) else [0] * 4
        height, width = image.shape[1:]
        scale = torch.tensor([x["width"] / width, x["height"] / height] * 2)
        boxes = Boxes(torch.tensor([[*map(float, corners)]]) * scale)
        scores = torch.tensor([image[0].max() / 255])
        classes = torch.tensor([1])
        size = (x["height"], x["width"])
        return Instances(size, pred_boxes=boxes, scores=scores, pred_classes=classes)


def predictor(mapper=None, model=None):
    mapper = mapper or DetectionMapper(is_train=False, image_format="RGB")
    return Predictor(model or RedFinder(), mapper, ["grey", "red"], lambda *_: None)


def scene(width=WIDTH, height=HEIGHT):
    """RGB uint8 with a red square."""
    pixels = np.full((height, width, 3), 50, np.uint8)
    pixels[4:24, 10:30] = (250, 20, 20)
    return pixels


def box_of(found):
    assert found.scores.device.type == "cpu" and len(found) == 1
    return found.pred_boxes.tensor[0].tolist()


def kinds(folder):
    """A scene by what it is, with arguments of the call."""
    pixels = scene()
    alpha = np.full((HEIGHT, WIDTH, 1), 255, np.uint8)
    rgba = np.concatenate([pixels, alpha], axis=2)
    planes = torch.from_numpy(pixels.transpose(2, 0, 1).copy())
    Image.fromarray(pixels).save(folder / "a.png")
    return {
        "path": (folder / "a.png", {}),
        "text": (str(folder / "a.png"), {}),
        "bytes": ((folder / "a.png").read_bytes(), {}),
        "Pillow": (Image.fromarray(pixels), {}),
        "Pillow, opened": (Image.open(folder / "a.png"), {}),
        "Pillow with alpha": (Image.fromarray(rgba), {}),
        "Pillow with a palette": (Image.fromarray(pixels).quantize(8), {}),
        "RGB": (pixels, {}),
        "BGR": (pixels[..., ::-1], {"channel_order": "BGR"}),
        "RGBA": (rgba, {"channel_order": "RGBA"}),
        "BGRA": (rgba[..., [2, 1, 0, 3]], {"channel_order": "BGRA"}),
        "16 bits": (pixels.astype(np.uint16) * 257, {}),
        "0 to 1": (np.float32(pixels) / 255, {"value_range": (0, 1)}),
        "tensor": (planes, {}),
        "BGR tensor": (planes.flip(0), {"channel_order": "BGR"}),
        "bfloat16": ((planes / 255).bfloat16(), {"value_range": (0, 1)}),
    }


@pytest.mark.parametrize("resized", [False, True])
def test_an_image_of_any_kind_gives_the_same_box_in_its_own_pixels(tmp_path, resized):
    augmentations = [T.ResizeShortestEdge(2 * HEIGHT, 10**6)] if resized else []
    detector = predictor(DetectionMapper(False, augmentations, image_format="RGB"))
    for name, (image, arguments) in kinds(tmp_path).items():
        found = detector(image, **arguments)
        assert found.image_size == (HEIGHT, WIDTH), name
        # Enlarged, the square has soft edges.
        assert np.abs(np.subtract(box_of(found), BOX)).max() <= 0.5 * resized, name
        assert detector.class_names[found.pred_classes[0]] == "red"


def test_a_recipe_in_bgr_gets_bgr():
    seen = []
    detector = predictor(
        DetectionMapper(False, image_format="BGR"),
        lambda inputs: seen.extend(inputs) or [{"scores": torch.ones(2)}],
    )
    for image, order in (
        (scene(), "RGB"),
        (scene()[..., ::-1], "BGR"),
        (Image.fromarray(scene()), "RGB"),
    ):
        detector(image, channel_order=order)
        assert seen[-1]["image"][:, 10, 20].tolist() == [20, 20, 250]


def test_grey_and_many_channels_are_those_of_the_mapper():
    def values(mapper, image, **arguments):
        seen = []
        model = lambda inputs: seen.extend(inputs) or [{"scores": torch.ones(2)}]  # noqa: E731
        predictor(mapper, model)(image, **arguments)
        return seen[0]["image"][:, 0, 0].tolist()

    grey = np.full((5, 6), 90, np.uint8)
    rgb, own = DetectionMapper(False, image_format="RGB"), DetectionMapper(False, image_format=None)
    for image in (grey, grey[..., None], Image.fromarray(grey), torch.from_numpy(grey)):
        assert values(rgb, image, channel_order="BGR") == [90, 90, 90]
        assert values(own, image) == [90]
    assert values(DetectionMapper(False, image_format="L"), Image.new("RGB", (4, 4), "red")) == [76]
    seven = np.arange(7, dtype=np.uint8) + np.zeros((9, 8, 1), np.uint8)
    assert (
        values(own, seven) == values(own, torch.from_numpy(seven).permute(2, 0, 1)) == [*range(7)]
    )
    deep = Image.fromarray(np.full((5, 6), 257 * 90, np.uint16))
    assert values(rgb, deep) == pytest.approx([90] * 3)
    ranged = DetectionMapper(False, image_format="L", value_range=[0, 4095])
    assert values(ranged, np.full((5, 6), 4095, np.uint16)) == [255]


@pytest.mark.parametrize("exif", ["apply", "ignore"])
def test_exif_turns_images_of_pillow_as_it_turns_files(tmp_path, exif):
    tag = Image.Exif()
    tag[0x0112] = 6  # shown turned clockwise
    Image.fromarray(scene()).save(tmp_path / "turned.png", exif=tag)
    detector = predictor(DetectionMapper(False, image_format="RGB", exif=exif))
    for image in (tmp_path / "turned.png", Image.open(tmp_path / "turned.png")):
        found = detector(image)
        turned = [HEIGHT - BOX[3], BOX[0], HEIGHT - BOX[1], BOX[2]]
        assert box_of(found) == (turned if exif == "apply" else BOX)
        assert found.image_size == ((WIDTH, HEIGHT) if exif == "apply" else (HEIGHT, WIDTH))


def test_a_list_of_any_sizes_keeps_its_order_and_gives_what_each_gives_alone():
    model = RedFinder()
    detector = predictor(model=model)
    images = [
        scene(),
        scene(80, 50),
        Image.fromarray(scene()),
        torch.from_numpy(scene()).permute(2, 0, 1),
    ]
    found = detector([*images, scene(80, 50)], batch_size=4)
    sizes = [(40, 60), (50, 80), (40, 60), (40, 60), (50, 80)]
    assert [x.image_size for x in found] == sizes
    assert [box_of(x) for x in found] == [BOX] * 5
    small, large = (3, 40, 60), (3, 50, 80)
    assert model.batches == [[small] * 3, [large], [large]]
    batch = np.stack([scene()] * 3)
    for given in (batch, torch.from_numpy(batch).permute(0, 3, 1, 2), (x for x in batch)):
        assert [box_of(x) for x in detector(given)] == [BOX] * 3
    assert detector([]) == []


def test_an_iterable_is_read_as_it_is_needed():
    model, read = RedFinder(), []

    def images():
        for k in range(5):
            read.append((k, len(model.batches)))
            yield scene()

    predictor(model=model)(images(), batch_size=2)
    assert read == [(0, 0), (1, 0), (2, 1), (3, 1), (4, 2)]


def test_detections_below_the_score_are_left_out_and_the_image_is_not_changed():
    detector, pixels = predictor(), scene()
    assert len(detector(pixels, score=0.98)) == 1 and len(detector(pixels, 0.99)) == 0
    assert np.array_equal(pixels, scene())
    sample = detector.prepare(pixels)
    sample["image"][:] = 0
    assert np.array_equal(pixels, scene())


def test_a_classifier_gives_probabilities():
    scores = torch.tensor([0.2, 0.8])
    sizes = []
    model = lambda inputs: [sizes.append(x["image"].shape) or {"scores": scores} for x in inputs]  # noqa: E731
    detector = predictor(ClassificationMapper(is_train=False, size=8), model)
    found = detector([scene(), scene(80, 50)])
    assert sizes == [(3, 8, 8)] * 2
    assert [(x.label, x.score) for x in found] == [(1, pytest.approx(0.8))] * 2
    assert isinstance(found[0], Classification) and found[0].scores.tolist() == scores.tolist()


def refused(call, kind=ValueError):
    with pytest.raises(kind) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_cannot_be_an_image_is_refused_by_name(tmp_path):
    detector = predictor()
    (tmp_path / "text.png").write_text("nothing")
    zeros = np.zeros
    for image, message in (
        (tmp_path / "none.png", f"{tmp_path}/none.png: no such image"),
        (tmp_path, f"{tmp_path}: is a folder: give its images"),
        (
            tmp_path / "text.png",
            f"{tmp_path}/text.png: cannot be read as an image (is of no format that Pillow reads)",
        ),
        (io.BytesIO(b"\n\n"), "the image: is a BytesIO: expected a path, the bytes of a file"),
        (bytearray(9), "the image: is a bytearray: expected a path, the bytes of a file"),
        ({"a.png": 1}, "the image: is a dict: expected a path, the bytes of a file"),
        (7, "the image: is a int: expected a path, the bytes of a file, an image"),
        (zeros((3, 40, 60), np.uint8), "the image: is an array of shape (3, 40, 60): expected (h"),
        (zeros((40, 60, 4), np.uint8), "the image: has 4 channels, image_format='RGB' has 3"),
        (zeros((5, 40)), "the image: its values, 0 to 0, are float64, which has no known range"),
        (zeros((0, 40), np.uint8), "the image: is an array of shape (0, 40) and type uint8"),
        (torch.zeros(5), "the image: is a tensor of shape (5,): expected (C, H, W)"),
        (np.array(["a"] * 4).reshape(2, 2), "the image: is an array of shape (2, 2) and type <U1"),
    ):
        assert refused(lambda image=image: detector(image), BrokenImageError).startswith(message)
    said = refused(lambda: detector([scene(), zeros((4, 4))]))
    assert said.startswith("image 1: its values")
    nan = np.full((4, 4), np.nan)
    assert "NaN or infinite" in refused(lambda: detector(nan, value_range=(0, 1)))
    said = refused(lambda: detector(zeros((6, 4, 5), np.uint8), channel_order="BGR"))
    assert said == "the image: has 5 channels, and channel_order='BGR' 3"


def test_arguments_that_cannot_be_are_refused():
    detector = predictor()
    for arguments, message in (
        ({"score": 30}, "score=30: expected 0 to 1"),
        ({"channel_order": "GBR"}, "channel_order='GBR': expected RGB, BGR, RGBA, BGRA"),
        ({"batch_size": 0}, "batch_size=0: expected 1 or more"),
        ({"value_range": (1, 0)}, "value_range=[1, 0]: expected [low, high]"),
    ):
        assert refused(lambda a=arguments: detector(scene(), **a)).startswith(message)


def test_a_range_of_values_is_that_of_files_as_well(tmp_path):
    dark = scene().astype(np.uint16) * 4  # up to 1000 of 65535
    np.save(tmp_path / "a.npy", dark)
    np.save(tmp_path / "b.npy", (dark / 1000).astype(np.float32))
    detector = predictor()
    assert box_of(detector(tmp_path / "a.npy", 0.0)) == [0, 0, 0, 0]  # nothing is red
    for given in (tmp_path / "a.npy", dark):
        assert box_of(detector(given, value_range=(0, 1000))) == BOX
    assert box_of(detector(tmp_path / "b.npy", value_range=(0, 1))) == BOX
    assert box_of(detector(tmp_path / "a.npy", 0.0)) == [0, 0, 0, 0]  # for that call alone
    said = refused(lambda: detector(tmp_path / "a.npy", value_range=(1, 0)))
    assert said.startswith("value_range=[1, 0]: expected [low, high]")


def test_a_truncated_file_that_pillow_has_opened_is_refused_by_name(tmp_path):
    path = tmp_path / "whole.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 40, 3), np.uint8)).save(path)
    (tmp_path / "cut.png").write_bytes(path.read_bytes()[:2000])
    said = refused(lambda: predictor()([scene(), Image.open(tmp_path / "cut.png")]))
    assert said.startswith("image 1: ")


def test_a_mapper_of_files_takes_files(tmp_path):
    Image.fromarray(scene()).save(tmp_path / "a.png")
    detector = predictor(
        lambda record: record | {"image": torch.zeros(3, 4, 4), "height": 8, "width": 9}
    )
    assert detector(tmp_path / "a.png", score=0).image_size == (8, 9)
    assert "takes files alone: give a path" in refused(lambda: detector(scene()))
    said = refused(lambda: detector(tmp_path / "a.png", value_range=(0, 1)))
    assert said.startswith(
        f"{tmp_path / 'a.png'}: value_range is nothing that this recipe's mapper"
    )


def test_few_values_of_deep_images_are_warned_of_once(caplog):
    detector = predictor()
    for _ in range(2):
        detector(np.full((5, 6), 4095, np.uint16))
    (record,) = caplog.records
    assert "its values, 4095 to 4095, span little of what its depth can hold" in record.message
