from __future__ import annotations

from fractions import Fraction

from lowres_d2.structures import FeatureMap

import numpy as np
import pytest
import torch


def test_cells_in_the_padding_are_left_out():
    tensor = torch.zeros(2, 1, 8, 8)
    features = FeatureMap.of_network(tensor, 4, 0.5, ((17, 16), (5, 32)))
    # Centres 0.5, 4.5, ..., 28.5.
    assert features.cells_inside(0) == (5, 4)
    assert features.cells_inside(1) == (2, 8)
    assert features.inside(0).shape == (1, 5, 4)


def test_a_feature_map_that_is_too_small_for_its_stride_is_an_error():
    features = FeatureMap.of_network(torch.zeros(1, 1, 4, 4), 4, 0.5, ((32, 16),))
    with pytest.raises(ValueError, match=r"\(4, 4\) cells cannot cover.*stride of 4"):
        features.cells_inside(0)


@pytest.mark.parametrize("factor", [Fraction(2), Fraction(3, 2)])
def test_sampling_equals_numpy_interpolation_between_cells(factor):
    size = (60, 60)
    row = torch.tensor([3.0, 1.0, 4.0, 1.0, 5.0, 9.0, 2.0, 6.0, 5.0, 3.0])
    student = FeatureMap.of_network(row.expand(1, 1, 10, 10), 4, 0.5, (size,), factor)
    teacher = FeatureMap.of_network(torch.zeros(1, 1, 15, 15), 4, 0.5, (size,))
    sampled = student.sampled_at(teacher, 0)
    rows, columns = teacher.cells_inside(0)
    assert sampled.shape == (1, rows, columns)
    inside = student.cells_inside(0)[1]
    centres = np.arange(inside) * 4.0 * float(factor) + 0.5 * float(factor)
    wanted = np.arange(columns) * 4.0 + 0.5
    between = (wanted >= centres[0]) & (wanted <= centres[-1])
    expected = np.interp(wanted, centres, row[:inside].numpy())
    assert between.sum() > 10
    np.testing.assert_allclose(sampled[0, 0].numpy()[between], expected[between], rtol=1e-6)


@pytest.mark.parametrize("offset", [0.5, 4.0])
def test_a_feature_map_sampled_at_its_own_cells_is_unchanged(offset):
    tensor = torch.rand(1, 3, 6, 9)
    features = FeatureMap.of_network(tensor, 8, offset, ((41, 70),))
    torch.testing.assert_close(features.sampled_at(features, 0), features.inside(0))


@pytest.mark.parametrize("sizes", [((41, 70),) * 3, ((41, 70), (60, 33), (41, 70))])
def test_images_of_one_size_are_sampled_together_like_each_alone(sizes):
    student = FeatureMap.of_network(torch.rand(3, 2, 9, 9), 4, 0.5, sizes, Fraction(2))
    teacher = FeatureMap.of_network(torch.rand(3, 5, 10, 10), 8, 0.5, sizes)
    seen = []
    for members, ours, theirs in student.beside(teacher):
        for place, index in enumerate(members):
            torch.testing.assert_close(ours[:, place], student.sampled_at(teacher, index))
            assert torch.equal(theirs[:, place], teacher.inside(index))
        seen.append(members)
    assert sorted(seen) == ([[0, 1, 2]] if sizes[0] == sizes[1] else [[0, 2], [1]])


def test_a_single_cell_is_constant():
    student = FeatureMap.of_network(
        torch.full((1, 1, 1, 1), 7.0), 32, 0.5, ((12, 12),), Fraction(4)
    )
    teacher = FeatureMap.of_network(torch.zeros(1, 1, 3, 3), 4, 0.5, ((12, 12),))
    assert (student.sampled_at(teacher, 0) == 7).all()


def test_gradients_of_padding_are_zero():
    tensor = torch.rand(1, 1, 4, 4, requires_grad=True)
    student = FeatureMap.of_network(tensor, 4, 0.5, ((16, 18),), Fraction(2))
    teacher = FeatureMap.of_network(torch.zeros(1, 1, 8, 8), 4, 0.5, ((16, 18),))
    student.sampled_at(teacher, 0).square().sum().backward()
    rows, columns = student.cells_inside(0)
    assert (tensor.grad[..., :rows, :columns] != 0).all()
    assert (tensor.grad[..., rows:, :] == 0).all() and (tensor.grad[..., columns:] == 0).all()


@pytest.mark.parametrize("count", [1, 3])
def test_sizes_that_are_not_one_for_each_image_are_an_error(count):
    with pytest.raises(ValueError, match=f"valid_sizes has {count} sizes for 2 images"):
        FeatureMap.of_network(torch.zeros(2, 1, 8, 8), 4, 0.5, ((32, 32),) * count)


@pytest.mark.parametrize("stride", [0, -4])
def test_a_stride_that_is_not_positive_is_an_error(stride):
    with pytest.raises(ValueError, match=f"stride={stride}: expected a positive number"):
        FeatureMap.of_network(torch.zeros(1, 1, 8, 8), stride, 0.5, ((32, 32),))


def test_feature_maps_of_other_images_are_not_compared():
    ours, theirs = (
        FeatureMap.of_network(torch.zeros(1, 1, 8, 8), 4, 0.5, (size,))
        for size in ((32, 32), (32, 30))
    )
    with pytest.raises(ValueError, match="expected the same images"):
        next(ours.beside(theirs))
    with pytest.raises(ValueError, match="expected the same images"):
        ours.sampled_at(theirs, 0)
