"""A saved config is read, never run: only what recipes are made of can be named in it."""

import os

import lowres_d2
from lowres_d2.layers.norm import group_norm_8
from lowres_d2.programs import analyze, demo, train
from lowres_d2.recipes.load import load_recipe
from lowres_d2.saved_configs import PARTS, RefusedConfigError, read_saved_config

import pytest
import torch
import yaml
from detectron2.config import LazyConfig
from omegaconf import OmegaConf
from torch import nn

QUICK = "configs/quick/full_fcos_small_256_plates.py"
# Ways to make `touch FILE` run when a config is read, checked or built.
TAGS = {
    "apply": "!!python/object/apply:os.system ['touch {file}']",
    "new": "!!python/object/new:os.popen ['touch {file}']",
    "apply in a tag of ours": "!!python/tuple [!!python/object/apply:os.system ['touch {file}']]",
    "name of a function": "!!python/name:os.system ''",
    "module": "!!python/module:antigravity ''",
    "object": "!!python/object:subprocess.Popen {{args: touch}}",
    "state": "!!python/object/new:type {{args: [x, !!python/tuple [], {{}}], state: {{}}}}",
}
COMMAND = "'touch {file}'"
CALLS = {
    "os": "{{_target_: os.system, command: %s}}",
    "builtins": "{{_target_: builtins.eval, source: %s}}",
    "partial": "{{_target_: functools.partial, func: %s}}",
    "torch.load": "{{_target_: torch.load, f: %s, weights_only: false}}",
    "torch.hub": "{{_target_: torch.hub.load, repo_or_dir: %s}}",
    "through a module": "{{_target_: torch.nn.modules.module.warnings.os.system, command: %s}}",
    "through our module": "{{_target_: lowres_d2.data.image.os.system, command: %s}}",
    "what ours imports": "{{_target_: lowres_d2.data.loader.partial, func: %s}}",
    "our own loader": "{{_target_: lowres_d2.recipes.load.load_recipe, name: %s}}",
    "another recipe": "{{_target_: detectron2.config.LazyConfig.load, filename: %s}}",
    "a program of ours": "{{_target_: lowres_d2.programs.train.main, arguments: [%s]}}",
    "a class's class": "{{_target_: torch.nn.Linear.__class__, x: %s}}",
    "colon": "{{_target_: 'os:system', command: %s}}",
    "target that is made": "{{_target_: {{_target_: torch.nn.Identity.forward, self: 0, "
    "input: os.system}}, command: %s}}",
    "target by reference": "{{_target_: '${{name}}', command: %s}}",
    "resolver": """'${{oc.create:"{{_target_: os.system, command: %s}}"}}'""",
    "decoded": """'${{oc.decode:"{{_target_: os.system, command: x}}"}}'  # %s""",
    "resolver by reference": "'${{${{name}}:{{x: y}}}}'  # %s",
    "pickle": "{{_target_: detectron2.data.load_proposals_into_dataset, dataset_dicts: [], "
    "proposal_file: %s}}",
    "proposals": "{{_target_: detectron2.data.get_detection_dataset_dicts, names: [], "
    "proposal_files: [%s]}}",
    "yacs": "{{_target_: detectron2.data.build_detection_train_loader, cfg: {{A: %s}}}}",
    "private module": "{{_target_: torch.nn.utils._deprecation_utils.lazy_deprecated_import, "
    "all: [], old_module: x, new_module: %s}}",
    "in a list": "[1, [{{_target_: os.system, command: %s}}]]",
    "nested argument": "{{_target_: torch.nn.Identity, x: {{_target_: os.system, command: %s}}}}",
}  # fmt: skip


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "config.yaml"
    LazyConfig.save(load_recipe(QUICK), str(path))
    return path.read_text()


def with_detector(saved, value, folder):
    """A saved config whose resampler is something else, and the file that running it would make."""
    content = yaml.load(saved, yaml.BaseLoader)  # strings alone: names stay names
    content["model"]["resampler"] = "@"
    content["name"] = "os.system"
    path, file = folder / "config.yaml", folder / "was_run"
    text = yaml.dump(content).replace("'@'", value.format(file=file))
    assert value.format(file=file) in text
    path.write_text(text)
    return path, file


def test_nothing_that_runs_code_is_read_by_any_name_for_it(saved, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "system", lambda command: pytest.fail("was run"))
    values = {**TAGS, **{k: v.replace("%s", COMMAND) for k, v in CALLS.items()}}
    values["resolver"] = CALLS["resolver"].replace("%s", "touch {file}")  # quoted already
    for title, value in values.items():
        path, file = with_detector(saved, value, tmp_path)
        with pytest.raises(RefusedConfigError, match=r"config\.yaml") as caught:
            load_recipe(path)
        assert "\n" not in str(caught.value), title
        assert not file.exists(), title


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (TAGS["apply"], "line .*: the tag !!python/object/apply:os.system makes objects"),
        ("{{_target_: os.system}}", r"model.resampler._target_: os.system is no part of recipes"),
        ("[{{_target_: timm.create_model}}]", r"resampler\[0\].*set LOWRES_D2_TRUST=timm"),
        ("{{_target_: torch.hub.load}}", "_target_: torch.hub.load is no part of recipes"),
        ("{{_target_: torch.nn.init.warnings.warn}}", "torch.nn.init.warnings.warn is "),
        ("{{_target_: torch.nn.Linaer}}", "torch.nn.Linaer cannot be imported"),
        ("{{_target_: lowres_d2.data.image}}", "lowres_d2.data.image cannot be called"),
        ("{{_target_: 3}}", "expected a name, got int"),
        ("{{_target_: [torch.nn.Linear]}}", "expected a name, got list"),
        ("{{_target_: lowres_d2.data.datasets.PlatesDataset}}", "is lowres_d2.data.plates.Plates"),
        ("'${{oc.decode:abc}}'", "may refer to its keys"),
    ],
)
def test_what_is_refused_is_named(saved, tmp_path, value, words):
    path, _ = with_detector(saved, value, tmp_path)
    with pytest.raises(RefusedConfigError, match=words):
        load_recipe(path)


@pytest.mark.parametrize("value", [TAGS["apply"], CALLS["os"].replace("%s", COMMAND)])
def test_programs_end_with_one_line_and_run_nothing(saved, tmp_path, capsys, value):
    path, file = with_detector(saved, value, tmp_path)
    weights = [
        "--weights",
        "x.pth",
        "--input",
        "docs/plates.png",
        "--output",
        str(tmp_path / "found"),
    ]
    for program, more in (
        (train, ["--print-config"]),
        (train, ["--eval-only", "train.init_checkpoint=x.pth"]),
        (train, ["model.resampler={_target_: lowres_d2.modeling.resample.Identity}"]),
        (analyze, []),
        (demo, weights),
    ):
        with pytest.raises(SystemExit) as caught:
            program.main(["--config-file", str(path), *more])
        error = capsys.readouterr().err.strip().splitlines()
        assert caught.value.code == 1
        assert len(error) == 1 and "config.yaml" in error[0] and "os.system" in error[0]
        assert not file.exists()


def test_own_modules_are_read_where_the_user_trusts_them(tmp_path, monkeypatch):
    (tmp_path / "my_parts.py").write_text("class Mine:\n    pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    text = "a: {_target_: my_parts.Mine}\nb: !!python/name:my_parts.Mine ''\n"
    with pytest.raises(RefusedConfigError, match="set LOWRES_D2_TRUST=my_parts"):
        read_saved_config(text, "config.yaml")
    monkeypatch.setenv("LOWRES_D2_TRUST", "timm, my_parts")
    content = read_saved_config(text, "config.yaml")
    assert content["b"].__name__ == "Mine"
    with pytest.raises(RefusedConfigError, match=r"os\.system"):
        read_saved_config("_target_: os.system", "config.yaml")
    monkeypatch.setenv("LOWRES_D2_TRUST", "my_parts,my_lost_parts")
    with pytest.raises(RefusedConfigError, match="PYTHONPATH=FOLDER finds"):
        read_saved_config("_target_: my_lost_parts.Mine", "config.yaml")
    with pytest.raises(RefusedConfigError, match="my_parts_2"):
        read_saved_config("_target_: my_parts_2.Mine", "config.yaml")


def test_what_recipes_are_made_of_is_read():
    text = """
        norm: !!python/name:lowres_d2.layers.norm.group_norm_8 ''
        other: !!python/name:torch.nn.LayerNorm ''
        sides: !!python/tuple [1, 2]
        root: ${oc.env:DATA,data}/plates
        lr: ${..train.mapper.list[0]}
        part: {_target_: detectron2.modeling.ResNet.make_stage}
    """
    content = read_saved_config(text, "config.yaml")
    assert content["norm"] is group_norm_8 and content["other"] is nn.LayerNorm
    assert content["sides"] == (1, 2)


@pytest.mark.skipif(lowres_d2.detectron2_provider() != "bundled", reason="upstream's is unsafe")
def test_bundled_lazy_config_runs_nothing_either(tmp_path):
    path, file = tmp_path / "config.yaml", tmp_path / "was_run"
    path.write_text(f"x: !!python/object/apply:os.system ['touch {file}']")
    with pytest.raises(RefusedConfigError, match=r"os\.system"):
        LazyConfig.load(str(path))
    assert not file.exists()


def test_what_is_defined_in_a_private_module_is_no_part(monkeypatch):
    from torch.nn.utils import _deprecation_utils

    monkeypatch.setattr(
        torch.nn.utils, "lazy_import", _deprecation_utils.lazy_deprecated_import, raising=False
    )
    with pytest.raises(
        RefusedConfigError, match=r"torch\.nn\.utils\.lazy_import is torch\.nn\.utils"
    ):
        read_saved_config("_target_: torch.nn.utils.lazy_import", "config.yaml")


def test_no_part_is_a_whole_library():
    assert not {"torch", "torchvision", "detectron2", "lowres_d2", "fvcore"} & {*PARTS}


def test_names_of_files_that_are_no_text_are_read(tmp_path):
    content = {"folder": "x\udcff图", "sides": [1, 2.5, None, True]}
    LazyConfig.save(OmegaConf.create(content), str(tmp_path / "config.yaml"))
    assert read_saved_config((tmp_path / "config.yaml").read_text(), "config.yaml") == content


def test_every_parser_of_yaml_reads_the_same(saved, monkeypatch):
    content = read_saved_config(saved, "config.yaml")
    monkeypatch.delattr(yaml, "CSafeLoader", raising=False)
    assert read_saved_config(saved, "config.yaml") == content
