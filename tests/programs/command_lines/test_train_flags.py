"""Flags of train that contradict each other, and whether a start resumes."""

from pathlib import Path

from lowres_d2.programs import train as program
from lowres_d2.programs.command_lines.train import make_parser

import pytest
from omegaconf import OmegaConf

from toys.one_line_errors import error_of
from toys.runs import PLAIN


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ("--num-machines 2", "--num-machines 2 needs --dist-url tcp://HOST:PORT"),
        ("--num-machines 2 --dist-url auto", "auto is for one machine"),
        ("--num-machines 2 --machine-rank 2", "--machine-rank 2: expected 0 to 1"),
        ("--machine-rank 1", "--machine-rank 1: expected 0 to 0, for --num-machines 1"),
        ("--machine-rank -1", "--machine-rank -1: expected 0 to 0"),
        ("--num-machines 0", "--num-machines 0: expected 0 or more processes on each of 1"),
        ("--num-gpus -2", "--num-gpus -2 "),
        ("--num-gpus 2 --dist-url 127.0.0.1:7000", "--dist-url 127.0.0.1:7000: expected auto, or"),
        ("--num-gpus 2 --dist-url tcp://127.0.0.1", "--dist-url tcp://127.0.0.1: expected auto"),
    ],
)
def test_contradictory_flags_of_several_processes_are_one_line(flags, words, tmp_path, capsys):
    arguments = ["--config-file", PLAIN, f"data.train_json={tmp_path}", "data.val_json=x"]
    assert words in error_of([*flags.split(), *arguments, "train.device=cpu"], capsys)


KEYS = ["train.seed=1", "train.output_dir=", "+model.new=-1", "train.max_iter=2"]


@pytest.mark.parametrize(
    "line",
    [
        "--config-file x.py --resume --num-gpus 2 {} {} {} {}",
        "{} --resume {} --config-file x.py {} {} --num-gpus=2",
        "--config-file x.py {} {} {} --num-gpus 2 {} --resume",
    ],
)
def test_flags_and_overrides_come_in_any_order(line):
    args = program.parse(line.format(*KEYS).split())
    assert args.opts == KEYS
    assert (args.config_file, args.resume, args.num_gpus) == ("x.py", True, 2)


@pytest.mark.parametrize(
    ("behind", "words"),
    [
        ("--resum-e", "--resum-e"),
        ("--quick 7", "stands with --eval-only"),
        ("--num-gpus", "expect"),
    ],
)
def test_flags_behind_overrides_are_checked_as_those_before_them(behind, words, capsys):
    with pytest.raises(SystemExit, match="2"):
        program.parse(["--config-file", "x.py", "train.seed=1", *behind.split()])
    assert words in capsys.readouterr().err


def test_words_behind_a_double_dash_are_overrides_and_are_refused_there():
    given = ["--config-file", "x.py", "train.seed=1", "--", "-1", "x"]
    assert program.parse(given).opts == ["train.seed=1", "-1", "x"]


def start(monkeypatch, folder, flags=(), **environ):
    """Whether a process with these variables resumes."""
    with monkeypatch.context() as patch:
        for name in ("TORCHELASTIC_RESTART_COUNT", "SLURM_RESTART_COUNT", "SLURM_JOB_ID"):
            patch.delenv(name, raising=False)
        for name, value in environ.items():
            patch.setenv(name, value)
        cfg = OmegaConf.create({"train": {"output_dir": str(folder)}})
        return program._resumes(make_parser().parse_args([*flags]), cfg)


FIRST, AGAIN = {"TORCHELASTIC_RESTART_COUNT": "0"}, {"TORCHELASTIC_RESTART_COUNT": "1"}
SUBMITTED = {"SLURM_JOB_ID": "7"}
REQUEUED = SUBMITTED | {"SLURM_RESTART_COUNT": "1"}


@pytest.mark.parametrize(
    ("first", "again"),
    [(FIRST, AGAIN), ({"SLURM_JOB_ID": "7"}, REQUEUED)],
    ids=["torchrun", "srun"],
)
def test_a_restart_resumes_its_own_run_and_no_earlier_one(monkeypatch, tmp_path, first, again):
    assert not start(monkeypatch, tmp_path, **first)
    assert not start(monkeypatch, tmp_path, **again)  # nothing was saved
    (tmp_path / "last_checkpoint").touch()  # of an earlier run
    assert not start(monkeypatch, tmp_path, **first)
    assert not start(monkeypatch, tmp_path, **again)  # the first has not put it aside
    with program_claims(tmp_path):
        assert not (tmp_path / "last_checkpoint").exists()
    (tmp_path / "last_checkpoint").touch()  # its own
    assert start(monkeypatch, tmp_path, **again)


def program_claims(folder):
    from lowres_d2.engine.run_folder import claimed

    return claimed(folder, fresh=True)


def test_a_start_by_hand_leaves_no_mark_and_resume_is_obeyed(monkeypatch, tmp_path):
    (tmp_path / "last_checkpoint").touch()
    assert not start(monkeypatch, tmp_path)
    assert [path.name for path in Path(tmp_path).iterdir()] == ["last_checkpoint"]
    assert start(monkeypatch, tmp_path, ["--resume"], **FIRST)
    assert start(monkeypatch, tmp_path, ["--resume"])
