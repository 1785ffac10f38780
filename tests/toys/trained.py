"""Finished runs: one that is trained, to be corrupted, and a quick one of random weights."""

from lowres_d2.engine.build import build_model
from lowres_d2.engine.identity import recipe_text
from lowres_d2.programs.train import main
from lowres_d2.recipes.load import load_recipe

import torch

from toys.data import CLASSES, SIDE, ToyData
from toys.runs import PLAIN

UNTRAINED = "configs/own_data/bicubic4_fcos_small_own.py"  # recipe of the random weights
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


def write_untrained_run(folder, coco_json, recipe=UNTRAINED, overrides=(), sure=0.0):
    """Write recipe and random weights; returns the folder and the detector.

    Args:
        folder: a new one.
        coco_json: the data set.
        recipe: of own data.
        overrides: more of the recipe.
        sure: added to the logits of all scores, which are under 0.02 by themselves.
    """
    folder.mkdir()
    data = [f"data.{split}_json={coco_json}" for split in ("train", "val")]
    resized = f"dataloader.test.mapper.augmentations.0.short_edge_length={SIDE}"
    more = ["train.device=cpu", f"train.output_dir={folder}", *overrides]
    cfg = load_recipe(recipe, [*data, resized, *more])
    text = recipe_text(cfg)
    (folder / "config.yaml").write_text(text)
    model = build_model(cfg).eval()
    model.detector.head.cls_score.bias.data += sure
    state = {"model": model.state_dict(), "classes": CLASSES, "recipe": text}
    torch.save(state, folder / "model_final.pth")
    return folder, model
