"""Packed detectors written and read again; files that are none, cut off, or of another version."""

import json
from pathlib import Path

import lowres_d2  # noqa: F401
from lowres_d2.deploy.one_bit import file, load_packed, pack, save_packed
from lowres_d2.engine.build import build_model
from lowres_d2.engine.identity import identify, recipe_text
from lowres_d2.file_notes import METADATA
from lowres_d2.layers.one_bit import BinaryConv2d
from lowres_d2.modeling.backbone import SmallShortcutResNet
from lowres_d2.modeling.one_bit import binarized
from lowres_d2.modeling.weights import load_weights
from lowres_d2.programs import demo
from lowres_d2.programs import pack as program
from lowres_d2.recipes.load import load_recipe

import pytest
import torch
from detectron2.config import LazyCall as L
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

RECIPE = "configs/own_data/bicubic4_fcos_small_own.py"


def network(seed=0, width=12):
    torch.manual_seed(seed)
    backbone = SmallShortcutResNet((8, width, 16, 20, 24))
    return binarized(backbone, ["first", "shortcuts"]).eval()


@pytest.fixture
def packed_file(tmp_path):
    path = tmp_path / "packed.safetensors"
    save_packed(pack(network()), path, "recipe: {}", ["bolt", "nut"], [3, 7])
    return path


def test_what_is_written_is_read(packed_file):
    x, original = torch.randn(1, 3, 64, 64), network()
    again = load_packed(network(seed=1), packed_file)
    with torch.no_grad():
        for name, expected in original(x).items():
            torch.testing.assert_close(again(x)[name], expected, rtol=1e-5, atol=1e-4)
    known = identify(packed_file)
    assert known.packed and known.classes == ("bolt", "nut") and known.category_ids == (3, 7)
    assert known.recipe == "recipe: {}"


def test_others_may_read_it_as_any_new_file(packed_file):
    usual = packed_file.with_name("usual")
    usual.touch()
    assert packed_file.stat().st_mode == usual.stat().st_mode


def test_a_weight_takes_a_bit_on_disk(tmp_path):
    layers = [BinaryConv2d(256, 256, 3, norm=nn.BatchNorm2d(256)) for _ in range(3)]
    path = tmp_path / "packed.safetensors"
    save_packed(pack(nn.Sequential(*layers)), path)
    assert path.stat().st_size <= 1.05 * 3 * 256 * 256 * 9 / 8


def test_objectives_are_left_out(tmp_path):
    model = pack(nn.ModuleDict({"detector": BinaryConv2d(4, 4, 3), "objectives": nn.Linear(9, 9)}))
    save_packed(model, tmp_path / "packed.safetensors")
    other = nn.ModuleDict({"detector": BinaryConv2d(4, 4, 3), "objectives": nn.Linear(9, 9)})
    again = load_packed(other, tmp_path / "packed.safetensors")
    assert torch.equal(again["detector"].bits, model["detector"].bits)
    assert torch.equal(again["objectives"].weight, other["objectives"].weight)


def test_a_file_that_is_cut_off(packed_file):
    whole = packed_file.read_bytes()
    for end in (0, len(whole) // 2, len(whole) - 1):
        packed_file.write_bytes(whole[:end])
        with pytest.raises(ValueError, match=r"packed\.safetensors is damaged") as raised:
            load_packed(network(), packed_file)
        assert "\n" not in str(raised.value)


def test_a_file_of_another_version(packed_file, monkeypatch):
    monkeypatch.setattr(file, "VERSION", 3)
    with pytest.raises(ValueError, match="is packed in version 2, expected 3: pack it again"):
        load_packed(network(), packed_file)


@pytest.mark.parametrize("version", ["2", True, 2.0, 1])
def test_versions_that_are_none(packed_file, version):
    write_again(packed_file, known={"packed": version})
    with pytest.raises(ValueError, match=f"is packed in version {version!r}, expected 2"):
        load_packed(network(), packed_file)


def write_again(path, known=(), tensors=(), checksum=True):
    """The file with other metadata and tensors, as another program might write it."""
    with safe_open(path, "pt") as opened:
        was = json.loads(opened.metadata()[METADATA])
        kept = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    kept |= dict(tensors)
    was |= dict(known)
    if checksum:
        was["sha256"] = file._digest({key: was[key] for key in file._KNOWN}, kept)
    save_file(kept, path, {METADATA: json.dumps(was)})


BITS, SCALE = "res2.0.conv1.bits", "res2.0.conv1.scale"


@pytest.mark.parametrize("place", [0.1, 0.5, 0.9, 1.0])
def test_a_bit_that_flips_is_noticed(packed_file, place):
    content = bytearray(packed_file.read_bytes())
    header = 8 + int.from_bytes(content[:8], "little")
    content[header + int(place * (len(content) - header - 1))] ^= 4
    packed_file.write_bytes(bytes(content))
    with pytest.raises(ValueError, match=r"is damaged \(its checksum is wrong"):
        load_packed(network(), packed_file)


@pytest.mark.parametrize("known", [{"recipe": "recipe: {a: 1}"}, {"category_ids": [3, 8]}], ids=str)
def test_metadata_that_changes_is_noticed(packed_file, known):
    write_again(packed_file, known, checksum=False)
    with pytest.raises(ValueError, match=r"is damaged \(its checksum is wrong"):
        load_packed(network(), packed_file)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        (BITS, lambda x: x.float(), r"torch\.float32, expected torch\.uint8"),
        (BITS, lambda x: x.bool(), r"torch\.bool, expected torch\.uint8"),
        (SCALE, lambda x: x.int(), r"torch\.int32, expected torch\.float32"),
        (SCALE, lambda x: x.half(), r"torch\.float16, expected torch\.float32"),
        (SCALE, lambda x: x * torch.nan, "NaN: pack other weights"),
    ],
)
def test_contents_that_mean_nothing_are_named(packed_file, name, change, message):
    changed = change(pack(network()).state_dict()[name])
    write_again(packed_file, tensors={name: changed})
    with pytest.raises(ValueError, match=f"{name} (is|holds) {message}"):
        load_packed(network(), packed_file)


def test_weights_of_a_training_that_diverged_are_not_written(tmp_path):
    layer = BinaryConv2d(4, 4, 3)
    layer.bias.data[1] = torch.nan
    with pytest.raises(ValueError, match="the packed model: shift holds NaN"):
        save_packed(pack(layer), tmp_path / "packed.safetensors")
    assert not [*tmp_path.iterdir()]


def test_a_path_that_cannot_be_taken_is_refused_at_the_start(packed_file, monkeypatch):
    monkeypatch.setenv("LOWRES_D2_ONE_BIT", "foo")
    with pytest.raises(ValueError, match="LOWRES_D2_ONE_BIT=foo: expected auto, "):
        load_packed(network(), packed_file)


def test_a_file_of_another_network(packed_file):
    with pytest.raises(ValueError, match=r"is of another network \(.* and \d+ more\)"):
        load_packed(network(width=16), packed_file)


def test_a_file_that_is_not_packed(tmp_path):
    path = tmp_path / "weights.safetensors"
    save_file({"weight": torch.ones(3)}, path)
    with pytest.raises(ValueError, match="is not packed: make a packed file with"):
        load_packed(network(), path)


def test_a_packed_file_is_no_checkpoint(packed_file):
    with pytest.raises(ValueError, match="is packed, which is for use alone"):
        load_weights(network(), packed_file)


def test_another_ending_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"packed\.pth: expected a name that ends"):
        save_packed(pack(network()), tmp_path / "packed.pth")


def test_metadata_of_other_programs_is_left_alone(tmp_path):
    path = tmp_path / "weights.safetensors"
    save_file({"weight": torch.ones(3)}, path, {"format": "pt", "lowres": json.dumps([1])})
    assert identify(path).recipe == ""


def test_a_checkpoint_is_packed_and_detects_in_the_demo(coco_json, tmp_path, capsys):
    cfg = load_recipe(RECIPE, [f"data.train_json={coco_json}", f"data.val_json={coco_json}"])
    cfg.train.device = "cpu"
    cfg.model.detector = L(binarized)(detector=cfg.model.detector)
    cfg.model.detector.detector.backbone.bottom_up = L(SmallShortcutResNet)()
    weights, packed = tmp_path / "model.pth", tmp_path / "packed.safetensors"
    state = {"classes": ["rot", "gruen"], "recipe": recipe_text(cfg)}
    torch.save({"model": build_model(cfg).state_dict(), **state}, weights)
    program.main([str(weights), str(packed)])
    assert "1-bit layers packed in" in capsys.readouterr().out
    program.main([str(weights), str(packed)])  # its own file is replaced
    other = tmp_path / "other.safetensors"
    other.write_text("of the user")
    with pytest.raises(SystemExit):
        program.main([str(weights), str(other)])
    assert other.read_text() == "of the user"
    image = next((Path(coco_json).parent / "images").glob("*.png"))
    found = []
    for name in (weights, packed):
        flags = ["--weights", str(name), "--confidence-threshold", "0.01", "--input", str(image)]
        demo.main([*flags, "--output", str(tmp_path / name.stem)])
        found.append(json.loads((tmp_path / name.stem / "detections.json").read_text())[0])
    boxes = [[row["bbox"] for row in record["detections"]] for record in found]
    assert len(boxes[0]) > 0
    torch.testing.assert_close(torch.tensor(boxes[1]), torch.tensor(boxes[0]), rtol=0, atol=1e-3)
