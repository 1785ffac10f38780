"""Which recipes can be exported to which format: the committed table says so.

    lowres-d2 export --table RECIPE ... > tests/deploy/export/table.md

The recipes are those in its first column, one of each kind of detector and of resampler.
"""

from pathlib import Path

from lowres_d2.programs.export import main

TABLE = Path("tests/deploy/export/table.md")


def test_the_table_is_what_the_program_prints(capsys):
    expected = TABLE.read_text()
    recipes = [line.split("|")[1].strip() for line in expected.splitlines()[2:]]
    assert len(recipes) > 10 and all(Path(recipe).is_file() for recipe in recipes)
    main(["--table", *recipes])
    assert capsys.readouterr().out == expected
