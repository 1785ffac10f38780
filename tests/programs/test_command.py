import ast
import contextlib
import io
import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

from lowres_d2.programs import recipes
from lowres_d2.programs.command import PROGRAMS, main, summary_of
from lowres_d2.recipes.find import PACKAGE, find_recipe, shipped_recipes

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = [
    *sorted(ROOT.glob("benchmarks/*.py")),
    *sorted(ROOT.glob("datasets/*.py")),
    *(ROOT / name for name in ("train_net.py", "demo/app.py", "demo/demo.py")),
]


@pytest.fixture(autouse=True)
def own_argv(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["lowres-d2"])  # which the command changes


@pytest.mark.parametrize("arguments", [[], ["--help"]])
def test_all_programs_are_listed_with_a_line_each(arguments, capsys):
    main(arguments)
    rows = capsys.readouterr().out.splitlines()
    listed = [row.split() for row in rows if row.startswith("  ")]
    assert tuple(name for name, *_ in listed) == PROGRAMS
    assert all(len(words) > 3 for _, *words in listed)
    assert max(map(len, rows)) < 100


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_program_explains_itself_under_its_own_name(name, capsys):
    with pytest.raises(SystemExit) as caught:
        main([name, "--help"])
    assert caught.value.code == 0
    said = capsys.readouterr().out
    assert said.startswith(f"usage: lowres-d2 {name} ") and described(said)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_every_script_explains_itself(path, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", [str(path), "--help"])
    with pytest.raises(SystemExit) as caught:
        runpy.run_path(str(path), run_name="__main__")
    said = capsys.readouterr().out
    assert not caught.value.code and said.startswith("usage: ") and described(said)


def described(help):
    """Whether more than the usage is there."""
    return len(help.partition("\n\n")[2].split()) > 5


def test_an_unknown_program_is_named_with_the_nearest(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["trian"])
    assert caught.value.code == 2
    assert capsys.readouterr().err == (
        "error: no program 'trian', nearest: train; lowres-d2 lists all\n"
    )


def test_version_says_whose_detectron2_runs(capsys):
    main(["--version"])
    assert (
        capsys.readouterr()
        .out.strip()
        .endswith(("on bundled Detectron2", "on upstream Detectron2"))
    )


def test_listing_programs_and_recipes_imports_no_torch():
    code = (
        "import sys; from lowres_d2.programs.command import main\n"
        "main([]); main(['recipes', 'plates'])\n"
        "assert 'torch' not in sys.modules and 'detectron2' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("program", "first"),
    [
        ("-m lowres_d2", "usage:"),
        ("-m lowres_d2 recipes", "configs/"),
        ("train_net.py --print-config --config-file quick/full_fcos_small_256_plates.py", "# "),
    ],
)
def test_a_reader_that_leaves_is_no_error(program, first):
    command = f"set -o pipefail; {sys.executable} {program} | head -1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert done.stdout.startswith(first) and not done.stderr
    assert done.returncode == 0


def test_work_goes_on_without_a_reader(tmp_path):
    code = f"""
from lowres_d2.programs.screen import print_any_text
print_any_text()
for k in range(20000):
    print(k, flush=k % 2 == 0)
open({str(tmp_path / "done")!r}, "w")
"""
    (tmp_path / "work.py").write_text(code)
    command = f"set -o pipefail; {sys.executable} {tmp_path / 'work.py'} | head -1"
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    done = subprocess.run(["bash", "-c", command], capture_output=True, env=environment)
    assert (done.stdout, done.stderr, done.returncode) == (b"0\n", b"", 0)
    assert (tmp_path / "done").exists()


def test_programs_explain_themselves_without_docstrings():
    code = f"""
import sys
from lowres_d2.programs.command import docstring_of, file_of, main
assert main.__doc__ is None
assert docstring_of({recipes.__file__!r}).startswith("List the recipes")
assert "``" not in docstring_of(file_of("visualize"))
main(["recipes", "--help"])
"""
    done = subprocess.run([sys.executable, "-OO", "-c", code], capture_output=True, text=True)
    assert "List the recipes, or find those" in done.stdout and not done.stderr


def test_no_code_uses_docstrings():
    """Without them, ``python -OO``, they would be None."""
    for path in [*PACKAGE.rglob("*.py"), *SCRIPTS]:
        text = path.read_text()
        if "__doc__" in text:
            assert not any(map(_is_docstring, ast.walk(ast.parse(text)))), path


def _is_docstring(node):
    names = {ast.Name: "id", ast.Attribute: "attr"}
    is_read = isinstance(getattr(node, "ctx", None), ast.Load)
    return is_read and getattr(node, names.get(type(node), ""), "") == "__doc__"


def test_ctrl_c_is_one_line(monkeypatch, capsys):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("importlib.import_module", interrupt)
    with pytest.raises(SystemExit) as caught:
        main(["env"])
    assert caught.value.code == 130
    assert capsys.readouterr().err == "interrupted\n"


@pytest.mark.parametrize("content", [b"x = (", '"""Größe"""'.encode("latin-1"), b"x = 1"])
def test_a_file_without_a_description_has_an_empty_one(tmp_path, content):
    path = tmp_path / "recipe.py"
    path.write_bytes(content)
    assert summary_of(path) == ""


def test_recipes_are_all_listed_and_found_by_words(capsys):
    main(["recipes"])
    lines = capsys.readouterr().out.splitlines()
    names = [path.as_posix() for path in shipped_recipes()]
    assert lines[::2] == names
    assert lines[1::2] == [f"    {summary_of(find_recipe(name))}" for name in names]
    main(["recipes", "--names", "PLATES", "thumbdet4_fcos"])
    assert capsys.readouterr().out.split() == [
        "projects/ThumbDet/configs/quick/thumbdet4_fcos_small_64_plates.py"
    ]
    main(["recipes", "--names", "own"])
    assert "bicubic4_retinanet" not in capsys.readouterr().out  # "downsampled" has no word own
    main(["recipes", "--names", "bottom", "heavy", "tinyperson"])
    assert "/bh_fcos_r50_640_tinyperson.py" in capsys.readouterr().out  # of BottomHeavy
    with pytest.raises(SystemExit, match="no recipe has thumbdet4 and zzz; without"):
        main(["recipes", "thumbdet4", "zzz"])
    with pytest.raises(SystemExit, match="no recipe has thumbdt, nearest: 'thumbdet'; without"):
        main(["recipes", "thumbdt"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["compare", "--factr", "2"], "unknown flag --factr, nearest: '--factor'"),
        (["compare", "--factr"], "unknown flag --factr, nearest: '--factor'"),
        (["reproduce", "thumbdet2", "--output", "o"], "nearest: 'thumbdet"),
        (["reproduce", "thumbdet", "--outptu=o"], "unknown flag --outptu=o, nearest: '--output'"),
        (["visualize", "detection", "--runs", "a", "--output", "o"], "nearest: 'detections'"),
        (["train", "--config-file", "a.py", "--resme"], "--resme, nearest: '--resume'"),
        (["train", "--config-file", "a.py", "a.b=1", "--resme"], "--resme, nearest: '--resume'"),
        (["crop", "--overlp", "3"], "unknown flag --overlp, nearest: '--overlap'"),
        (["prepare-dota", "--rot", "d"], "unknown flag --rot, nearest: '--root'"),
        (["env", "--zzz"], "unknown flag --zzz\n"),
    ],
)
def test_mistyped_flags_and_choices_name_the_nearest(arguments, message, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


COMPLETE = """
source {script}
COMP_WORDS=({words}); COMP_CWORD=$(( ${{#COMP_WORDS[@]}} - 1 ))
$(complete -p lowres-d2 | sed -E 's/.*-F ([^ ]+) .*/\\1/')
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.fixture(scope="module")
def complete(tmp_path_factory):
    """What bash completes after some words, which it has split at ``=``."""
    folder = tmp_path_factory.mktemp("completion")
    (folder / "script").write_text(said_by("completion", "bash"))
    (folder / "bin").mkdir()
    command = folder / "bin" / "lowres-d2"
    keys = folder / "keys"  # listing them takes seconds
    command.write_text(
        f'#!/bin/sh\n[ "$2" = --keys ] && exec cat "{keys}.$(basename "$3")"\n'
        f'exec "{sys.executable}" -m lowres_d2 "$@"\n'
    )
    for name in ("own_data/full_fcos_small_own.py", "quick/full_fcos_small_256_plates.py"):
        Path(f"{keys}.{Path(name).name}").write_text(said_by("recipes", "--keys", name))
    command.chmod(0o755)
    (folder / "run 1").mkdir()

    def complete(words):
        path = f'PATH="{folder}/bin:$PATH"\n'
        done = subprocess.run(
            ["bash", "-c", path + COMPLETE.format(script=folder / "script", words=words)],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": os.getcwd()},
            capture_output=True,
            text=True,
        )
        assert not done.stderr
        return done.stdout.splitlines()

    return complete


def said_by(*arguments):
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        main(arguments)
    return said.getvalue()


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("bash"), reason="needs bash")
def test_bash_completes_programs_flags_recipes_and_files(complete):
    assert complete("lowres-d2 ext") == ["extract"]
    assert complete("lowres-d2 validate --an") == ["--annotations"]
    own = complete("lowres-d2 train --config-file configs/own")
    assert set(own) == {path.as_posix() for path in shipped_recipes() if "own_data" in path.parts}
    assert complete("lowres-d2 extract scr") == ["script"]
    assert complete("lowres-d2 visualize all --runs run") == ["run 1"]
    assert complete("lowres-d2 visualize all --runs ours '=' run") == ["run 1"]
    assert "_recipe_files" in said_by(
        "completion", "bash"
    )  # or folders are completed without a slash


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("bash"), reason="needs bash")
def test_bash_completes_the_keys_of_a_recipe(complete):
    own = "lowres-d2 train --config-file configs/own_data/full_fcos_small_own.py"
    assert complete(f"{own} data.train_j") == ["data.train_json="]
    assert complete(f"{own} --resume train.eval") == ["train.eval_period="]
    assert complete(f"{own} data.train_json '=' scr") == ["script"]
    assert "script" in complete(f"{own} data.train_json '='")
    assert complete("lowres-d2 quickstart train.max_") == ["train.max_iter="]


@pytest.mark.skipif(not shutil.which("zsh"), reason="needs zsh")
def test_zsh_parses_its_script(tmp_path):
    (tmp_path / "_lowres-d2").write_text(said_by("completion", "zsh"))
    done = subprocess.run(["zsh", "-n", tmp_path / "_lowres-d2"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_zsh_gets_a_script_with_every_program(capsys):
    main(["completion", "zsh"])
    said = capsys.readouterr().out
    assert said.startswith("#compdef lowres-d2")
    assert all(f"\n    {name}:'" in said for name in PROGRAMS)
