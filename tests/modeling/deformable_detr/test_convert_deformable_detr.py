"""Names in the authors' checkpoints, classes of COCO, and files that do not fit."""

import argparse
import re

import lowres_d2  # noqa: F401
from lowres_d2.modeling.deformable_detr.convert import convert_deformable_detr
from lowres_d2.programs.convert_deformable_detr import convert, main

import pytest
import torch

from toys.deformable_detr import SMALL, VARIANTS, deformable_detr

# From our names to theirs, in the order of their files; the last pattern that matches counts.
AUTHORS = {
    r"backbone\.stem\.conv1\.(weight)": r"backbone.0.body.conv1.\1",
    r"backbone\.stem\.conv1\.norm\.(\w+)": r"backbone.0.body.bn1.\1",
    r"backbone\.res(\d)\.(\d+)\.conv(\d)\.(weight)": r"backbone.0.body.layer\1.\2.conv\3.\4",
    r"backbone\.res(\d)\.(\d+)\.conv(\d)\.norm\.(\w+)": r"backbone.0.body.layer\1.\2.bn\3.\4",
    r"backbone\.res(\d)\.(\d+)\.shortcut\.(weight)": r"backbone.0.body.layer\1.\2.downsample.0.\3",
    r"backbone\.res(\d)\.(\d+)\.shortcut\.norm\.(\w+)": (
        r"backbone.0.body.layer\1.\2.downsample.1.\3"
    ),
    r"neck\.lateral\.(\d)\.(\w+)": r"input_proj.\1.0.\2",
    r"neck\.lateral\.(\d)\.norm\.(\w+)": r"input_proj.\1.1.\2",
    r"neck\.below\.0\.(\w+)": r"input_proj.3.0.\1",
    r"neck\.below\.0\.norm\.(\w+)": r"input_proj.3.1.\1",
    r"level_embed": r"transformer.level_embed",
    r"encoder\.layers\.(\d)\.attention\.(.+)": r"transformer.encoder.layers.\1.self_attn.\2",
    r"encoder\.layers\.(\d)\.norm\.(\w+)": r"transformer.encoder.layers.\1.norm1.\2",
    r"encoder\.layers\.(\d)\.feedforward\.(.+)": r"transformer.encoder.layers.\1.\2",
    r"encoder\.layers\.(\d)\.feedforward\.norm\.(\w+)": r"transformer.encoder.layers.\1.norm2.\2",
    r"decoder\.layers\.(\d)\.self_attention\.(.+)": r"transformer.decoder.layers.\1.self_attn.\2",
    r"decoder\.layers\.(\d)\.self_norm\.(\w+)": r"transformer.decoder.layers.\1.norm2.\2",
    r"decoder\.layers\.(\d)\.attention\.(.+)": r"transformer.decoder.layers.\1.cross_attn.\2",
    r"decoder\.layers\.(\d)\.norm\.(\w+)": r"transformer.decoder.layers.\1.norm1.\2",
    r"decoder\.layers\.(\d)\.feedforward\.(.+)": r"transformer.decoder.layers.\1.\2",
    r"decoder\.layers\.(\d)\.feedforward\.norm\.(\w+)": r"transformer.decoder.layers.\1.norm3.\2",
    r"queries\.reference_points\.(\w+)": r"transformer.reference_points.\1",
    r"queries\.cell\.(\w+)": r"transformer.enc_output.\1",
    r"queries\.cell_norm\.(\w+)": r"transformer.enc_output_norm.\1",
    r"queries\.position\.(\w+)": r"transformer.pos_trans.\1",
    r"queries\.position_norm\.(\w+)": r"transformer.pos_trans_norm.\1",
    r"queries\.class_head\.(\w+)": r"class_embed.3.\1",
    r"queries\.box_head\.(.+)": r"bbox_embed.3.\1",
    r"class_heads\.(\d)\.(\w+)": r"class_embed.\1.\2",
    r"box_heads\.(\d)\.(.+)": r"bbox_embed.\1.\2",
}


def random_model(classes=SMALL["classes"], **variant):
    torch.manual_seed(0)
    model = deformable_detr({**SMALL, "classes": classes}, **variant)
    for tensor in model.state_dict().values():
        tensor.uniform_(0.5, 1.5)
    return model


def as_the_authors_have_it(model):
    """The weights under their names, and twice where theirs are."""
    weights = {}
    state = model.state_dict()
    if "queries.content" in state:
        queries = (state.pop("queries.position"), state.pop("queries.content"))
        weights["query_embed.weight"] = torch.cat(queries, dim=1)
    for name, tensor in state.items():
        *_, (pattern, theirs) = [x for x in AUTHORS.items() if re.fullmatch(x[0], name)]
        theirs = re.sub(pattern, theirs, name)
        stage = re.search(r"body\.layer(\d)", theirs)
        if stage:  # res2 is layer1
            theirs = theirs.replace(stage[0], f"body.layer{int(stage[1]) - 1}")
        weights[theirs] = tensor
        if "bbox_embed" in theirs and model.with_box_refine:
            weights[f"transformer.decoder.{theirs}"] = tensor
        if "class_embed" in theirs and "queries.cell.weight" in state:
            weights[f"transformer.decoder.{theirs}"] = tensor
        for layer in (1, 2):
            if "_embed.0." in theirs and not model.with_box_refine:
                weights[theirs.replace("_embed.0.", f"_embed.{layer}.")] = tensor
    weights["backbone.0.body.bn1.num_batches_tracked"] = torch.tensor(7)
    return weights


@pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS)
def test_every_tensor_of_the_authors_has_its_counterpart(variant):
    model = random_model(**variant)
    weights = as_the_authors_have_it(model)
    assert "transformer.decoder.layers.2.self_attn.in_proj_weight" in weights
    found = convert_deformable_detr(weights, deformable_detr(SMALL, **variant))
    expected = model.state_dict()
    assert set(found) == set(expected)
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS)
def test_chosen_classes_keep_their_logits_and_all_keep_their_boxes(variant):
    wide = deformable_detr({**SMALL, "classes": 9}, **variant)
    torch.manual_seed(1)
    for name, parameter in wide.named_parameters():
        if "head" in name:
            parameter.data.normal_()
    narrow = deformable_detr(SMALL, **variant)
    rows = [1, 2, 4, 7, 8]
    narrow.load_state_dict(convert_deformable_detr(as_the_authors_have_it(wide), narrow, rows))
    images = wide.preprocess_image([{"image": torch.randn(3, 96, 128)}])
    with torch.no_grad():
        all_classes, chosen = wide.predict(images), narrow.predict(images)
    torch.testing.assert_close(chosen["pred_logits"], all_classes["pred_logits"][..., rows])
    torch.testing.assert_close(chosen["pred_boxes"], all_classes["pred_boxes"])


def test_tensors_that_do_not_fit_are_named():
    model = random_model()
    weights = as_the_authors_have_it(model)

    def message(changes, **kwargs):
        with pytest.raises(ValueError) as caught:
            convert_deformable_detr({**weights, **changes}, model, **kwargs)
        return str(caught.value)

    tensor = torch.zeros(2)
    assert "unknown names: neck.strange.weight" in message({"neck.strange.weight": tensor})
    extra = "transformer.encoder.layers.5.norm1.weight"
    assert "the model has no encoder.layers.5.norm.weight" in message({extra: tensor})
    assert "wrong shapes: level_embed (2,) where the model has (4, 32)" in message(
        {"transformer.level_embed": tensor}
    )
    assert "class_embed.2.bias: differs" in message({"class_embed.2.bias": torch.zeros(5)})
    assert "with_box_refine=True, this one has" in message(
        {"transformer.decoder.bbox_embed.0.layers.0.bias": tensor}
    )
    assert "class 90 was requested, but the weights have 5" in message({}, classes=[1, 90])
    del weights["transformer.reference_points.bias"]
    assert "the weights lack queries.reference_points.bias" in message({})


def test_a_projection_without_its_siblings_is_an_error():
    weights = {"model.decoder.layers.0.self_attn.q_proj.bias": torch.zeros(32)}
    with pytest.raises(ValueError, match=r"q_proj\.bias but not .*self_attn\.k_proj\.bias"):
        convert_deformable_detr(weights, random_model())


RECIPE = """
from detectron2.config import LazyCall as L
from toys.deformable_detr import SMALL, deformable_detr
model = L(deformable_detr)(size=dict(**SMALL), with_box_refine=False)
dataloader, optimizer, lr_multiplier, train = dict(), dict(), dict(), dict()
"""


def test_program_writes_the_classes_of_coco(tmp_path, capsys):
    authors = random_model(classes=91)
    checkpoint = {
        "model": as_the_authors_have_it(authors),
        "epoch": 49,
        "args": argparse.Namespace(lr=2e-4),
    }
    recipe, weights, output = (tmp_path / x for x in ("recipe.py", "r50.pth", "out/ours.pth"))
    recipe.write_text(RECIPE)
    torch.save(checkpoint, weights)
    main([str(recipe), str(weights), str(output), "--coco", "model.size.classes=80"])
    written = torch.load(output, weights_only=True)
    found, classes = written["model"], written["classes"]
    assert (len(classes), classes[0], classes[10]) == (80, "person", "fire hydrant")
    names = len(authors.state_dict())
    assert capsys.readouterr().out == f"{names} tensors written to {output}\n"
    rows = authors.class_heads[0].weight
    # Ids 1 and 90 are person and toothbrush; 12 and 26 are unused.
    picked = found["class_heads.0.weight"]
    assert picked.shape == (80, SMALL["channels"])
    for position, category in {0: 1, 10: 11, 11: 13, 24: 27, 79: 90}.items():
        assert torch.equal(picked[position], rows[category])


def test_program_names_the_file_and_writes_nothing_where_it_does_not_fit(tmp_path, capsys):
    recipe, weights, output = (tmp_path / x for x in ("recipe.py", "r50.pth", "ours.pth"))
    recipe.write_text(RECIPE)
    torch.save({"model": as_the_authors_have_it(random_model())}, weights)
    with pytest.raises(SystemExit):
        main([str(recipe), str(weights), str(output), "model.with_box_refine=True"])
    error = capsys.readouterr().err
    assert error.startswith(f"error: {weights} for {recipe}: the weights are of a model with")
    assert error.count("\n") == 1 and not output.exists()


def test_a_recipe_of_another_detector_is_an_error(tmp_path):
    recipe = tmp_path / "recipe.py"
    recipe.write_text(
        RECIPE.replace("deformable_detr)(size=dict(**SMALL), ", "fcos)(")
        .replace("with_box_refine=False", "")
        .replace(
            "from toys.deformable_detr import SMALL, deformable_detr",
            "from toys.detectors import fcos",
        )
    )
    with pytest.raises(ValueError, match="its model has no DeformableDETR"):
        convert(str(recipe), recipe, tmp_path / "ours.pth")
