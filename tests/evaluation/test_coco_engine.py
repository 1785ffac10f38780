"""The engine against pycocotools: random cases, and published answers on real annotation files."""

from __future__ import annotations

import contextlib
import io
import json
import math
import runpy
import sys
from pathlib import Path

from lowres_d2.evaluation.coco_engine import COCO_IOU_THRESHOLDS, match_boxes, score_boxes
from lowres_d2.evaluation.size_ranges import SizeRanges

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

ROOT = Path(__file__).parents[2]
REAL = ROOT.parent / "shared" / "data" / "annotations"
COCO_AREAS = SizeRanges.from_config("coco").areas()
# Tables of two kinds may have a range in common.
AREAS = [(0, math.inf), *COCO_AREAS, COCO_AREAS[1]]


def twelve_metrics(truth: dict, detections: list[dict]) -> np.ndarray:
    """COCO's twelve metrics from our engine, -1 for None."""
    scores = score_boxes(truth, detections, AREAS, (1, 10, 100))
    metrics = [scores.ap(0), scores.ap(0, 0.5), scores.ap(0, 0.75)]
    metrics += [scores.ap(k) for k in (1, 2, 3)]
    metrics += [scores.recall_at(0, max_dets=cap) for cap in (1, 10, 100)]
    metrics += [scores.recall_at(k) for k in (1, 2, 3)]
    return np.array([-1 if metric is None else metric for metric in metrics])


def pycocotools_arrays(truth: dict, detections: list[dict], caps: list[int]) -> dict:
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = truth
        coco.createIndex()
        found = coco.loadRes(detections) if detections else COCO()
        run = COCOeval(coco, found, "bbox")
        run.params.areaRng, run.params.areaRngLbl = AREAS, [str(k) for k in range(len(AREAS))]
        run.params.maxDets = caps
        run.evaluate()
        run.accumulate()
    return run.eval


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
    """Scenes of few images, some without objects or detections."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    number, most = draw(st.integers(1, 4)), draw(st.sampled_from([0, 1, 9]))
    truth, detections = crowded(rng, draw(st.sampled_from([[1], [0, 7], [3, 1, 2]])), number, most)
    return truth, draw(st.sampled_from([detections, detections, []]))


def crowded(
    rng: np.random.Generator, classes: list[int], number: int = 4, most: int = 9
) -> tuple[dict, list[dict]]:
    """Ground truth and detections with ties, borders of size ranges, crowds and near misses."""
    categories, truth, detections = classes, [], []
    ids = rng.choice(2**40, number, replace=False).tolist()
    for image_id in ids:
        for _ in range(rng.integers(0, most + 1)):
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
@given(cases(), st.sampled_from([[1, 10, 100], [2], [1, 3, 1500]]))
def test_every_entry_is_pycocotools_own(case, caps):
    truth, detections = case
    expected = pycocotools_arrays(truth, detections, caps)
    scores = score_boxes(truth, detections, AREAS, caps)
    np.testing.assert_array_equal(scores.precision, expected["precision"][..., -1])
    np.testing.assert_array_equal(scores.recall, expected["recall"])


def test_ten_thousand_classes_are_as_few():
    truth, detections = crowded(np.random.default_rng(1), classes=[3, 7, 8000])
    settings = (detections, AREAS[:1], (1, 100), [0.5])
    few = score_boxes(truth, *settings)
    many = score_boxes(truth | {"categories": [{"id": k} for k in range(10_000)]}, *settings)
    classes = [3, 7, 8000]
    np.testing.assert_array_equal(many.precision[:, :, classes], few.precision)
    np.testing.assert_array_equal(many.recall[:, classes], few.recall)
    rest = np.delete(many.precision, classes, axis=2)
    assert (rest == -1).all() and many.ap(0) == few.ap(0) > 0


def test_matches_are_those_of_the_recall():
    truth, detections = crowded(np.random.default_rng(2), classes=[1, 2])
    for area, cap in ((AREAS[0], 100), (AREAS[1], 100), (AREAS[0], 3)):
        matches = match_boxes(truth, detections, cap, COCO_IOU_THRESHOLDS, area)
        recall = score_boxes(truth, detections, [area], [cap]).recall[:, :, 0, 0]
        labels = np.array([detections[k]["category_id"] for k in matches.detections])
        hits = (matches.objects >= 0) & ~matches.ignored
        for k, category in enumerate((1, 2)):
            objects = sum(
                not a["iscrowd"] and area[0] <= a["area"] <= area[1]
                for a in truth["annotations"]
                if a["category_id"] == category
            )
            np.testing.assert_allclose(hits[:, labels == category].sum(1) / objects, recall[:, k])
        ids = [detections[k]["image_id"] for k in matches.detections]
        in_order = sorted(image["id"] for image in truth["images"])
        assert [in_order[k] for k in matches.images] == ids
        assert max(map(ids.count, ids)) <= 2 * cap
        matched = np.argwhere(matches.objects >= 0)
        for t, d in matched:
            row = truth["annotations"][matches.objects[t, d]]
            assert (row["image_id"], row["category_id"]) == (ids[d], labels[d])


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
