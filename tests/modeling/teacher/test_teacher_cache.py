from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

from lowres_d2.modeling import LowResDetector
from lowres_d2.modeling.objectives import FeatureDistillation, FeaturePair
from lowres_d2.modeling.resample import Bicubic
from lowres_d2.modeling.teacher import Tap, Teacher, TeacherCache
from lowres_d2.modeling.teacher.cache import content_key, fingerprint

import pytest
import torch
import torch.nn.functional as F
from detectron2.utils.events import EventStorage

from toys.detectors import DETECTORS, faster_rcnn_fpn, fcos, random_image, retinanet, training_input

RES3, RES4 = "backbone.bottom_up.res3", "backbone.bottom_up.res4"
TAPS = [Tap(RES3, 0), Tap("head.cls_score"), Tap(RES4, 0, "input")]


def unit_image(height, width, seed):
    return random_image(height, width, seed).float() / 255


def make_teacher(folder, network=None, taps=TAPS, **kwargs):
    torch.manual_seed(0)
    cache = TeacherCache(folder, **kwargs) if folder else None
    teacher = Teacher(network or fcos(), cache=cache)
    teacher.watch(taps)
    return teacher


def count_forwards(teacher):
    calls = []
    teacher.model.backbone.bottom_up.register_forward_hook(lambda *_: calls.append(1))
    return calls


def files(folder):
    return sorted(Path(folder).rglob("*.safetensors"))


def assert_same(a, b):
    assert a.keys() == b.keys()
    for tap in a:
        assert len(a[tap]) == len(b[tap])
        assert all(torch.equal(x, y) for x, y in zip(a[tap], b[tap], strict=True)), tap


def test_outputs_equal_the_teachers_within_float16(tmp_path):
    images = [unit_image(64, 80, seed) for seed in range(3)]
    expected = make_teacher(None)(images, TAPS)
    teacher = make_teacher(tmp_path)
    forwards = count_forwards(teacher)
    computed = teacher(images, TAPS)
    assert len(files(tmp_path)) == 3
    before = len(forwards)
    read = teacher(images, TAPS)
    assert len(forwards) == before
    assert_same(computed, read)
    for tap, values in expected.items():
        assert len(values) == len(read[tap]) == (4 if tap.call == "all" else 1)
        for ours, theirs in zip(read[tap], values, strict=True):
            assert ours.dtype == torch.float32
            torch.testing.assert_close(ours, theirs, rtol=2**-10, atol=1e-6)


@pytest.mark.parametrize("sizes", [[(64, 80)] * 2, [(64, 80), (64, 64)]])
def test_mixed_precision_of_the_student_changes_nothing(tmp_path, sizes):
    images = [unit_image(*size, seed) for seed, size in enumerate(sizes)]
    expected = make_teacher(tmp_path / "plain")(images, TAPS)
    teacher = make_teacher(tmp_path / "mixed")
    with torch.autocast("cpu", torch.bfloat16):
        computed, read = teacher(images, TAPS), teacher(images, TAPS)
    assert_same(expected, computed)
    assert_same(expected, read)


@pytest.mark.slow
def test_another_process_reads_what_the_first_one_wrote(tmp_path):
    code = (
        "import sys, lowres_d2, torch; sys.path[:0] = ['tests', 'tests/modeling/teacher']\n"
        "from test_teacher_cache import *\n"
        "teacher = make_teacher(sys.argv[1]); forwards = count_forwards(teacher)\n"
        "teacher([unit_image(64, 80, 1)], TAPS); print('forwards', len(forwards))"
    )
    make_teacher(tmp_path)([unit_image(64, 80, 1)], TAPS)
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path], cwd=root, capture_output=True, text=True, check=True
    )
    assert "forwards 0" in done.stdout


def test_order_and_company_of_images_do_not_matter(tmp_path):
    images = [unit_image(64, 64, seed) for seed in range(4)]
    one = make_teacher(tmp_path / "one")
    together = one(images, TAPS)
    other = make_teacher(tmp_path / "other")
    other(images[2:], TAPS)
    mixed = other(images[::-1], TAPS)
    assert_same(together, {tap: [v.flip(0) for v in values] for tap, values in mixed.items()})


def test_another_pixel_weight_or_choice_of_taps_is_a_miss(tmp_path):
    image = unit_image(64, 64, 0)
    teacher = make_teacher(tmp_path)
    first = teacher([image], TAPS)[TAPS[0]][0]
    image = image.clone()
    image[0, 3, 5] = 1 - image[0, 3, 5]
    teacher([image], TAPS)
    assert len(files(tmp_path)) == 2
    assert teacher([image], TAPS[:1]).keys() == {TAPS[0]}
    assert len(files(tmp_path)) == 3
    network = fcos()
    with torch.no_grad():
        network.pixel_mean += 1  # a buffer, but outputs depend on it
    assert not torch.equal(make_teacher(tmp_path, network)([image], TAPS)[TAPS[0]][0], first)
    flipping = make_teacher(tmp_path)
    flipping.flip_channels = True
    flipping([image], TAPS)
    assert len(files(tmp_path)) == 5


def test_different_images_have_different_keys():
    image = unit_image(8, 12, 0)
    others = [
        image.transpose(1, 2),
        image.reshape(3, 12, 8),
        image.flip(2),
        (image * 255 + 1).clamp(max=255) / 255,
        image + 1e-4,  # not bytes / 255, but the same bytes when rounded
        image + 2e-4,
    ]
    keys = [content_key(one) for one in (image, *others)]
    assert len(set(keys)) == len(keys)
    assert content_key(image.clone()) == keys[0]


@pytest.mark.parametrize("name", DETECTORS)
def test_fingerprints_depend_on_the_network_not_on_the_object(name):
    def make(seed):
        torch.manual_seed(seed)
        return DETECTORS[name]()

    assert fingerprint(make(0)) == fingerprint(make(0)) != fingerprint(make(1))


def test_images_of_several_sizes_have_the_same_outputs_as_alone(tmp_path):
    sizes = [(64, 96), (96, 64), (50, 70)]
    images = [unit_image(*size, seed) for seed, size in enumerate(sizes)]
    teacher = make_teacher(tmp_path)
    for _ in range(2):
        together = teacher(images, TAPS)
        assert together[TAPS[0]][0].shape == (3, 16, 12, 12)
        for index, one in enumerate(images):
            for tap, values in make_teacher(None)([one], TAPS).items():
                for alone, batch in zip(values, together[tap], strict=True):
                    height, width = alone.shape[2:]
                    cut = batch[index, :, :height, :width]
                    torch.testing.assert_close(cut, alone[0], rtol=2**-10, atol=1e-6)
                    missing = (0, batch.shape[3] - width, 0, batch.shape[2] - height)
                    assert torch.equal(batch[index], F.pad(cut, missing))


def test_a_broken_file_is_written_again(tmp_path):
    teacher = make_teacher(tmp_path)
    first = teacher([unit_image(64, 64, 0)], TAPS)
    (path,) = files(tmp_path)
    whole = path.read_bytes()
    for content in (b"", whole[:100], whole[:-2]):
        path.write_bytes(content)
        assert_same(first, teacher([unit_image(64, 64, 0)], TAPS))
        assert path.stat().st_size == len(whole)


def size_of_one(tmp_path):
    make_teacher(tmp_path / "sizing")([unit_image(64, 64, 0)], TAPS)
    size = files(tmp_path / "sizing")[0].stat().st_size
    return -(-size // 4096) * 4096  # a disk has whole blocks


def test_a_cache_over_its_limit_is_refused_before_the_first_write(tmp_path):
    teacher = make_teacher(tmp_path / "cache", limit_gb=99 * size_of_one(tmp_path) / 1e9)
    teacher.cache.dataset_size = 110
    with pytest.raises(
        ValueError, match=r"110 images of 0\.0\d\d MB each: .*limit_gb=0\."
    ) as caught:
        teacher([unit_image(64, 64, 0)], TAPS)
    assert "\n" not in str(caught.value)
    assert not files(tmp_path / "cache")


@pytest.mark.parametrize(("versions", "fits"), [(1, True), (2, False), (162, False), (None, True)])
def test_versions_of_an_image_count_in_the_estimate(tmp_path, versions, fits):
    teacher = make_teacher(tmp_path / "cache", limit_gb=15 * size_of_one(tmp_path) / 1e9)
    teacher.cache.dataset_size, teacher.cache.versions = 10, versions
    if fits:
        teacher([unit_image(64, 64, 0)], TAPS)
        return
    words = rf"10 images of 0\.0\d\d MB in each of {versions} random versions: "
    with pytest.raises(ValueError, match=words):
        teacher([unit_image(64, 64, 0)], TAPS)


def test_small_features_take_a_block_each(tmp_path):
    tap = TAPS[:1]
    teacher = make_teacher(tmp_path, limit_gb=3.5 * 4096 / 1e9, taps=tap)
    teacher([unit_image(16, 16, seed) for seed in range(5)], tap)
    written = files(tmp_path)
    assert len(written) == 3 and all(path.stat().st_size < 1024 for path in written)
    # Counted so by a run that comes later, too.
    later = make_teacher(tmp_path, limit_gb=3.5 * 4096 / 1e9, taps=tap)
    later([unit_image(16, 16, 9)], tap)
    assert files(tmp_path) == written


def test_too_little_disk_space_is_refused_before_the_first_write(tmp_path):
    teacher = make_teacher(tmp_path, limit_gb=1e12)
    teacher.cache.dataset_size = 10**13
    with pytest.raises(ValueError, match=r"its disk has \d+\.\d\d GB free"):
        teacher([unit_image(64, 64, 0)], TAPS)


def test_a_full_cache_warns_once_and_still_works(tmp_path, caplog):
    teacher = make_teacher(tmp_path / "cache", limit_gb=2.5 * size_of_one(tmp_path) / 1e9)
    images = [unit_image(64, 64, seed) for seed in range(5)]
    first = teacher(images, TAPS)
    assert_same(first, teacher(images, TAPS))
    assert len(files(tmp_path / "cache")) == 2
    assert caplog.text.count("is full") == 1


def test_random_augmentation_is_reported(tmp_path, caplog):
    teacher = make_teacher(tmp_path)
    teacher.cache.dataset_size = 3
    for epoch in range(2):  # two versions of each, as a flip makes them
        for index in range(3):
            teacher([unit_image(32, 32, 10 * epoch + index)], TAPS)
    assert "random augmentation" not in caplog.text
    for seed in range(30, 33):
        teacher([unit_image(32, 32, seed)], TAPS)
    assert caplog.text.count("random augmentation makes new ones") == 1


def test_the_estimated_size_is_logged_at_the_first_write(tmp_path, caplog):
    teacher = make_teacher(tmp_path)
    teacher.cache.dataset_size = 7
    with caplog.at_level(logging.INFO):
        teacher([unit_image(64, 64, 0)], TAPS)
        teacher([unit_image(64, 64, 1)], TAPS)
    assert caplog.text.count("7 images of 0.0") == 1


@pytest.mark.parametrize(
    "tap", [Tap("roi_heads.box_head", 0), Tap("backbone", 0), Tap("proposal_generator", 0)]
)
def test_captures_that_are_no_tensors_with_one_row_per_image_are_refused_by_name(tmp_path, tap):
    teacher = make_teacher(tmp_path, faster_rcnn_fpn(), [tap])
    with pytest.raises(ValueError, match=rf"tap {tap.path} captures .* can be cached") as caught:
        teacher([unit_image(64, 64, 0)], [tap])
    assert "\n" not in str(caught.value) and "model.teacher.cache" in str(caught.value)


def test_values_beyond_float16_are_refused(tmp_path):
    network = fcos()
    with torch.no_grad():
        network.head.cls_score.bias += 1e5
    with pytest.raises(ValueError, match=r"head\.cls_score reaches 1e\+05, beyond float16"):
        make_teacher(tmp_path, network)([unit_image(64, 64, 0)], TAPS)


def distilled_losses(folder, sizes):
    torch.manual_seed(0)
    detector = retinanet()
    objectives = [FeatureDistillation([FeaturePair(RES3, 8), FeaturePair(RES4, 16)])]
    teacher = Teacher(retinanet(), cache=TeacherCache(folder) if folder else None)
    model = LowResDetector(detector, Bicubic(2), teacher, objectives)
    batch = [training_input(*size, seed) for seed, size in enumerate(sizes)]
    with EventStorage():
        return [model(batch) for _ in range(2)][-1]


def test_losses_are_the_same_within_float16(tmp_path):
    sizes = [(64, 96), (64, 96)]
    plain, cached = (distilled_losses(folder, sizes) for folder in (None, tmp_path))
    assert plain.keys() == cached.keys()
    for name, loss in plain.items():
        if name.startswith("loss_feature"):
            assert loss > 0
            torch.testing.assert_close(cached[name], loss, rtol=2**-10, atol=0)
        else:
            assert torch.equal(cached[name], loss)
