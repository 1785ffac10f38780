"""The quick models of the package: every one has its card, loads by name, and finds plates."""

import lowres_d2
from lowres_d2.data.plates import PlatesDataset
from lowres_d2.data.plates.dataset import VARIANTS
from lowres_d2.engine.identity import identify
from lowres_d2.programs.made_models import MADE
from lowres_d2.recipes.find import find_recipe

import pytest
from detectron2.structures import Boxes, pairwise_iou

MODELS = lowres_d2.models()


@pytest.fixture(params=MODELS)
def model(request):
    return MODELS[request.param]


def test_it_is_small(model):
    assert model.size == model.file.stat().st_size < 3e6


def test_its_card_is_complete(model):
    card = model.card
    assert all(card.record().values()) and find_recipe(card.recipe).is_file()
    assert card.licence == "Apache-2.0" and card.command.startswith("lowres-d2 make-models ")
    assert len(card.commit) == 40 and not card.commit.endswith("-dirty")
    assert card.iterations >= 1000 and card.measured_on.startswith("the 500 images")
    info = lowres_d2.load(model.name, device="cpu").info
    assert (card.macs, card.ops) == (info.macs, info.ops)
    assert card.ap_trained - card.ap <= 0.1 and min(card.ap_by_size.values()) < card.ap


def test_it_says_what_it_knows(model):
    assert "generated plates" in identify(model.name).knows
    assert f" {model.card.knows}, and nothing else\n" in str(model)
    detector = lowres_d2.load(model.name, device="cpu")
    assert detector.info.knows == model.card.knows
    assert f"which knows {model.card.knows} and nothing else" in repr(detector)


def test_it_finds_large_plates(model, tmp_path):
    """Large ones of those that it knows, on images that no training has seen."""
    detector = lowres_d2.load(model.name, device="cpu")
    variant = "tiny" if " 4 to 16 px" in model.card.knows else "standard"
    large = (0.75 * VARIANTS[variant].size_range[1], VARIANTS[variant].size_range[1])
    data = PlatesDataset(tmp_path, "test", 4, variant=variant, size_range=large, num_workers=0)
    for record in data:
        found = detector(record["file_name"])
        x, y, width, height = record["annotations"][0]["bbox"]
        assert pairwise_iou(Boxes([[x, y, x + width, y + height]]), found.pred_boxes).max() > 0.5


def test_all_can_be_made_again_and_have_a_row():
    assert {*MODELS} <= {*MADE}
    table = str(MODELS)
    assert [name for name in MODELS if f"\n{name} " not in table] == []


def test_costs_of_one_bit_models_are_ops():
    text, table = str(MODELS["one_bit"]), str(MODELS)
    assert " 177 M OPs for an image of 480x640\n" in text
    assert text.endswith(" MACs with those of 1 bit counted as 1/64, of 4 bits as 1/8.")
    assert table.endswith("\nOPs are MACs with those of 1 bit counted as 1/64, of 4 bits as 1/8.")
    assert "OPs" not in str(MODELS["full"]) and " 1.55 G MACs " in table and " 177 M OPs " in table
