"""The engine against pycocotools: random cases, and published answers on real annotation files."""

from __future__ import annotations

import contextlib
import io
import json
import math
import runpy
import sys
from pathlib import Path

from lowres_d2.evaluation.coco_engine import score_boxes
from lowres_d2.evaluation.size_ranges import SizeRanges

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

ROOT = Path(__file__).parents[2]
REAL = ROOT.parent / "shared" / "data" / "annotations"
AREAS = [(0, math.inf), *SizeRanges.from_config("coco").areas()]


def twelve_metrics(truth: dict, detections: list[dict]) -> np.ndarray:
    """COCO's twelve metrics from our engine, -1 for None."""
    scores = score_boxes(truth, detections, AREAS, (1, 10, 100))
    metrics = [scores.ap(0), scores.ap(0, 0.5), scores.ap(0, 0.75)]
    metrics += [scores.ap(k) for k in (1, 2, 3)]
    metrics += [scores.recall_at(0, max_dets=cap) for cap in (1, 10, 100)]
    metrics += [scores.recall_at(k) for k in (1, 2, 3)]
    return np.array([-1 if metric is None else metric for metric in metrics])


def pycocotools_metrics(truth: dict, detections: list[dict]) -> np.ndarray:
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = truth
        coco.createIndex()
        run = COCOeval(coco, coco.loadRes(detections), "bbox")
        run.evaluate()
        run.accumulate()
        run.summarize()
    return run.stats


@st.composite
def cases(draw) -> tuple[dict, list[dict]]:
    """Ground truth and detections with ties, borders of size ranges, crowds and near misses."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    ids = rng.choice(1000, draw(st.integers(1, 4)), replace=False).tolist()
    categories = draw(st.sampled_from([[1], [0, 7], [3, 1, 2]]))
    truth, detections = [], []
    for image_id in ids:
        for _ in range(rng.integers(0, 9)):
            side = rng.choice([6, 12, 32, 40, 96, 130], 2)
            box = [*rng.integers(0, 200, 2).tolist(), *side.tolist()]
            category = int(rng.choice(categories))
            truth.append(
                {
                    "id": len(truth) + 1,
                    "image_id": image_id,
                    "category_id": category,
                    "bbox": box,
                    "area": int(side[0] * side[1] * rng.choice([1, 2]) // 2),
                    "iscrowd": int(rng.random() < 0.15),
                }
            )
            for _ in range(rng.integers(0, 4)):
                moved = (np.array(box) + rng.normal(0, side.mean() / 12, 4)).clip(1).tolist()
                detections.append(
                    {
                        "image_id": int(rng.choice([image_id, image_id, ids[0]])),
                        "category_id": int(rng.choice([category, category, categories[0]])),
                        "bbox": moved,
                        "score": float(rng.integers(1, 8) / 8),
                    }
                )
    images = [{"id": image_id, "height": 400, "width": 400} for image_id in ids]
    return (
        {"images": images, "annotations": truth, "categories": [{"id": k} for k in categories]},
        detections,
    )


@settings(max_examples=60, deadline=None)
@given(cases())
def test_equal_to_pycocotools_on_random_cases(case):
    truth, detections = case
    if truth["annotations"] and detections:
        expected = pycocotools_metrics(truth, detections)
        np.testing.assert_allclose(twelve_metrics(truth, detections), expected, atol=1e-9, rtol=0)


def test_the_benchmark_runs(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["coco_evaluation.py", "--quick"])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(ROOT / "benchmarks" / "coco_evaluation.py"), run_name="__main__")
    assert end.value.code == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [
        *("classes", "8", "1")
    ]


@pytest.mark.parametrize(
    ("truth", "detections", "known"),
    [
        (
            "seadronessee/instances_val_iscrowd.json",
            "seadronessee/result_all_classes.json",
            [
                0.391613,
                0.708880,
                0.377303,
                0.297364,
                0.427356,
                0.607728,
                0.304416,
                0.457640,
                0.457711,
                0.344866,
                0.506879,
                0.682533,
            ],
        ),
        (
            "visdrone/coco_evaluate_dataset.json",
            "visdrone/coco_evaluate_result.json",
            [
                0.071954,
                0.184978,
                0.069383,
                -1,
                -1,
                0.077099,
                0.011876,
                0.032862,
                0.075788,
                -1,
                -1,
                0.075788,
            ],
        ),
    ],
)
def test_known_answers_on_real_files(truth, detections, known):
    if not REAL.is_dir():
        pytest.skip(f"no folder {REAL}")
    truth, detections = (json.loads((REAL / name).read_text()) for name in (truth, detections))
    ours = twelve_metrics(truth, detections)
    np.testing.assert_allclose(ours, known, atol=6e-7, rtol=0)
    np.testing.assert_allclose(ours, pycocotools_metrics(truth, detections), atol=1e-9, rtol=0)


def test_ids_that_are_words_or_zero_change_nothing():
    truth = {
        "images": [{"id": "b"}, {"id": "a"}],
        "categories": [{"id": 0}],
        "annotations": [
            {
                "image_id": name,
                "category_id": 0,
                "bbox": [0, 0, 9, 9],
                "area": 81,
                "iscrowd": 0,
                "id": k,
            }
            for k, name in enumerate("ab")
        ],
    }
    detections = [
        {"image_id": n, "category_id": 0, "bbox": [0, 0, 9, 9], "score": 1.0} for n in "ab"
    ]
    scores = score_boxes(truth, detections, AREAS, (1, 10, 100))
    assert scores.ap(0) == pytest.approx(1)
    assert scores.ap(2) is None
