"""The quick benchmarks of ``lowres-d2 reproduce``: their recipes and how they depend."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


def folder_name(title: str) -> str:
    """A title as the name of a folder, without spaces."""
    return re.sub(r"\W+", "_", title).strip("_")


@dataclass(frozen=True)
class Row:
    """A detector or classifier of a comparison.

    Attributes:
        recipe: its file.
        overrides: ``key=value``: a variant that differs by them alone needs no file of its own.
        from_first: whether it gets the first model's weights; else it trains alone.
        weights_of: recipe key, such as ``train.init_checkpoint``, to the title of an earlier row or
            of a prepared network: the key gets the weights it has at its end, with the same seed.
        curve: its line of the sheet "curves" and its place there, a value of the setting that the
            sheet is about; None: what the line is compared with.
    """

    recipe: str
    overrides: Sequence[str] = ()
    from_first: bool = True
    weights_of: Mapping[str, str] = field(default_factory=dict)
    curve: tuple[str, float | None] | None = None

    def folder(self, title: str) -> str:
        """Name of its folder: the recipe's, or the title's where the recipe is not all of it."""
        alone = not (self.overrides or self.weights_of)
        return Path(self.recipe).stem if alone else folder_name(title)


@dataclass(frozen=True)
class Benchmark:
    """A comparison of detectors or of classifiers; it takes minutes on a CPU.

    Attributes:
        title: heading of the report.
        first: recipe of the detector that is trained from scratch and that all others start from;
            empty: there is none.
        first_title: its name in tables and figures; empty where there is none.
        weights_key: recipe key with which the others get its weights.
        longer: recipe that trains the first detector further, for as many iterations as the others;
            empty: it is trained for as many from the beginning.
        longer_title: its name; empty where there is none.
        students: rows by title, of what is trained with every seed.
        prepared: networks by title that some of them use, trained before them with every seed; all
            of one evaluator, whose columns are a table of their own.
        method_title: which student the benchmark is about; empty: the last one.
        baseline: title of what the method is compared with.
        variants: more students, trained on request.
        sheets: figures of the report; see ``lowres_d2.programs.reproduce_figures``.
        thumbnails: students whose thumbnails are drawn, if they were trained; empty: all.
        closes_gap: whether ``full_title`` is out of reach, and the table tells which share of the
            distance to it is covered.
        curves_over: name of the setting whose values the sheet "curves" compares.
        data: what its images are, for the report.
        also_compared: pairs of titles of trained rows; the report states by how much the first of
            each is better than the second, with its interval, as of the method and the baseline.
    """

    title: str
    first: str
    first_title: str
    weights_key: str
    longer: str
    longer_title: str
    students: Mapping[str, Row]
    baseline: str
    prepared: Mapping[str, Row] = field(default_factory=dict)
    method_title: str = ""
    variants: Mapping[str, Row] = field(default_factory=dict)
    sheets: Sequence[str] = ()
    thumbnails: Sequence[str] = ()
    closes_gap: bool = False
    curves_over: str = ""
    data: str = "Generated plates"
    also_compared: Sequence[tuple[str, str]] = ()

    @property
    def full_title(self) -> str:
        """Name of the first model after as many iterations as the others."""
        return self.longer_title or self.first_title

    @property
    def method(self) -> str:
        """Title of the student that the benchmark is about."""
        return self.method_title or list(self.students)[-1]


_BOTTOM_HEAVY = "projects/BottomHeavy/configs/quick/"
_COLOURS_KEPT = "learned + distillation, colours kept"
_THUMBDET = "projects/ThumbDet/configs/quick/"
_THUMBDET_DETR = "projects/ThumbDet/configs/quick_detr/"
_DFD = "projects/DFD/configs/quick/"
_DFR_DET = "projects/DFRDet/configs/quick/"
_FEATURE_SR = "projects/FeatureSR/configs/quick/"


def _thumbdet(factor: int, side: int, early: str) -> Benchmark:
    """``early``: the smaller detector at full resolution that costs as much as the thumbnails."""

    def small(name: str, from_first: bool) -> Row:
        file = f"{_THUMBDET}{early}{name}_fcos_small_256_plates.py"
        return Row(file, from_first=from_first)

    def recipe(name: str, *overrides: str) -> Row:
        return Row(f"{_THUMBDET}{name}{factor}_fcos_small_{side}_plates.py", overrides)

    return Benchmark(
        title=f"ThumbDet at {factor}x",
        first=_THUMBDET + "teacher_fcos_small_256_plates.py",
        first_title="teacher",
        weights_key="model.teacher.checkpoint",
        longer=_THUMBDET + "full_fcos_small_256_plates.py",
        longer_title="full resolution",
        students={
            "bicubic": recipe("bicubic"),
            "smaller detector, full resolution": small("", from_first=False),
            "smaller detector, distilled": small("_distilled", from_first=True),
            "learned": recipe("learned"),
            "learned + distillation": recipe("thumbdet"),
        },
        baseline="bicubic",
        variants={
            "wide thumbnails + distillation": recipe("wide"),
            "bicubic + distillation": recipe("bicubic_distilled"),
            "learned + the paper's distillation": recipe("paper"),
            # Its last stage, labels alone, would let the thumbnail's colours go.
            _COLOURS_KEPT: recipe("thumbdet", "train.stages.2.losses=[detector,moments]"),
        },
        sheets=("thumbnails", "detections"),
        thumbnails=("bicubic", "learned", _COLOURS_KEPT, "learned + distillation"),
        closes_gap=True,
    )


def _thumbdet_detr() -> Benchmark:
    """The paper's own detector and losses: the rows of its Tables 3 to 6, in small."""

    def file(name: str, side: int = 64) -> str:
        return f"{_THUMBDET_DETR}{name}_deformable_detr_small_{side}_plates.py"

    def row(name: str, *overrides: str) -> Row:
        return Row(file(f"{name}4"), overrides)

    return Benchmark(
        title="ThumbDet with Deformable DETR",
        first=file("teacher", 256),
        first_title="teacher",
        weights_key="model.teacher.checkpoint",
        longer=file("full", 256),
        longer_title="full resolution",
        students={
            "bicubic": row("bicubic"),
            "learned, one layer": row("learned", "model.resampler.layers=1"),
            "learned, five layers": row("learned", "model.resampler.layers=5"),
            "learned, one stage": row("learned_one_stage"),
            "learned, frozen after its stage": row("learned_frozen"),
            "learned": row("learned"),
            "learned, from a box filter": row("learned", "model.resampler.init=box"),
            "+ logits, unfiltered": row("logits", "model.objectives.1.threshold=0"),
            "+ logits": row("logits"),
            "+ features": row("features"),
            "+ logits + features, T = 0.5": row("thumbdet", "model.objectives.2.temperature=0.5"),
            "+ logits + features, T = 1.5": row("thumbdet", "model.objectives.2.temperature=1.5"),
            "+ logits + features, T = 2": row("thumbdet", "model.objectives.2.temperature=2"),
            "+ logits + features": row("thumbdet"),
        },
        baseline="bicubic",
        sheets=("thumbnails", "detections"),
        thumbnails=(
            "bicubic",
            "learned, one layer",
            "learned",
            "learned, five layers",
            "+ logits + features",
        ),
        closes_gap=True,
    )


def _feature_sr() -> Benchmark:
    def file(name: str) -> str:
        return f"{_FEATURE_SR}{name}_faster_rcnn_small_256_plates.py"

    def recipe(name: str) -> Row:
        return Row(file(name))

    return Benchmark(
        title="FeatureSR",
        first=file("base"),
        first_title="base",
        weights_key="train.init_checkpoint",
        longer=file("longer"),
        longer_title="base, trained further",
        students={
            "no supervision": recipe("no_supervision"),
            "naive supervision": recipe("naive"),
            "ours": recipe("feature_sr"),
        },
        baseline="base",
        sheets=("features", "detections"),
    )


def _dfd(data: str, description: str) -> Benchmark:
    """The cells of Table 1 and the rows of Table 2 for one network."""

    def resnet(variant: str, side: int, **more: Any) -> Row:
        return Row(f"{_DFD}{variant}_resnet18_small_{side}_{data}.py", **more)

    networks = {"espcn": "ESPCN", "vdsr": "VDSR", "srgan": "SRGAN"}
    from_teacher = "train.student_from_teacher=True"
    return Benchmark(
        title="DFD",
        first=f"{_DFD}full_resnet18_small_32_{data}.py",
        first_title="high resolution",
        weights_key="model.teacher.checkpoint",
        longer="",
        longer_title="",
        prepared={
            title: Row(f"{_DFD}super_resolution2_{name}_small_8_{data}.py", from_first=False)
            for name, title in networks.items()
        },
        students={
            "16x16": resnet("lowres2", 16, from_first=False),
            "16x16, DFD": resnet("dfd2", 16),
            "8x8": resnet("lowres4", 8, from_first=False),
            **{
                f"8x8, {title} first": resnet(
                    f"{name}4",
                    8,
                    from_first=False,
                    weights_of={"model.resampler.checkpoint": title},
                )
                for name, title in networks.items()
            },
            "8x8, DFD": resnet("dfd4", 8),
        },
        baseline="8x8",
        variants={
            "8x8, DFD after half a run without it": resnet("dfd_pretrained4", 8),
            "8x8, DFD from the teacher's weights": resnet("dfd4", 8, overrides=[from_teacher]),
            "8x8 from the teacher's weights": resnet(
                "dfd4", 8, overrides=[from_teacher, "model.loss_weights.feature=0"]
            ),
        },
        sheets=("super_resolved", "classified"),
        closes_gap=True,
        data=description,
        also_compared=[
            ("16x16, DFD", "16x16"),
            *(("8x8, DFD", f"8x8, {title} first") for title in networks.values()),
        ],
    )


def _dfd_lambda() -> Benchmark:
    """Fig. 2: three networks at 8x8 over the weight of the distillation loss."""
    networks = {"alexnet": "AlexNet", "vgg16": "VGG-16", "resnet18": "ResNet-18"}
    # From random weights a narrow VGG-16 falls to chance with every λ from 0.2 on.
    variants = {"alexnet": "dfd_pretrained4", "vgg16": "dfd_pretrained4", "resnet18": "dfd4"}

    def file(variant: str, name: str, side: int) -> str:
        return f"{_DFD}{variant}_{name}_small_{side}_plates.py"

    students: dict[str, Row] = {}
    for name, title in networks.items():
        teacher = f"{title}, 32x32"
        is_first = name == "resnet18"
        if not is_first:
            students[teacher] = Row(file("full", name, 32), from_first=False)
        students[title] = Row(file("lowres4", name, 8), from_first=False, curve=(title, None))
        for weight in (0.1, 0.2, 0.5, 1, 2, 5, 10):
            students[f"{title}, λ = {weight:g}"] = Row(
                file(variants[name], name, 8),
                [f"model.loss_weights.feature={weight}"],
                from_first=is_first,
                weights_of={} if is_first else {"model.teacher.checkpoint": teacher},
                curve=(title, weight),
            )
    return Benchmark(
        title="DFD over λ",
        first=file("full", "resnet18", 32),
        first_title="ResNet-18, 32x32",
        weights_key="model.teacher.checkpoint",
        longer="",
        longer_title="",
        students=students,
        baseline="ResNet-18",
        method_title="ResNet-18, λ = 2",
        sheets=("curves",),
        curves_over="λ",
        data="Generated plates to classify",
    )


def _dfr_det() -> Benchmark:
    """A real-valued detector, its 1-bit baseline, and the four forms of the loss in Table 1."""

    def row(name: str, *overrides: str) -> Row:
        return Row(f"{_DFR_DET}{name}_fcos_small_256_tiny.py", overrides)

    def losses(*names: str) -> str:
        return f"model.objectives.1.losses=[{','.join(names)}]"

    def levels(*names: str) -> str:
        return f"model.objectives.1.decoder.levels=[{','.join(names)}]"

    return Benchmark(
        title="DFR-Det",
        first=f"{_DFR_DET}full_fcos_small_256_tiny.py",
        first_title="real-valued",
        weights_key="train.init_checkpoint",
        longer=f"{_DFR_DET}longer_fcos_small_256_tiny.py",
        longer_title="real-valued, trained further",
        students={
            "1-bit": row("one_bit"),
            "1-bit + whole image": row("dfr", losses("image")),
            "1-bit + foreground": row("dfr", losses("object")),
            "1-bit + background": row("dfr", losses("background")),
            "1-bit + DFR": row("dfr"),
        },
        baseline="1-bit",
        variants={
            "1-bit without Eq. 3": row("one_bit", "model.objectives=[]", "model.loss_weights={}"),
            "1-bit, learned thresholds": row("one_bit", "model.detector.quantizer=shifted_sign"),
            "4-bit": row(
                "one_bit",
                "model.detector.quantizer=learned_step",
                "model.objectives=[]",
                "model.loss_weights={}",
            ),
            **{
                f"1-bit + DFR on {' '.join(names)}": row("dfr", levels(*names))
                for names in (["p2"], ["p3"], ["p4"], ["p5"], ["p2", "p3"], ["p2", "p3", "p5"])
            },
        },
        sheets=("outcomes", "saliency"),
        closes_gap=True,
        data="Generated tiny plates",
    )


def _dfr_det_weights() -> Benchmark:
    """Fig. 4: the weights of Eq. 11, gamma of the weights' reconstruction and lambda."""
    students: dict[str, Row] = {}
    for gamma in (0, 1e-3, 1e-4):
        for weight in (0, 0.01, 0.05, 0.2, 0.04):
            name = "dfr" if weight else "one_bit"
            overrides = [f"model.loss_weights.binary/*={gamma}"]
            if weight:
                overrides.append(f"model.loss_weights.foreground/*={weight}")
            students[f"gamma = {gamma:g}, λ = {weight:g}"] = Row(
                f"{_DFR_DET}{name}_fcos_small_256_tiny.py",
                overrides,
                curve=(f"gamma = {gamma:g}", weight or None),
            )
    return Benchmark(
        title="DFR-Det over gamma and λ",
        first=f"{_DFR_DET}full_fcos_small_256_tiny.py",
        first_title="real-valued",
        weights_key="train.init_checkpoint",
        longer=f"{_DFR_DET}longer_fcos_small_256_tiny.py",
        longer_title="real-valued, trained further",
        students=students,
        baseline="gamma = 0.0001, λ = 0",
        sheets=("curves",),
        closes_gap=True,
        curves_over="λ",
        data="Generated tiny plates",
    )


def _bottom_heavy() -> Benchmark:
    """Twins of equal MACs, from scratch and from classifiers of plates as tiny as theirs."""

    def classifier(name: str) -> Row:
        return Row(f"{_BOTTOM_HEAVY}{name}_resnet_small_32_plates.py", from_first=False)

    def detector(name: str, start: str = "") -> Row:
        weights = {"train.init_checkpoint": start} if start else {}
        file = f"{_BOTTOM_HEAVY}{name}_fcos_small_256_tiny.py"
        return Row(file, from_first=False, weights_of=weights)

    return Benchmark(
        title="BottomHeavy",
        first="",
        first_title="",
        weights_key="",
        longer="",
        longer_title="",
        prepared={
            "standard classifier": classifier("standard"),
            "bottom-heavy classifier": classifier("bh"),
        },
        students={
            "standard": detector("standard"),
            "bottom-heavy": detector("bh"),
            "standard, pre-trained": detector("standard", "standard classifier"),
            "bottom-heavy, pre-trained": detector("bh", "bottom-heavy classifier"),
        },
        baseline="standard",
        method_title="bottom-heavy",
        sheets=("detections",),
        data="Generated tiny plates",
        also_compared=[("bottom-heavy, pre-trained", "standard, pre-trained")],
    )


BENCHMARKS = {
    "bottom_heavy": _bottom_heavy(),
    "dfd": _dfd("plates", "Generated plates to classify"),
    "dfd-cifar10": _dfd("cifar10", "CIFAR-10"),
    "dfd-lambda": _dfd_lambda(),
    "dfr_det": _dfr_det(),
    "dfr_det-weights": _dfr_det_weights(),
    "feature_sr": _feature_sr(),
    "thumbdet": _thumbdet(4, 64, "early"),
    "thumbdet-2x": _thumbdet(2, 128, "early_large"),
    "thumbdet-detr": _thumbdet_detr(),
}
