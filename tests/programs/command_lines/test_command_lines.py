import re
import subprocess
import sys
from pathlib import Path

import lowres_d2  # noqa: F401
from lowres_d2.analysis.cost.counting_rules import MACS, RULES
from lowres_d2.data.crops import PRESETS, CropRules
from lowres_d2.data.datasets.dota import TileRules
from lowres_d2.data.datasets.pseudo_labels import PseudoLabels
from lowres_d2.data.datasets.tinyperson import TASKS
from lowres_d2.data.folders.recognition import FINDERS
from lowres_d2.data.image import MAX_PIXELS
from lowres_d2.data.plates.dataset import SPLITS, VARIANTS
from lowres_d2.data.validation.sizes import SIZE_LIMITS
from lowres_d2.deploy.export import FORMATS
from lowres_d2.deploy.export.check_images import NUMBER
from lowres_d2.programs import command_lines, completion, crop, sweep, visualize
from lowres_d2.programs.command import PROGRAMS, command_line
from lowres_d2.programs.quick_benchmarks import BENCHMARKS

import pytest
from detectron2.engine import default_argument_parser

ALL = """
import sys
from lowres_d2.programs.command import PROGRAMS, main
for name in PROGRAMS:
    for flag in ("--help", "--no-such-flag"):
        try:
            main([name, flag])
        except SystemExit:
            print("ended", name, flag)
        heavy = {"torch", "detectron2", "numpy"} & {*sys.modules}
        assert not heavy, f"{name} {flag} imports {heavy}"
"""


def test_help_and_mistyped_flags_of_no_program_import_torch():
    done = subprocess.run([sys.executable, "-c", ALL], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\nended ") == 2 * len(PROGRAMS)


def test_every_command_line_is_a_programs():
    folder = Path(command_lines.__file__).parent
    names = {path.stem.replace("_", "-") for path in folder.glob("[a-z]*.py")}
    assert names == {*PROGRAMS}


def action(program, argument):
    actions = command_line(program).make_parser()._actions
    return next(one for one in actions if one.dest == argument)


CHOICES = [
    ("analyze", "rule", RULES),
    ("completion", "shell", completion.PREAMBLE),
    ("crop", "preset", PRESETS),
    ("export", "format", FORMATS),
    ("make-plates", "split", SPLITS),
    ("make-plates", "variant", [*VARIANTS, "classification"]),
    ("prepare-tinyperson", "task", TASKS),
    ("validate", "format", FINDERS),
    ("visualize", "part", [*visualize.FILES, "all", visualize.DATA, visualize.STAGES]),
]


@pytest.mark.parametrize(("program", "argument", "known"), CHOICES)
def test_choices_are_those_that_there_are(program, argument, known):
    assert [*action(program, argument).choices] == [*known]


DEFAULTS = [
    ("analyze", "rule", MACS.name),
    ("prepare-dota", "size", TileRules().size),
    ("prepare-dota", "overlap", TileRules().overlap),
    ("prepare-dota", "least_inside", TileRules().least_inside),
    ("prepare-dota", "difficult", TileRules().difficult),
    ("pseudo-label", "threshold", PseudoLabels.threshold),
    ("validate", "max_pixels", MAX_PIXELS),
    ("validate", "size_limits", [*SIZE_LIMITS]),
]


@pytest.mark.parametrize(("program", "argument", "default"), DEFAULTS)
def test_defaults_are_the_librarys(program, argument, default):
    assert action(program, argument).default == default


PRESET_TEXT = "; ".join(f"{name} {crop.text_of(rules)}" for name, rules in PRESETS.items())


@pytest.mark.parametrize(
    ("program", "argument", "said"),
    [
        ("crop", "preset", f"size and overlap: {PRESET_TEXT}"),
        ("crop", "least_inside", f"default {CropRules().least_inside:g}"),
        ("export", "images", f"by default {NUMBER} generated ones"),
        ("pseudo-label", "ignore_from", f"default {PseudoLabels.ignored_from}; "),
        ("sweep", "values", f"default {' '.join(sweep.FACTORS)}, "),
    ],
)
def test_help_says_what_the_library_does(program, argument, said):
    assert said in action(program, argument).help


def test_the_help_of_reproduce_has_a_line_for_each_benchmark():
    text = command_line("reproduce").make_parser().format_help()
    names = [
        line.split()[0] for line in text.splitlines() if re.match(r"  [a-z]\S* {2,}[a-z0-9]", line)
    ]
    assert {*BENCHMARKS} <= {*names}


def test_train_has_the_flags_of_detectron2():
    theirs = {one.dest: one for one in default_argument_parser()._actions}
    for name in theirs.keys() - {"help", "opts"}:
        ours = action("train", name)
        assert (ours.option_strings, ours.nargs, ours.type) == (
            theirs[name].option_strings,
            theirs[name].nargs,
            theirs[name].type,
        )
        if name != "dist_url":  # a free port rather than the user's
            assert ours.default == theirs[name].default
