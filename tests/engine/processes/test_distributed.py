"""Several real processes: they train, evaluate, fail and are started again as one."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from lowres_d2.data import build_test_loader
from lowres_d2.data.datasets import CocoDataset
from lowres_d2.engine.processes.environment import join_group, meet
from lowres_d2.engine.processes.first_failure import FirstFailure, is_lost_contact, lost
from lowres_d2.engine.processes.folder_lock import folder_lock
from lowres_d2.engine.processes.membership import find_membership
from lowres_d2.evaluation import SizedCOCOEvaluator
from lowres_d2.programs.train import main

import pytest
import torch
import torch.distributed as dist
from detectron2.evaluation import inference_on_dataset
from detectron2.structures import Boxes, BoxMode, Instances

from toys.data import write_coco
from toys.runs import ANY_FACTOR, PLAIN, run_overrides

ROOT = Path(__file__).resolve().parents[3]
MAIN = "lowres_d2.programs.train:main"
NO_BATCH_NORM = "+model.detector.backbone.bottom_up.norm=FrozenBN"
SIZES = (0, 1, 2, 3, 5, 7)


def weights(folder):
    return torch.load(folder / "model_final.pth", weights_only=True)


def assert_same_bits(folder, other):
    a, b = weights(folder), weights(other)
    assert a["run"] == b["run"] and a["trainer"]["iteration"] == b["trainer"]["iteration"]
    assert all(torch.equal(value, b["model"][name]) for name, value in a["model"].items())


def losses(folder):
    lines = map(json.loads, (folder / "metrics.json").read_text().splitlines())
    return [{k: v for k, v in line.items() if "loss" in k} for line in lines if "lr" in line]


def succeeded(ends):
    assert [end.code for end in ends] == [0] * len(ends), ends[-1].text[-2000:]


def evaluation(folder):
    return json.loads((folder / "evaluation.json").read_text())


def command(program, *arguments):
    """Run it as a real process."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.Popen(
        [sys.executable, *program, *map(str, arguments)],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
@pytest.mark.parametrize("more", [(), ANY_FACTOR], ids=["plain", "any factor"])
def test_two_processes_have_the_losses_and_weights_of_one(toy_arguments, tmp_path, ranks, more):
    one, two = tmp_path / "one", tmp_path / "two"
    # Adam's steps have the learning rate's length, also where rounding decides on their sign.
    small = ["optimizer.lr=0.002", "train.log_period=1"]
    arguments = [*toy_arguments, NO_BATCH_NORM, *small, *more]
    main([*arguments, f"train.output_dir={one}"])
    succeeded(ranks.run(MAIN, *arguments, f"train.output_dir={two}"))
    assert len(losses(one)) == 6
    for ours, theirs in zip(losses(one), losses(two), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-5)
    a, b = weights(one), weights(two)
    assert a["run"] == b["run"]  # also the running number of positive cells
    for name, value in a["model"].items():
        torch.testing.assert_close(value, b["model"][name], rtol=1e-4, atol=2e-5)
    assert evaluation(two)["bbox"]["GT-all"] == 6


@pytest.fixture(scope="module")
def whole(ranks, coco_json, tmp_path_factory):
    """Folder and arguments of an uninterrupted run of two processes, with batch norm.

    Each process's batch norm sees images of its own.
    """
    folder = tmp_path_factory.mktemp("whole")
    arguments = [
        "--config-file",
        PLAIN,
        *run_overrides(coco_json, iterations=6, log_period=20),
        "train.eval_period=3",
        "train.checkpointer.period=2",
        "train.ema.enabled=true",
        "train.ema.decay=0.5",
        "model.detector.test_score_thresh=0.0",
    ]
    succeeded(ranks.run(MAIN, *arguments, f"train.output_dir={folder}"))
    return folder, arguments


@pytest.mark.slow
def test_what_two_processes_evaluate_is_what_they_saved(whole, tmp_path):
    folder, arguments = whole
    again = f"train.output_dir={tmp_path}"
    init = f"train.init_checkpoint={folder / 'model_final.pth'}"
    main(["--eval-only", *arguments, again, init])
    assert evaluation(tmp_path) == evaluation(folder)


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_process_ends_the_run_which_resumes_to_the_same_bits(whole, ranks, tmp_path, rank):
    folder, arguments = whole
    arguments = [*arguments, f"train.output_dir={tmp_path}"]
    ends = ranks.run(MAIN, *arguments, fails=f"{rank} 4 killed")
    survivor = ends[1 - rank]
    assert ends[rank].code == -signal.SIGKILL and survivor.code == 1
    assert survivor.seconds - ends[rank].seconds < 30
    (error,) = survivor.errors
    assert "lost contact with another process" in error and "--resume" in error
    assert "Traceback" not in survivor.text
    succeeded(ranks.run(MAIN, "--resume", *arguments))
    assert_same_bits(tmp_path, folder)
    assert evaluation(tmp_path) == evaluation(folder)


@pytest.mark.slow
@pytest.mark.parametrize(("rank", "way"), [(0, "mistake"), (1, "mistake"), (1, "defect")])
def test_a_process_that_fails_reports_why_and_ends_the_others(whole, ranks, tmp_path, rank, way):
    arguments = [*whole[1], f"train.output_dir={tmp_path}"]
    ends = ranks.run(MAIN, *arguments, fails=f"{rank} 1 {way}")
    assert [end.code for end in ends] == [1, 1]
    assert max(end.seconds for end in ends) - ends[rank].seconds < 30
    culprit, other = ends[rank], ends[1 - rank]
    assert not other.errors and "Traceback" not in other.text
    if way == "mistake":
        assert culprit.errors == ["error: 17.png: no such image"]
        assert "Traceback" not in culprit.text
    else:
        assert culprit.text.count("AttributeError: a defect") == 1


@pytest.mark.slow
def test_an_error_of_all_processes_is_reported_once(whole, ranks):
    for extra, words in [("train.max_itr=3", "train.max_itr"), ("--num-gpus=2", "contradict")]:
        flags = [extra] if extra.startswith("--") else []
        ends = ranks.run(MAIN, *flags, *whole[1], *([] if flags else [extra]))
        assert [end.code for end in ends] == [1, 1]
        (error,) = ends[0].errors + ends[1].errors
        assert words in error


@pytest.mark.slow
def test_a_folder_in_use_is_one_error_of_all_processes(whole, ranks, tmp_path):
    with folder_lock(tmp_path / ".lock"):
        ends = ranks.run(MAIN, *whole[1], f"train.output_dir={tmp_path}")
        assert [path.name for path in tmp_path.iterdir()] == [".lock"]
    assert [end.code for end in ends] == [1, 1]
    (error,) = ends[0].errors + ends[1].errors
    assert f"{tmp_path} is in use by process {os.getpid()} on " in error


@pytest.mark.slow
def test_a_run_restarted_by_torchrun_resumes_automatically(whole, tmp_path):
    folder, arguments = whole
    for name in ("last_checkpoint", "model_0000001.pth"):  # of an earlier run: not to be resumed
        (tmp_path / name).write_text("model_0000001.pth")
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    program = [*torchrun, "--max-restarts=1", "tests/toys/failing_run.py"]
    os.environ["FAILS"] = f"1 4 killed {tmp_path / 'failed'}"
    try:
        run = command(program, *arguments, f"train.output_dir={tmp_path}")
        text, errors = run.communicate(timeout=300)
    finally:
        del os.environ["FAILS"]
    assert run.returncode == 0, errors[-2000:]
    assert (tmp_path / "failed").exists()
    assert "resumed at iteration" in text
    assert_same_bits(tmp_path, folder)


@pytest.mark.slow
def test_num_gpus_starts_processes_and_names_the_killed_one(whole, tmp_path):
    os.environ["FAILS"] = f"1 4 killed {tmp_path / 'failed'}"
    try:
        program = ["tests/toys/failing_run.py", "--num-gpus", "2"]
        run = command(program, *whole[1], f"train.output_dir={tmp_path}")
        text, errors = run.communicate(timeout=300)
    finally:
        del os.environ["FAILS"]
    assert run.returncode == 1
    (error,) = [line for line in errors.splitlines() if line.startswith("error: ")]
    assert "process 1 of 2 was ended by SIGKILL" in error
    assert "Traceback" not in text + errors
    assert (tmp_path / "last_checkpoint").exists()


def test_only_the_first_process_that_fails_can_claim_it():
    store = dist.HashStore()
    first, second = FirstFailure(store), FirstFailure(store)
    assert first.claim() and not second.claim()
    assert FirstFailure().claim() and FirstFailure().claim()  # each is a single process


def test_errors_from_a_lost_process_are_distinguished_from_others():
    gloo = RuntimeError(
        "[/home/x/gloo/gloo/transport/tcp/pair.cc:545] Read error [::1]:5: Connection reset by "
        "peer. This is typically caused by a remote worker"
    )
    assert is_lost_contact(gloo) and is_lost_contact(dist.DistNetworkError("broken pipe"))
    assert not is_lost_contact(RuntimeError("CUDA error"))
    assert not is_lost_contact(ValueError("/data/gloo/transport/1.png: no such image"))
    assert "(Read error [::1]:5: Connection reset by peer)" in lost(str(gloo))


def own_samples(record):
    return {"image_id": record["image_id"], "objects": record["annotations"]}


def find_all(batch):
    """A detector that finds everything."""
    found = []
    for sample in batch:
        boxes = [BoxMode.convert(x["bbox"], x["bbox_mode"], 0) for x in sample["objects"]]
        instances = Instances((64, 64), pred_boxes=Boxes(torch.tensor(boxes).reshape(-1, 4)))
        instances.scores = torch.ones(len(boxes))
        instances.pred_classes = torch.tensor([x["category_id"] for x in sample["objects"]])
        found.append({"instances": instances})
    return found


def evaluate_sets(arguments):
    """Program of a rank: evaluates sets of several sizes; writes the images seen, and results."""
    member = find_membership(os.environ)
    join_group(member, meet(member))
    for path in map(Path, arguments):
        seen = []

        def model(batch, seen=seen):
            seen += [sample["image_id"] for sample in batch]
            return find_all(batch)

        dataset = CocoDataset(path / "all.json")
        loader = build_test_loader(dataset, own_samples, batch_size=2)
        results = inference_on_dataset(model, loader, SizedCOCOEvaluator(dataset))
        (path / f"rank{member.rank}.json").write_text(json.dumps([seen, results]))
    dist.destroy_process_group()


@pytest.mark.slow
def test_evaluation_sees_every_image_once_whatever_the_size_of_the_set(ranks, tmp_path):
    folders = [write_coco(tmp_path / f"set{size}", size).parent for size in SIZES if size]
    succeeded(ranks.run("engine.processes.test_distributed:evaluate_sets", *folders))
    for size, folder in zip(SIZES[1:], folders, strict=True):
        (seen, results), (others, nothing) = (
            json.loads((folder / f"rank{rank}.json").read_text()) for rank in (0, 1)
        )
        assert seen + others == list(range(1, size + 1))
        assert abs(len(seen) - len(others)) <= 1
        assert results["bbox"]["AP"] == pytest.approx(100)
        assert results["bbox"]["GT-all"] == size
        assert nothing == {}


@pytest.mark.slow
def test_a_set_without_images_is_one_error(whole, ranks, tmp_path):
    path = write_coco(tmp_path / "empty", 0)
    ends = ranks.run(MAIN, *whole[1], f"data.val_json={path}", f"train.output_dir={tmp_path}")
    assert [end.code for end in ends] == [1, 1]
    assert len(ends[0].errors + ends[1].errors) == 1
