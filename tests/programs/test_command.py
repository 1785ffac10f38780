import shutil
import subprocess
import sys

from lowres_d2.programs.command import PROGRAMS, main, summary_of
from lowres_d2.recipes.find import find_recipe, shipped_recipes

import pytest


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
    assert said.startswith(f"usage: lowres-d2 {name} ")


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


def test_a_reader_that_leaves_is_no_error():
    command = f"{sys.executable} -m lowres_d2 recipes | head -1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True)
    assert done.stdout.startswith("configs/") and not done.stderr


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
    with pytest.raises(SystemExit, match="no recipe has thumbdet4 and nothing"):
        main(["recipes", "thumbdet4", "nothing"])


COMPLETE = """
source {script}
COMP_WORDS=({words}); COMP_CWORD=$(( ${{#COMP_WORDS[@]}} - 1 ))
$(complete -p lowres-d2 | sed -E 's/.*-F ([^ ]+) .*/\\1/')
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("bash"), reason="needs bash")
def test_bash_completes_programs_flags_and_recipes(tmp_path, capsys):
    main(["completion", "bash"])
    script = tmp_path / "completion"
    script.write_text(capsys.readouterr().out)
    here = tmp_path / "bin"
    here.mkdir()
    (here / "lowres-d2").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m lowres_d2 "$@"\n')
    (here / "lowres-d2").chmod(0o755)

    def complete(words):
        done = subprocess.run(
            ["bash", "-c", f'PATH="{here}:$PATH"\n' + COMPLETE.format(script=script, words=words)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        assert not done.stderr
        return done.stdout.split()

    assert complete("lowres-d2 ex") == ["extract"]
    assert complete("lowres-d2 validate --an") == ["--annotations"]
    own = complete("lowres-d2 train --config-file configs/own")
    assert set(own) == {path.as_posix() for path in shipped_recipes() if "own_data" in path.parts}
    assert complete(f"lowres-d2 extract {tmp_path}/compl") == [str(script)]
    assert "_recipe_files" in script.read_text()  # or folders are completed without a slash


def test_zsh_gets_a_script_with_every_program(capsys):
    main(["completion", "zsh"])
    said = capsys.readouterr().out
    assert said.startswith("#compdef lowres-d2")
    assert all(f"\n    {name}:'" in said for name in PROGRAMS)
