import pickle

from lowres_d2.data.classification import ImageArrays
from lowres_d2.data.datasets import check_same_classes, dataset_fingerprint, with_classes
from lowres_d2.data.datasets.sample import EvenSample

import pytest
import torch


def arrays(number=6, classes=("a", "b", "c"), labels=None, source="toy"):
    images = torch.arange(number * 3 * 4 * 5).remainder(251).to(torch.uint8).view(number, 3, 4, 5)
    return ImageArrays(images, labels or [k % 2 for k in range(number)], classes, source)


def test_an_item_is_what_models_take():
    item = arrays()[1]
    assert torch.equal(item.pop("image"), arrays().images[1])
    assert item == {"label": 1, "height": 4, "width": 5, "image_id": 2}
    assert arrays()[-1]["image_id"] == 6
    with pytest.raises(IndexError, match="toy: image 6 of 6"):
        arrays()[6]
    assert str(arrays()) == "ImageArrays(toy: 6 images, 3 classes)"


def test_file_names_come_with_the_items():
    named = ImageArrays(arrays(2).images, [0, 1], ["a", "b"], "toy", ["x.png", "y.png"])
    assert [item["file_name"] for item in named] == ["x.png", "y.png"]
    assert "file_name" not in arrays()[0]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"images": torch.zeros(2, 3, 4, 5)}, r"type torch.float32: expected uint8 of shape"),
        ({"images": torch.zeros(2, 1, 4, 5, dtype=torch.uint8)}, r"shape \(2, 1, 4, 5\)"),
        ({"labels": [0]}, "toy: has 2 images, but 1 labels"),
        ({"labels": [0, 2]}, "toy: label 2 of image 1: expected a whole number from 0 to 1"),
        ({"labels": [0, True]}, "label True of image 1"),
        ({"classes": ["a", "a"]}, "class a is named twice"),
        ({"classes": []}, "expected a list of class names"),
        ({"classes": [1, 2]}, r"classes \[1, 2\]: expected a list of class names"),
        ({"file_names": ["x.png"]}, "2 images, but 1 file names"),
        ({"images": torch.zeros(0, 3, 4, 5, dtype=torch.uint8), "labels": []}, "has no images"),
    ],
)
def test_what_does_not_fit_is_one_line(change, said):
    fitting = {"images": arrays(2).images, "labels": [0, 1], "classes": ["a", "b"]}
    with pytest.raises(ValueError, match=said):
        ImageArrays(**fitting | change, source="toy")


def test_classes_of_two_sets_are_compared():
    check_same_classes(arrays(), arrays())
    with pytest.raises(ValueError, match=r"between one \(3\) and two \(3\): 1: b \| x"):
        check_same_classes(arrays(source="one"), arrays(classes=["a", "x", "c"], source="two"))


def test_a_test_set_may_lack_classes(caplog):
    whole = with_classes(arrays(), ["new", "a", "b", "c"], [7, 8, 9, 10])
    assert whole.classes == ["new", "a", "b", "c"] and whole.labels == [1, 2, 1, 2, 1, 2]
    assert "toy: has no class new" in caplog.text
    assert torch.equal(whole[3]["image"], arrays()[3]["image"]) and whole[3]["label"] == 2
    for other in (["a", "b", "c"], ["b", "a", "c", "d"], ["a", "b"], []):
        dataset = arrays()
        assert with_classes(dataset, other) is dataset


def test_the_fingerprint_changes_with_every_pixel_label_and_class():
    prints = {dataset_fingerprint(arrays()), dataset_fingerprint(arrays(labels=[0, 1, 0, 1, 0, 0]))}
    prints.add(dataset_fingerprint(arrays(classes=["a", "b", "d"])))
    changed = arrays()
    changed.images[3, 2, 1, 0] += 1
    prints.add(dataset_fingerprint(changed))
    assert len(prints) == 4 and all(len(found) == 16 for found in prints)
    assert dataset_fingerprint(arrays(source="elsewhere")) in prints


def test_an_even_sample_has_the_images_it_names():
    sample = EvenSample(arrays(), 3)
    assert [item["image_id"] for item in sample] == [1, 3, 5]
    assert torch.equal(sample[1]["image"], arrays().images[2])
    assert sample.classes == ["a", "b", "c"] and sample.source == "toy"
    assert with_classes(sample, ["a", "b", "c", "d"]) is sample
    assert dataset_fingerprint(sample) != dataset_fingerprint(arrays())


def test_it_goes_to_other_processes():
    again = pickle.loads(pickle.dumps(arrays()))
    assert (
        torch.equal(again[4]["image"], arrays()[4]["image"]) and again.classes == arrays().classes
    )
