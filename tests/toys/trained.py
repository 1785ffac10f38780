"""A finished run, whose weights and checkpoint tests corrupt."""

from lowres_d2.programs.train import main

import torch

from toys.data import ToyData
from toys.runs import PLAIN

SCORE = "detector.head.cls_score.weight"  # one of its tensors


class Trained:
    """A data set, and a finished run of two iterations on it."""

    def __init__(self, folder):
        self.data = ToyData(folder / "data")
        self.data.write()
        self.folder = folder / "run"
        main(self.arguments(self.folder))
        self.file = self.folder / "model_final.pth"

    def arguments(self, output_dir, recipe=PLAIN):
        overrides = self.data.overrides()
        return ["--config-file", str(recipe), *overrides, f"train.output_dir={output_dir}"]

    def checkpoint(self):
        """Contents of its last checkpoint, as if it were the one after the first iteration."""
        state = torch.load(self.file, weights_only=True)
        state["trainer"]["iteration"] = 0
        return state
