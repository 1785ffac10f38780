from lowres_d2.programs.make_plates import main

import pytest


def test_sets_are_made_where_recipes_look_for_them(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    main(["--split", "val", "--num-images", "2", "--variant", "tiny", "--size-range", "5", "9"])
    folder = tmp_path / "plates" / "tiny_val_2_seed0_5-9px"
    assert (folder / "annotations.json").is_file()
    assert f"{folder / 'annotations.json'}: 2 images, 8 classes" in capsys.readouterr().out


def test_classification_and_sheet(tmp_path, monkeypatch, capsys):
    root = ["--root", str(tmp_path)]
    main([*root, "--variant", "classification", "--num-images", "2", "--seed", "3"])
    folder = tmp_path / "classification_train_2_seed3"
    assert sorted(path.name for path in folder.iterdir()) == [
        "generated.json",
        "images.npy",
        "labels.json",
    ]
    main([*root, "--sheet", str(tmp_path / "sheet.png")])
    assert (tmp_path / "sheet.png").is_file()
    assert capsys.readouterr().out.splitlines() == [
        f"PlatesClassification({folder}: 2 images, 8 classes)",
        str(tmp_path / "sheet.png"),
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--num-images", "0"], "error: num_images=0: expected at least 1"),
        (["--photos", "/nowhere"], "error: /nowhere: no such folder of photographs"),
        (["--size-range", "9", "5"], "error: size_range 9.0 to 5.0"),
    ],
)
def test_mistakes_are_one_line_and_exit_with_one(tmp_path, arguments, message, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["--root", str(tmp_path), *arguments])
    assert caught.value.code == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(message)
    assert not list(tmp_path.iterdir())


def test_what_single_plates_do_not_take_is_refused(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["--variant", "classification", "--photos", "somewhere"])
    assert "--variant classification takes no --photos" in capsys.readouterr().err


def test_single_plates_of_other_sizes_are_made(tmp_path, capsys):
    sizes = ["--size-range", "4", "16"]
    main(["--root", str(tmp_path), "--variant", "classification", "--num-images", "2", *sizes])
    folder = tmp_path / "classification_train_2_seed0_4-16px"
    assert f"({folder}: 2 images, 8 classes)" in capsys.readouterr().out
