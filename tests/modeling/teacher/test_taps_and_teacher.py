from __future__ import annotations

import copy
import io
import os

from lowres_d2.modeling import LowResDetector
from lowres_d2.modeling.objectives import FeatureDistillation, FeaturePair
from lowres_d2.modeling.resample import Bicubic, Identity
from lowres_d2.modeling.teacher import Tap, TapRecorder, Teacher

import pytest
import torch
from detectron2.utils.events import EventStorage
from safetensors.torch import save_file
from torch import nn

from toys.detectors import fcos, random_image, retinanet, training_input

RES3 = "backbone.bottom_up.res3"


class Levels(nn.Module):
    """Runs its head once per level and counts finished forwards."""

    def __init__(self, levels=3):
        super().__init__()
        self.body = nn.Conv2d(3, 4, 1)
        self.head = nn.BatchNorm2d(4)
        self.levels = levels
        self.finished = 0
        self.given = None

    def forward(self, inputs):
        self.given = inputs
        features = self.body(torch.stack([x["image"] for x in inputs]))
        for level in range(self.levels):
            self.head(features * level)
        self.finished += 1
        return []


def _images(count=2):
    return [torch.rand(3, 8, 8) for _ in range(count)]


def _composition(teacher=None):
    teacher = teacher or Teacher(fcos())
    pair = FeaturePair(RES3, student_stride=8)
    return LowResDetector(retinanet(), Bicubic(2), teacher, [FeatureDistillation([pair])])


@pytest.mark.parametrize("call", [-1, 1.5, "some", True])
def test_a_bad_call_is_an_error(call):
    with pytest.raises(ValueError, match=r"call="):
        Tap("head", call=call)


def test_a_bad_side_is_an_error():
    with pytest.raises(ValueError, match="'output', 'input' or 'inputs'"):
        Tap("head", side="inside")


def test_a_tap_captures_the_output_the_first_input_or_all_inputs():
    model = nn.Bilinear(2, 3, 4)
    taps = [Tap("", side=side) for side in ("output", "input", "inputs")]
    first, second = torch.rand(5, 2), torch.rand(5, 3)
    with TapRecorder(model, taps).recording(taps) as captured:
        result = model(first, second)
    assert captured[taps[0]][0] is result and captured[taps[1]][0] is first
    assert captured[taps[2]][0][1] is second and len(captured[taps[2]][0]) == 2


def test_an_unknown_path_is_reported_with_the_nearest_names():
    with pytest.raises(KeyError, match=r"res33.*backbone\.bottom_up\.res3"):
        TapRecorder(retinanet(), [Tap("backbone.bottom_up.res33")])


def test_captures_have_one_entry_per_call_and_are_cleared_every_time():
    model = Levels()
    taps = [Tap("head"), Tap("head", call=1), Tap("body", side="input")]
    recorder = TapRecorder(model, taps)
    for _ in range(2):
        images = _images()
        with recorder.recording(taps) as captured:
            model([{"image": p} for p in images])
        assert [len(captured[tap]) for tap in taps] == [3, 1, 1]
        assert captured[taps[1]][0] is captured[taps[0]][1]
        assert torch.equal(captured[taps[2]][0], torch.stack(images))


def test_nothing_is_captured_outside_a_recording():
    model = Levels()
    recorder = TapRecorder(model, [Tap("head")])
    model([{"image": p} for p in _images()])
    with (
        pytest.raises(RuntimeError, match=r"tap head .* captured nothing"),
        recorder.recording([Tap("head")]),
    ):
        pass


def test_a_call_that_does_not_happen_is_an_error():
    model = Levels(levels=2)
    recorder = TapRecorder(model, [Tap("head", call=2)])
    with pytest.raises(RuntimeError, match=r"call 2\) captured nothing: the module ran 2 times"):
        _run(recorder, model)


def _run(recorder, model):
    with recorder.recording([Tap("head", call=2)]):
        model([{"image": p} for p in _images()])


def test_a_copied_model_captures_its_own_features():
    model = Levels()
    model.recorder = TapRecorder(model, [Tap("head")])
    twin = copy.deepcopy(model)
    with model.recorder.recording([Tap("head")]) as first:
        model([{"image": p} for p in _images()])
    with twin.recorder.recording([Tap("head")]) as second:
        twin([{"image": p} for p in _images()])
    assert len(first[Tap("head")]) == len(second[Tap("head")]) == 3


def test_hooks_installed_before_compilation_are_called():
    model = Levels()
    recorder = TapRecorder(model, [Tap("head"), Tap("body")])
    model.compile(backend="eager")
    for taps in ([Tap("body")], [Tap("body"), Tap("head")]):
        with recorder.recording(taps) as captured:
            model([{"image": p} for p in _images()])
        assert [len(captured[tap]) for tap in taps] == [1, 3][: len(taps)]


@pytest.mark.parametrize("taps", [[Tap("body")], [Tap("head", call=1)], [Tap("head"), Tap("body")]])
def test_the_teacher_stops_after_its_last_tap(taps):
    model = Levels()
    teacher = Teacher(model)
    teacher.watch(taps)
    for _ in range(4):
        captured = teacher(_images(), taps)
    # It runs to its end only once, to count the calls of a tap on all calls.
    assert model.finished == any(tap.call == "all" for tap in taps)
    assert [len(captured[tap]) for tap in taps] == [1 if tap != Tap("head") else 3 for tap in taps]


def test_captures_of_a_stopped_teacher_equal_a_whole_forward():
    teacher = Teacher(fcos())
    taps = [Tap("head.cls_score"), Tap(RES3)]
    teacher.watch(taps)
    images = [random_image(64, 80).float() / 255]
    captured = teacher(images, taps)
    raw = []
    handle = teacher.model.head.cls_score.register_forward_hook(
        lambda m, i, output: raw.append(output.clone())
    )
    with torch.no_grad():
        teacher.model([{"image": random_image(64, 80)}])
    handle.remove()
    assert len(captured[taps[0]]) == len(raw) == 4
    assert all(torch.equal(a, b) for a, b in zip(captured[taps[0]], raw, strict=True))
    # Inference tensors could not be saved for a backward pass.
    assert not captured[taps[1]][0].is_inference() and not captured[taps[1]][0].requires_grad


@pytest.mark.parametrize("flip", [False, True])
def test_the_teacher_gets_images_of_0_to_255_in_its_own_channel_order(flip):
    model = Levels()
    teacher = Teacher(model, flip_channels=flip)
    teacher.watch([Tap("body")])
    image = random_image(8, 8)
    teacher([image.float() / 255], [Tap("body")])
    expected = image.flip(0) if flip else image
    assert torch.equal(model.given[0]["image"], expected.float())
    assert (model.given[0]["height"], model.given[0]["width"]) == (8, 8)


def test_the_teacher_is_not_a_submodule_of_the_model():
    teacher = Teacher(fcos())
    alone = LowResDetector(retinanet(), Bicubic(2))
    model = _composition(teacher)
    assert model.state_dict().keys() == alone.state_dict().keys()
    assert not {id(p) for p in model.parameters()} & {id(p) for p in teacher.model.parameters()}
    assert teacher.model not in set(model.modules())
    assert not any(p.requires_grad for p in teacher.model.parameters())
    model.train()
    assert not any(module.training for module in teacher.model.modules())


def test_the_teacher_moves_with_the_model_and_is_shared_by_copies():
    model = _composition()
    twin = copy.deepcopy(model)
    assert twin.teacher is model.teacher
    model.double()
    assert {p.dtype for p in model.teacher.model.parameters()} == {torch.float64}
    model.to("meta")
    assert {p.device.type for p in model.teacher.model.parameters()} == {"meta"}


def test_a_copied_model_still_distils():
    with EventStorage():
        losses = copy.deepcopy(_composition())([training_input(96, 64)])
    assert losses["loss_feature_res3"] > 0


def test_pickling_drops_the_teacher():
    model = _composition()
    size = len(_pickled(model))
    alone = LowResDetector(retinanet(), Bicubic(2))
    assert size < len(_pickled(alone)) * 1.2
    back = torch.load(io.BytesIO(_pickled(model)), weights_only=False)
    assert back.teacher is None and model.teacher is not None
    assert back.eval()([{"image": random_image(64, 64)}])[0]["instances"].image_size == (64, 64)
    with pytest.raises(ValueError, match="pickling has dropped"), EventStorage():
        back.train()([training_input(96, 64)])


def _pickled(model):
    buffer = io.BytesIO()
    torch.save(model, buffer)
    return buffer.getvalue()


def test_the_teacher_is_not_wrapped_by_ddp(tmp_path):
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1
    )
    try:
        model = _composition()
        wrapped = nn.parallel.DistributedDataParallel(model)
        teachers = {id(p) for p in model.teacher.model.parameters()}
        assert not teachers & {id(p) for p in wrapped.parameters()}
        with EventStorage():
            losses = wrapped([training_input(96, 64)])
        sum(losses.values()).backward()
        assert losses["loss_feature_res3"] > 0
        assert model.detector.backbone.bottom_up.stem.conv1.weight.grad.abs().sum() > 0
    finally:
        torch.distributed.destroy_process_group()


@pytest.mark.parametrize("composed", [False, True])
def test_a_teachers_checkpoint_is_read_when_training_starts(tmp_path, composed):
    source = fcos()
    saved = LowResDetector(source, Identity()) if composed else source
    torch.save({"model": saved.state_dict()}, tmp_path / "teacher.pth")
    teacher = Teacher(fcos(), checkpoint=os.fspath(tmp_path / "teacher.pth"))
    model = _composition(teacher)
    ours, theirs = teacher.model.head.cls_score.weight, source.head.cls_score.weight
    model.eval()
    assert not torch.equal(ours, theirs)
    model.train()
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize("words", ["not in the file", "of another shape"])
def test_a_checkpoint_without_all_of_the_teachers_weights_is_an_error(tmp_path, words):
    torch.manual_seed(0)
    weights = fcos().state_dict()
    name = "backbone.fpn_output2.weight"
    weights[name] = weights[name][:1]
    if words == "not in the file":
        del weights[name]
    torch.save({"model": weights}, tmp_path / "teacher.pth")
    teacher = Teacher(fcos(), checkpoint=os.fspath(tmp_path / "teacher.pth"))
    with pytest.raises(
        ValueError, match=rf"^the teacher .*teacher\.pth: 90 of 91 .*{words} \({name}\)"
    ):
        teacher.load()


def test_a_teacher_of_other_classes_is_named_with_both_numbers(tmp_path):
    weights = fcos().state_dict()
    for name in ("head.cls_score.weight", "head.cls_score.bias"):
        weights[name] = torch.cat([weights[name], weights[name]])
    number = 2 * fcos().num_classes
    torch.save({"model": weights, "classes": list("abcdefgh")[:number]}, tmp_path / "teacher.pth")
    words = (
        rf"^the teacher \(model\.teacher\.checkpoint\): .*teacher\.pth: {number} classes in the "
    )
    with pytest.raises(ValueError, match=words + rf"weights, {number // 2} in the data"):
        Teacher(fcos(), checkpoint=os.fspath(tmp_path / "teacher.pth")).load()


@pytest.mark.parametrize("content", [None, b"", b"junk"])
@pytest.mark.parametrize("ending", ["pth", "pkl", "safetensors"])
def test_a_missing_or_broken_teacher_file_is_named_in_one_line(tmp_path, ending, content):
    path = tmp_path / f"teacher.{ending}"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises((ValueError, FileNotFoundError), match=rf"teacher\.{ending}") as caught:
        Teacher(Levels(), checkpoint=str(path)).load()
    assert "\n" not in str(caught.value)


def test_a_teacher_is_loaded_from_safetensors(tmp_path):
    source, teacher = Levels(), Levels()
    save_file(source.state_dict(), tmp_path / "teacher.safetensors")
    Teacher(teacher, checkpoint=str(tmp_path / "teacher.safetensors")).load()
    assert torch.equal(teacher.body.weight, source.body.weight)


@pytest.mark.parametrize("use_average", [True, False])
def test_a_teacher_has_the_weights_that_its_run_evaluated(tmp_path, use_average):
    weights, teacher = Levels().state_dict(), Levels()
    average = {f"module.{name}": torch.full_like(value, 7) for name, value in weights.items()}
    torch.save({"model": weights, "ema": {"n_averaged": 1, **average}}, tmp_path / "run.pth")
    Teacher(teacher, checkpoint=str(tmp_path / "run.pth"), use_average=use_average).load()
    assert torch.all(teacher.body.weight == 7) == use_average


def test_objectives_without_the_teacher_they_read_are_an_error():
    pair = FeaturePair(RES3, student_stride=8)
    with pytest.raises(ValueError, match=f"{RES3}.*set `teacher`"):
        LowResDetector(retinanet(), Bicubic(2), None, [FeatureDistillation([pair])])
