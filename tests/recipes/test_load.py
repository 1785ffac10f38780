import ast
import builtins
import re
import textwrap
from pathlib import Path

from lowres_d2.data.classification import SVHN, Cifar10, Cifar100
from lowres_d2.engine.build import build_model
from lowres_d2.modeling import LowResDetector
from lowres_d2.recipes.diff import describe_recipe
from lowres_d2.recipes.find import find_recipe
from lowres_d2.recipes.load import build, load_recipe

import pytest
from detectron2.config import LazyConfig
from torch import nn

from toys.narrow import RECIPES, load_shipped

PIECE = """
    from detectron2.config import LazyCall as L
    from torch import nn

    model = L(nn.Linear)(in_features=2, out_features=3)
    train = dict(output_dir="", max_iter=10, seed=0)
    dataloader = dict(train=[1], test="${..train.max_iter}")
    optimizer = dict(lr=0.1)
    lr_multiplier = dict(value=1.0)
"""
RECIPE = """
    from .piece import dataloader, lr_multiplier, model, optimizer, train

    model.out_features = 5
    optimizer.momentum = 0.9
"""


@pytest.fixture
def recipe(tmp_path):
    (tmp_path / "piece.py").write_text(textwrap.dedent(PIECE))
    path = tmp_path / "linear_small.py"
    path.write_text(textwrap.dedent(RECIPE))
    return path


def test_recipes_are_found_by_path_and_below_configs():
    full = find_recipe("configs/quick/full_fcos_small_256_plates.py")
    assert full.samefile(find_recipe("quick/full_fcos_small_256_plates.py"))
    assert full.samefile(find_recipe(full.resolve()))


def test_a_name_that_nothing_refers_to_is_not_a_key(recipe):
    with recipe.open("a") as file:
        file.write("piece = dict(rate=1.0)\nsetting = dict(size=3)\n")
        file.write("train.log_period = '${setting.size}'\n")
    cfg = load_recipe(recipe, ["setting.size=7"])
    assert "piece" not in cfg and cfg.train.log_period == 7
    with pytest.raises(KeyError, match=r"piece\.rate: the recipe has no such key"):
        load_recipe(recipe, ["piece.rate=2"])


def test_missing_recipe_names_the_nearest():
    with pytest.raises(FileNotFoundError, match="full_fcos_small_256_plates"):
        find_recipe("configs/quick/full_fcos_smal_256_plates.py")


def test_output_folder_comes_from_the_file_name(recipe):
    assert load_recipe(recipe).train.output_dir == "output/linear_small"
    assert load_recipe(recipe, ["train.output_dir=here"]).train.output_dir == "here"


@pytest.mark.parametrize(
    ("line", "error", "words"),
    [
        ("model.out_feature = 5", KeyError, "model.out_feature: Linear takes no"),
        ("model.self = 5", KeyError, "model.self: Linear takes no"),
        ("del model.in_features", ValueError, "model.in_features is missing: Linear needs it"),
        ("model._target_ = bare", KeyError, "bare takes no 'in_features'"),
        ("model._target_ = 'torch.nn.Linaer'", ValueError, "model._target_: torch.nn.Linaer"),
        ("model._target_ = 'torch.pi'", ValueError, "torch.pi cannot be called"),
        ("del train", ValueError, "defines no train"),
        ("raise TypeError('odd')", ValueError, "does not load: TypeError: odd"),
        ("open('/nowhere/at/all')", ValueError, "does not load: FileNotFoundError"),
        ("from .absent import model", ValueError, "does not load"),
        ("x = (", ValueError, "does not load: SyntaxError"),
        ("train.max_itr = 5", KeyError, "train.max_itr: there is no such key, nearest: 'max_iter'"),
        ("train.ema = dict(decya=0.9)", KeyError, "nearest: 'decay'"),
        ("train.ema = 0.9", ValueError, "train.ema is 0.9: expected a dict with enabled, decay"),
        ("train.ema = dict(enabled=True, decay=1.0)", ValueError, "train.ema.decay is 1.0"),
        ("train.max_iter = 0", ValueError, "is 0: expected an integer of at least 1"),
        ("train.max_iter = 1.5", ValueError, "train.max_iter is 1.5"),
        ("train.log_period = 0", ValueError, "train.log_period is 0"),
        ("train.eval_period = -1", ValueError, "train.eval_period is -1"),
        ("train.seed = -1", ValueError, "train.seed is -1"),
        ("train.seed = True", ValueError, "train.seed is True"),
        ("train.checkpointer = dict(period=0)", ValueError, "train.checkpointer.period is 0"),
        ("train.checkpointer = dict(max_to_keep=0)", ValueError, "max_to_keep is 0"),
    ],
)
def test_broken_recipe_is_named_in_one_line(recipe, line, error, words):
    before = builtins.__import__
    recipe.write_text(f"{recipe.read_text()}\n\ndef bare():\n    pass\n\n\n{line}\n")
    with pytest.raises(error) as caught:
        load_recipe(recipe)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert builtins.__import__ is before


@pytest.mark.parametrize("text", ["model: [1", "- 1", "", "a: b: c", "model: 1", "x: ${"])
def test_broken_yaml_is_named_in_one_line(tmp_path, text):
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(
        ValueError, match=r"config\.yaml( does not load| defines no|: x: )"
    ) as caught:
        load_recipe(path)
    assert "\n" not in str(caught.value)


def test_free_keys_and_arguments_that_the_run_fills_in_are_accepted(recipe):
    more = """
        from detectron2.solver import get_default_optimizer_params
        from torch.optim import SGD

        from detectron2.config import LazyCall as L

        optimizer = L(SGD)(params=L(get_default_optimizer_params)(), lr=0.1)
        train.ddp = dict(bucket_cap_mb=5)
        train.ema = dict(enabled=False, decay=1.0)
    """
    recipe.write_text(textwrap.dedent(RECIPE) + textwrap.dedent(more))
    assert load_recipe(recipe).train.ddp.bucket_cap_mb == 5


OWN = "configs/own_data/full_fcos_small_own.py"
PLATES = "configs/quick/full_fcos_small_256_plates.py"
SGD = "projects/FeatureSR/configs/quick/base_faster_rcnn_small_256_plates.py"


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        (PLATES, "data.train_json=x", r"no such key; recipes for your own data: .*small_own\.py"),
        (PLATES, "+data.train_json=x", r"nothing in this recipe reads it; recipes for your own"),
        (PLATES, "+data=5", r"^\+data: nothing in this recipe reads it; recipes for your own"),
        (PLATES, "+data={train_json: x}", r"^\+data: .* reads it; recipes for your own"),
        (PLATES, "+more={a: 1}", r"^\+more: nothing in this recipe reads it"),
        (OWN, "+data.bands=3", r"\+data.bands: nothing in this recipe reads it$"),
        (OWN, "data.tran_json=x", "nearest: 'data.train_json'$"),
        (OWN, "data.foo=x", "no such key; there are cache, classes, "),
        (PLATES, "+traim.max_iter=3", "nothing in this recipe reads it, nearest: 'train'"),
        (PLATES, "+dataloader.tset=3", "dataloader.tset: nothing reads it, nearest: 'test'"),
        (PLATES, "dataloader.evaluator.bands=coco", "it is 'dataloader.evaluator.size_ranges' now"),
        (PLATES, "+dataloader.evaluator.bands=coco", "takes no 'bands', it is 'size_ranges' now"),
        (PLATES, "+train.teacher_check.pictures=3", "no such key, it is 'images' now"),
        (PLATES, "train.zzz=3", "no such key; there are amp, "),
        (PLATES, "max_iter=3", "nearest: 'train.max_iter'$"),
        (PLATES, "model.detectr.num_classes=3", "nearest: 'model.detector.num_classes'$"),
        (PLATES, "model.min_box_size=3", r"; \+model.min_box_size=... adds it$"),
        (PLATES, "model.loss_weights.x=3", r"; \+model.loss_weights.x=... adds it$"),
        (PLATES, "+model.foo=3", "LowResDetector takes no 'foo'; there are detector, "),
    ],
)
def test_keys_that_nothing_reads_say_what_they_may_have_meant(name, text, words):
    with pytest.raises(KeyError) as caught:
        load_recipe(name, [text])
    assert re.search(words, caught.value.args[0])


def test_added_keys_that_something_reads_are_added(recipe):
    more = """
        setting = dict(size=3, sides=[6])
        model.out_features = "${setting.size}"
        model.in_features = "${..setting.sides.0}"
        dataloader.extra = dict(a=1)
        train.log_period = "${dataloader.extra.a}"
    """
    recipe.write_text(textwrap.dedent(RECIPE) + textwrap.dedent(more))
    cfg = load_recipe(recipe, ["+train.ddp.bucket_cap_mb=3", "+model.bias=false"])
    assert (
        cfg.train.ddp.bucket_cap_mb == 3 and cfg.model.bias is False and cfg.model.in_features == 6
    )
    with pytest.raises(KeyError, match=r"\+setting\.other: nothing in this recipe reads it"):
        load_recipe(recipe, ["+setting.other=3"])
    recipe.write_text(recipe.read_text().replace('"${setting.size}"', '"${setting.new}"'))
    assert load_recipe(recipe, ["+setting.new=9"]).model.out_features == 9


def test_parts_are_built_and_an_error_names_the_key(recipe):
    cfg = load_recipe(recipe)
    assert build(cfg, "model").out_features == 5
    assert build(cfg, "dataloader.train") == [1]
    cfg.model.bias_ = True
    with pytest.raises(ValueError, match=r"model cannot be built: .*bias_") as caught:
        build(cfg, "model")
    assert isinstance(caught.value.__cause__, TypeError)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optimizer.lr=-1", r"^optimizer cannot be built: Invalid learning rate: -1"),
        ("model.detector.head_in_features=[p9]", r"^model\.detector cannot be built: .*'p9'"),
        (
            "model.detector.backbone.in_features=[stage9]",
            r"^model\.detector\.backbone cannot be built: ",
        ),
        (
            "dataloader.train.mapper.augmentations="
            "[{_target_: detectron2.data.transforms.RandomFlip},"
            "{_target_: detectron2.data.transforms.ResizeShortestEdge, short_edge_length: 9,"
            " sample_style: odd}]",
            r"^dataloader\.train\.mapper\.augmentations\[1\] cannot be built: ",
        ),
    ],
)
def test_errors_of_other_packages_are_named_by_the_innermost_call(override, message):
    cfg = load_recipe(PLATES, [override])
    key = "dataloader.train.mapper" if "mapper" in override else override.split(".")[0]
    if key == "optimizer":
        cfg.optimizer.params.model = nn.Linear(2, 2)
    with pytest.raises(ValueError, match=message) as caught:
        build(cfg, key)
    assert "\n" not in str(caught.value)


def test_a_call_that_gives_no_network_is_named():
    cfg = load_recipe(PLATES)
    cfg.model = {"_target_": "os.getcwd"}
    with pytest.raises(ValueError, match=r"os\.getcwd gives a str: expected a network"):
        build_model(cfg)
    with pytest.raises(ValueError, match=r"model\.resampler is a str: expected a network"):
        LowResDetector(nn.Identity(), "text")


@pytest.mark.parametrize("name", RECIPES)
def test_the_dump_of_a_recipe_is_a_recipe(name, tmp_path):
    cfg = load_shipped(name)
    path = tmp_path / "dump.yaml"
    LazyConfig.save(cfg, str(path))
    again = load_recipe(path, ["train.max_iter=7"])
    # Stages are calls, whose classes a dump has by name.
    assert {**again.train, "stages": 0} == {**cfg.train, "stages": 0, "max_iter": 7}
    lines = describe_recipe(path, again, color=False).splitlines()
    assert lines[0].endswith("a yaml file imports nothing")
    assert "train.max_iter: 7" in lines
    assert not any(line.startswith(("+", "-", "~")) for line in lines)


def test_differences_of_the_recipe_and_the_command_line_are_listed(recipe):
    cfg = load_recipe(recipe, ["train.max_iter=20"])
    lines = describe_recipe(recipe, cfg, color=False).splitlines()[1:]
    assert lines == [
        "~ dataloader.test: 10 -> 20",
        "~ model.out_features: 3 -> 5",
        "+ optimizer.momentum: 0.9",
        "~ train.max_iter: 10 -> 20",
        f"~ train.output_dir: '' -> 'output/{recipe.stem}'",
    ]


def test_differences_are_listed_from_any_folder(recipe, monkeypatch):
    monkeypatch.chdir(recipe.parent)
    there = Path(recipe.name)
    assert "~ model.out_features: 3 -> 5" in describe_recipe(there, load_recipe(there), color=False)


def test_a_part_that_was_moved_is_compared_where_it_is_now(recipe):
    recipe.write_text(
        textwrap.dedent("""
            from copy import deepcopy
            from detectron2.config import LazyCall as L
            from .piece import dataloader, lr_multiplier, optimizer, train
            from .piece import model as detector

            model = L("builtins.dict")(detector=detector, copies=[deepcopy(detector)])
            model.detector.out_features = 7
        """)
    )
    lines = describe_recipe(recipe, load_recipe(recipe), color=False).splitlines()[1:]
    assert lines == [
        "# detector is now model.detector and model.copies[0]",
        "+ model._target_: 'builtins.dict'",
        "~ model.detector.out_features: 3 -> 7",
        f"~ train.output_dir: '' -> 'output/{recipe.stem}'",
    ]


@pytest.mark.parametrize("name", RECIPES)
def test_shipped_recipe_loads_and_every_call_takes_its_arguments(name):
    cfg = load_shipped(name)
    assert cfg.train.output_dir.endswith(name.rsplit("/", 1)[-1].removesuffix(".py"))
    # A run that is stopped loses no more than the iterations since a checkpoint.
    assert 0 < cfg.train.checkpointer.period < cfg.train.max_iter
    # Of these sets the test images are the only ones to evaluate on: none chooses the best weights.
    if cfg.dataloader.test.dataset.get("_target_") in (Cifar10, Cifar100, SVHN):
        assert cfg.train.eval_period == 0


def test_recipes_are_there():
    assert len(RECIPES) >= 20


PIECES = Path(find_recipe("configs/common/train.py")).parent


def _keys(tree):
    """(callable and key, line) of every argument and assignment but those of calls and pieces."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            callee = "".join(map(ast.unparse, getattr(node.func, "args", ())))
            for argument in node.keywords:
                if argument.arg and not isinstance(argument.value, ast.Call | ast.Name):
                    yield callee, argument.arg, argument.lineno
        elif isinstance(node, ast.Assign) and not isinstance(node.value, ast.Call | ast.Name):
            yield from (
                ("", t.attr, t.lineno) for t in node.targets if isinstance(t, ast.Attribute)
            )


def test_every_key_is_explained_once():
    files = [PIECES / f"{name}.py" for name in ("optim", "schedule", "train")]
    explained, plain, comments = set(), {}, []
    for path in [*files, *sorted((PIECES / "models").glob("*.py"))]:
        lines = ["", *path.read_text().splitlines()]
        comments += [line.strip() for line in lines if line.strip().startswith("#")]
        for callee, key, number in _keys(ast.parse("\n".join(lines[1:]))):
            if "#" in lines[number] or lines[number - 1].strip().startswith("#"):
                explained |= {(callee, key), ("", key)}
            else:
                plain.setdefault((callee, key), f"{path.name}:{number}: {key}")
    assert [place for key, place in plain.items() if key not in explained] == []
    assert [text for text in comments if comments.count(text) > 1] == []


def test_a_path_with_two_dots_finds_the_pieces_that_a_recipe_imports():
    plain = "configs/quick/bicubic4_fcos_small_64_plates.py"
    assert load_recipe("configs/voc/../quick/bicubic4_fcos_small_64_plates.py") == load_recipe(
        plain
    )
