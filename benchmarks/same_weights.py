"""Whether two commits train quick recipes to the same weights, bit for bit.

    python benchmarks/same_weights.py --against REVISION [--iterations 20]

This is what a refactor must not change. The revision is checked out into a temporary worktree.
There and in this working tree ``train_net.py`` trains each recipe for a few iterations from a fixed
seed, in the same Python, on data that each tree generates itself, so that generated data, recipes,
models and learning rates are compared, too. Each tree reads its own recipes, whose keys may have
been renamed in between. Exit code 1 where a tensor differs.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import lowres_d2  # noqa: F401
from lowres_d2.programs.command import summary_of

import torch

ROOT = Path(__file__).resolve().parents[1]
WEIGHTS = "model_final.pth"


@dataclass(frozen=True)
class Case:
    """A recipe to train for a few iterations.

    Attributes:
        name: of its output folder.
        recipe: its file.
        stages: shares of the iterations that stages last, by index; one left out lasts the rest.
        start: key that takes the weights of an earlier case, and that case's name.
    """

    name: str
    recipe: str
    stages: Mapping[int, float] = field(default_factory=dict)
    start: tuple[str, str] | None = None

    def command(self, folder: Path, iterations: int) -> list[str]:
        """Words of the command that trains it in ``folder``, without a last evaluation."""
        changes = [
            "train.device=cpu",
            f"train.max_iter={iterations}",
            f"train.output_dir={folder / self.name}",
            f"train.checkpointer.period={iterations}",
            "train.eval_period=0",
            "train.teacher_check.min_ap=0",  # it has learned nothing in so few iterations
            f"dataloader.train.dataset.root={folder / 'plates'}",
            "dataloader.train.dataset.num_images=48",
            "dataloader.test.dataset.num_images=8",
            *(
                f"train.stages.{k}.iterations={max(1, int(share * iterations))}"
                for k, share in self.stages.items()
            ),
        ]
        if self.start:
            key, case = self.start
            changes.append(f"{key}={folder / case / WEIGHTS}")
        return [sys.executable, "train_net.py", "--config-file", self.recipe, *changes]


THUMBDET, FEATURE_SR = "projects/ThumbDet/configs/quick/", "projects/FeatureSR/configs/quick/"
CASES = (
    Case("teacher", f"{THUMBDET}teacher_fcos_small_256_plates.py"),
    Case(
        "thumbdet",
        f"{THUMBDET}thumbdet4_fcos_small_64_plates.py",
        stages={0: 0.3, 2: 0.3},
        start=("model.teacher.checkpoint", "teacher"),
    ),
    Case("base", f"{FEATURE_SR}base_faster_rcnn_small_256_plates.py"),
    Case(
        "feature_sr",
        f"{FEATURE_SR}feature_sr_faster_rcnn_small_256_plates.py",
        stages={0: 0.6},
        start=("train.init_checkpoint", "base"),
    ),
)


@contextlib.contextmanager
def checked_out(revision: str) -> Iterator[Path]:
    """The tree of a revision, in a folder of its own for as long as it is needed."""
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder, "tree")
        worktree = ["git", "-C", str(ROOT), "worktree"]
        subprocess.run([*worktree, "add", "--quiet", "--detach", tree, revision], check=True)
        try:
            yield tree
        finally:
            subprocess.run([*worktree, "remove", "--force", tree], check=True)


def train_cases(tree: Path, folder: Path, iterations: int) -> dict[str, dict[str, torch.Tensor]]:
    """Weights of each case as ``tree`` trains it, in one thread."""
    # The tree before an installed package, whichever that was installed from.
    environment = os.environ | {"PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1"}
    trained = {}
    for case in CASES:
        print(f"{tree.name}: {case.name}", flush=True)
        done = subprocess.run(
            case.command(folder, iterations),
            cwd=tree,
            env=environment,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise SystemExit(f"{case.recipe} failed in {tree}:\n{done.stdout}{done.stderr}")
        weights = torch.load(folder / case.name / WEIGHTS, weights_only=True)
        trained[case.name] = weights["model"]
    return trained


def differences(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> list[str]:
    """Names of tensors that only one has, or that differ in any bit."""
    return sorted(
        name
        for name in a.keys() | b.keys()
        if name not in a or name not in b or not torch.equal(a[name], b[name])
    )


def main() -> int:
    """Train in both trees and compare; exit code 1 where something differs."""
    parser = argparse.ArgumentParser(description=summary_of(__file__))
    parser.add_argument("--against", required=True, metavar="REVISION", help="commit to compare to")
    parser.add_argument("--iterations", type=int, default=20, help="of each recipe")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, checked_out(options.against) as before:
        then = train_cases(before, Path(folder, "then"), options.iterations)
        now = train_cases(ROOT, Path(folder, "now"), options.iterations)
    failed = False
    for case in CASES:
        different = differences(then[case.name], now[case.name])
        failed |= bool(different)
        verdict = f"differ, first {different[0]}" if different else "the same bits"
        print(f"{case.name:12} {len(now[case.name]):4} tensors: {verdict}")
    return int(failed)


if __name__ == "__main__":
    raise SystemExit(main())
