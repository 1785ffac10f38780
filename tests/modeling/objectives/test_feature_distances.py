from fractions import Fraction

import lowres_d2  # noqa: F401
from lowres_d2.modeling.objectives import FeatureDistillation, FeaturePair
from lowres_d2.modeling.objectives.features.distances import (
    channel_distance,
    correlation_distance,
    euclidean_distance,
    squared_distance,
)
from lowres_d2.modeling.objectives.features.point_weights import foreground_weights
from lowres_d2.structures import FeatureMap, ObjectiveContext

import numpy as np
import pytest
import torch


def random_points(seed=0):
    generator = torch.Generator().manual_seed(seed)
    sizes = (12, 20)
    return [
        (torch.randn(5, n, generator=generator), torch.randn(5, n, generator=generator))
        for n in sizes
    ]


def side_by_side(points):
    return (np.concatenate([pair[side].numpy() for pair in points], axis=1) for side in (0, 1))


def test_squared_distance_is_the_mean_over_all_points_and_channels():
    student, teacher = side_by_side(random_points())
    expected = ((student - teacher) ** 2).mean()
    assert squared_distance(random_points()).item() == pytest.approx(expected, rel=1e-5)


def test_euclidean_distance_is_equation_1_of_dfd_in_numpy():
    # A batch of 12 and one of 20 images, five features each.
    student, teacher = side_by_side(random_points())
    expected = np.mean(np.linalg.norm(student - teacher, axis=0) ** 2 / 2)
    assert euclidean_distance(random_points()).item() == pytest.approx(expected, rel=1e-5)


def test_distillation_of_vectors_is_equation_1_mean_over_the_batch():
    objective = FeatureDistillation([FeaturePair("features")], distance="euclidean")
    student, teacher = torch.randn(4, 6, requires_grad=True), torch.randn(4, 6)
    (tap,) = objective.student_taps
    context = ObjectiveContext(
        images=[torch.zeros(3, 8, 8)] * 4,
        low_res_images=[torch.zeros(3, 8, 8)] * 4,
        ground_truth=[0, 1, 0, 1],
        factor=Fraction(1),
        student_taps={tap: [student]},
        teacher_taps={tap: [teacher]},
    )
    loss = objective(context)["features"]
    difference = student.detach().numpy() - teacher.numpy()
    assert loss.item() == pytest.approx((difference**2).sum(axis=1).mean() / 2, rel=1e-5)
    loss.backward()
    torch.testing.assert_close(student.grad, torch.from_numpy(difference) / 4)


def test_weights_choose_points():
    points = random_points()
    weights = [torch.zeros(12), torch.zeros(20)]
    weights[0][3], weights[1][7] = 0.25, 0.75
    first = (points[0][0][:, 3] - points[0][1][:, 3]).square().mean()
    second = (points[1][0][:, 7] - points[1][1][:, 7]).square().mean()
    torch.testing.assert_close(squared_distance(points, weights), 0.25 * first + 0.75 * second)


def test_correlation_distance_is_one_minus_pearson():
    student, teacher = side_by_side(random_points())
    expected = np.mean([1 - np.corrcoef(s, t)[0, 1] for s, t in zip(student, teacher, strict=True)])
    assert correlation_distance(random_points()).item() == pytest.approx(expected, rel=1e-4)


def test_correlation_ignores_scale_and_offset_of_a_channel():
    scale, offset = torch.rand(5, 1) + 0.5, torch.randn(5, 1)
    moved = [(scale * student + offset, teacher) for student, teacher in random_points()]
    torch.testing.assert_close(
        correlation_distance(moved), correlation_distance(random_points()), rtol=1e-4, atol=1e-5
    )


def test_a_channel_of_zeros_has_finite_gradients():
    student = torch.zeros(2, 6, requires_grad=True)
    correlation_distance([(student, torch.randn(2, 6))]).backward()
    assert student.grad.isfinite().all()


def test_channel_distance_is_the_divergence_over_points_in_numpy():
    def softmax(x):
        e = np.exp(x / 4 - (x / 4).max(axis=1, keepdims=True))
        return e / e.sum(axis=1, keepdims=True)

    divergences = []
    for student, teacher in random_points():
        ours, theirs = softmax(student.numpy()), softmax(teacher.numpy())
        divergences.append((theirs * np.log(theirs / ours)).sum(axis=1).mean())
    expected = 16 * np.mean(divergences)
    assert channel_distance(random_points()).item() == pytest.approx(expected, rel=1e-4)


def cells(sizes, stride=4, rows=4, columns=4):
    tensor = torch.zeros(len(sizes), 1, rows, columns)
    return FeatureMap.of_network(tensor, stride, stride / 2, tuple(sizes))


def test_every_object_weighs_the_same_however_small():
    # Cell centres are at 2, 6, 10, 14. An object of one pixel between cells, one that covers 2 x 4.
    boxes = [torch.tensor([[5.0, 5.0, 6.0, 6.0], [8.0, 0.0, 16.0, 16.0]])]
    (weights,) = foreground_weights(boxes, cells([(16, 16)]), foreground_share=0.6)
    expected = torch.full((4, 4), 0.4 / 7)
    expected[1, 1] = 0.3
    expected[:, 2:] = 0.3 / 8
    torch.testing.assert_close(weights.reshape(4, 4), expected)


def test_weights_of_a_batch_sum_to_one_over_cells_inside():
    boxes = [torch.tensor([[1.0, 1.0, 9.0, 9.0]]), torch.zeros(0, 4)]
    weights = foreground_weights(boxes, cells([(16, 16), (8, 12)]), foreground_share=0.5)
    assert [len(w) for w in weights] == [16, 6]
    assert sum(w.sum() for w in weights).item() == pytest.approx(1.0)


def test_without_objects_only_background_counts():
    (weights,) = foreground_weights([torch.zeros(0, 4)], cells([(16, 16)]), foreground_share=0.5)
    assert weights.sum().item() == pytest.approx(0.5)


def test_scaling_image_and_boxes_leaves_the_weights():
    boxes = torch.tensor([[3.0, 2.0, 9.0, 13.0]])
    (small,) = foreground_weights([boxes], cells([(16, 16)]), 0.5)
    (large,) = foreground_weights([2 * boxes], cells([(32, 32)], stride=8), 0.5)
    torch.testing.assert_close(small, large)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(distance="cosine"), "'squared', 'euclidean', 'correlation' or 'channel'"),
        (dict(distance="channel", foreground_share=0.5), "weights points"),
        (dict(alignment="interpolate", foreground_share=0.5), "weights points"),
    ],
)
def test_bad_values_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        FeatureDistillation([FeaturePair("res3", 8)], **arguments)


@pytest.mark.parametrize("distance", ["squared", "euclidean", "correlation", "channel"])
def test_an_adapter_to_more_channels_may_come_after_sampling(distance):
    generator = torch.Generator().manual_seed(0)
    sizes = [(32, 40), (24, 40)]
    student = torch.randn(2, 3, 8, 10, generator=generator, requires_grad=True)
    teacher = torch.randn(2, 5, 16, 20, generator=generator)
    path = "backbone.res2"
    objective = FeatureDistillation(
        [FeaturePair(path, 1, path, 2, channels=(3, 5))], distance=distance
    )
    tap = objective.student_taps[0]

    def loss(kind, features):
        context = ObjectiveContext(
            images=[torch.zeros(3, *size) for size in sizes],
            low_res_images=[torch.zeros(3, size[0] // 4, size[1] // 4) for size in sizes],
            ground_truth=[None, None],
            factor=Fraction(4),
            student_taps={tap: [features]},
            teacher_taps={objective.teacher_taps[0]: [teacher]},
        )
        return kind(context)["res2"]

    adapted_first = FeatureDistillation([FeaturePair(path, 1, path, 2)], distance=distance)
    found = loss(objective, student)
    expected = loss(adapted_first, objective.adapters[0](student))
    torch.testing.assert_close(found, expected)
    gradients = [torch.autograd.grad(x, student, retain_graph=True)[0] for x in (found, expected)]
    torch.testing.assert_close(*gradients)
