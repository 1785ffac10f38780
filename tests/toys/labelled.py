"""Classification without training: images in memory, and runs with given predictions."""

import json

from lowres_d2.analysis import Run
from lowres_d2.evaluation import ClassificationEvaluator
from lowres_d2.evaluation.shown import ShownMetrics

import numpy as np
import torch

from toys.batch_files import BatchFolder

SIDE = 8


class LabelledToys(list):
    """Images of one colour each, of classes in turn."""

    source = "toys"

    def __init__(self, number=12, classes=("red", "green", "blue")):
        self.classes = list(classes)
        for k in range(number):
            image = torch.zeros(3, SIDE, SIDE, dtype=torch.uint8)
            image[k % len(classes) % 3] = 250
            size = {"height": SIDE, "width": SIDE}
            label = {"image_id": k + 1, "label": k % len(classes)}
            self.append({"image": image} | size | label)


def classified_run(dataset, folder, name, wrong, costs=(None, None), view=None):
    """A run that takes the images at the places ``wrong`` for the next class."""
    evaluator = ClassificationEvaluator(dataset, folder / name)
    number = len(dataset.classes)
    for k, record in enumerate(dataset):
        scores = torch.full((number,), 0.2 / number)
        scores[(record["label"] + (k in wrong)) % number] = 0.8
        evaluator.process([record], [{"scores": scores}])
    results = evaluator.evaluate()
    rows = [
        {"iteration": k, "total_loss": 2 / (k + 1), "classification/top1": 10.0 * k}
        for k in range(5)
    ]
    metrics = folder / f"{name}.json"
    metrics.write_text("".join(json.dumps(row) + "\n" for row in rows))
    shown = ShownMetrics.of(evaluator)
    return Run(
        name,
        results,
        metrics,
        folder / name / shown.predictions,
        5,
        75.0,
        evaluator,
        images_per_second=costs[0],
        macs=costs[1],
        **({} if view is None else {"view": view}),
    )


def write_cifar(folder, number=20):
    """CIFAR-10's files with a few images of one colour a class; the folder."""
    files = BatchFolder(folder / "cifar-10-batches-py")
    for name in (*(f"data_batch_{k}" for k in range(1, 6)), "test_batch"):
        labels = [k % 10 for k in range(number)]
        noise = files.random.integers(0, 40, (number, 3 * 32**2), dtype=np.uint8)
        pixels = noise + np.uint8(20 * np.array(labels))[:, None]
        files.write(name, {"data": pixels, "labels": labels})
    files.write("batches.meta", {"label_names": [f"class {k}" for k in range(10)]})
    return folder
