"""Both implementations against loops over every point, and the module's geometry."""

import lowres_d2  # noqa: F401
from lowres_d2.layers import deformable_attention as module
from lowres_d2.layers.deformable_attention import (
    MultiScaleDeformableAttention,
    multi_scale_deformable_attention,
)
from lowres_d2.layers.deformable_sampling import sample_bags, sample_grids

import numpy as np
import pytest
import torch

SIZES = [(5, 7), (3, 4), (1, 2)]
IMPLEMENTATIONS = [sample_grids, sample_bags]


def problem(images=2, queries=6, heads=3, channels=4, points=2, dtype=torch.float64):
    """Points inside, beyond every border, exactly on cells, and far away."""
    torch.manual_seed(0)
    cells = sum(h * w for h, w in SIZES)
    value = torch.randn(images, cells, heads, channels, dtype=dtype)
    locations = torch.rand(images, queries, heads, len(SIZES), points, 2, dtype=dtype) * 2 - 0.5
    locations[:, 0] = torch.tensor([0.5 / 7, 0.5 / 5])
    locations[:, 1, 0] = torch.tensor([1.0, 1.0])
    locations[:, 1, 1] = torch.tensor([0.0, 0.0])
    locations[:, 1, 2] = torch.tensor([900.0, -900.0])
    weights = torch.rand(images, queries, heads, len(SIZES), points, dtype=dtype)
    return value, locations, weights


def by_loops(value, locations, weights):
    n, q, heads, levels, points, _ = locations.shape
    value, locations, weights = (x.numpy() for x in (value, locations, weights))
    out = np.zeros((n, q, heads, value.shape[-1]))
    for index in np.ndindex(n, q, heads, levels, points):
        image, query, head, level, _ = index
        h, w = SIZES[level]
        start = sum(a * b for a, b in SIZES[:level])
        x, y = locations[index] * (w, h) - 0.5
        for row in (int(np.floor(y)), int(np.floor(y)) + 1):
            for column in (int(np.floor(x)), int(np.floor(x)) + 1):
                if 0 <= row < h and 0 <= column < w:
                    share = (1 - abs(x - column)) * (1 - abs(y - row))
                    cell = value[image, start + row * w + column, head]
                    out[image, query, head] += weights[index] * share * cell
    return torch.from_numpy(out).flatten(2)


@pytest.mark.parametrize("sample", IMPLEMENTATIONS)
def test_sampling_is_the_sum_over_points_and_corners(sample):
    value, locations, weights = problem()
    torch.testing.assert_close(
        sample(value, SIZES, locations, weights), by_loops(value, locations, weights)
    )


@pytest.mark.parametrize("sample", IMPLEMENTATIONS)
def test_gradients_of_sampling(sample):
    torch.manual_seed(1)
    value, locations, weights = problem(images=1, queries=2, channels=2)
    locations = torch.rand_like(locations) * 1.2 - 0.1  # nowhere exactly on a cell
    inputs = [x.requires_grad_() for x in (value, locations, weights)]
    assert torch.autograd.gradcheck(lambda v, x, w: sample(v, SIZES, x, w), inputs)


def test_both_implementations_agree_in_float32_with_gradients_and_chunks(monkeypatch):
    monkeypatch.setattr("lowres_d2.layers.deformable_sampling._CHUNK", 4)
    inputs = problem(dtype=torch.float32)
    with torch.no_grad():
        outputs = [way(inputs[0], SIZES, *inputs[1:]) for way in IMPLEMENTATIONS]
    torch.testing.assert_close(*outputs)
    gradients = []
    for way in IMPLEMENTATIONS:
        leaves = [x.clone().requires_grad_() for x in inputs]
        way(leaves[0], SIZES, *leaves[1:]).square().sum().backward()
        gradients.append([leaf.grad for leaf in leaves])
    inner = (slice(None), slice(2, None))  # the others stand on borders, where slopes jump
    for index, (a, b) in enumerate(zip(*gradients, strict=True)):
        torch.testing.assert_close(*((a[inner], b[inner]) if index == 1 else (a, b)))


@pytest.mark.parametrize("sample", IMPLEMENTATIONS)
def test_nan_locations_affect_their_query_only(sample):
    value, locations, weights = problem()
    locations[1, 3] = float("nan")
    weights[1, 3] = float("nan")
    out = sample(value, SIZES, locations, weights)
    assert out[1, 3].isnan().all()
    assert out[1, 4].isfinite().all()
    assert out[0].isfinite().all()


def test_cpus_use_the_fast_implementation_and_compilers_the_plain_one(monkeypatch):
    taken = []
    for way in IMPLEMENTATIONS:
        monkeypatch.setattr(
            module, way.__name__, lambda *x, way=way: taken.append(way.__name__) or way(*x)
        )
    value, locations, weights = problem()
    multi_scale_deformable_attention(value, SIZES, locations, weights)
    on_meta = [x.to("meta") for x in (value, locations, weights)]
    multi_scale_deformable_attention(on_meta[0], SIZES, *on_meta[1:])
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    multi_scale_deformable_attention(value, SIZES, locations, weights)
    assert taken == ["sample_bags", "sample_grids", "sample_grids"]


def attention():
    torch.manual_seed(0)
    return MultiScaleDeformableAttention(16, num_heads=8, num_levels=3, num_points=2).eval()


def captured_locations(monkeypatch, layer, reference):
    seen = []

    def spy(value, sizes, locations, weights):
        seen.append((locations, weights))
        return sample_grids(value, sizes, locations, weights)

    monkeypatch.setattr(module, "multi_scale_deformable_attention", spy)
    cells = sum(h * w for h, w in SIZES)
    query = torch.randn(1, reference.shape[1], 16)
    layer(query, reference, torch.randn(1, cells, 16), SIZES)
    return seen[0]


def test_points_start_on_eight_rays_whole_cells_away_with_equal_weights(monkeypatch):
    reference = torch.tensor([[[[0.25, 0.75]]]])
    locations, weights = captured_locations(monkeypatch, attention(), reference)
    cells = locations - reference[:, :, :, None, None]
    rays = [[1, 0], [1, 1], [0, 1], [-1, 1], [-1, 0], [-1, -1], [0, -1], [1, -1]]
    for level, (h, w) in enumerate(SIZES):
        for point in range(2):
            offsets = cells[0, 0, :, level, point] * torch.tensor([w, h])
            torch.testing.assert_close(
                offsets, (point + 1.0) * torch.tensor(rays), atol=1e-5, rtol=0
            )
    torch.testing.assert_close(weights, torch.full_like(weights, 1 / 6))


def test_offsets_of_boxes_are_in_half_sizes_over_points(monkeypatch):
    box = torch.tensor([[[[0.5, 0.5, 0.2, 0.4]]]])
    locations, _ = captured_locations(monkeypatch, attention(), box)
    # Head 1's first point is (1, 1) of half the box's size over two points.
    torch.testing.assert_close(locations[0, 0, 1, 0, 0], torch.tensor([0.55, 0.6]))


def test_padding_is_ignored():
    layer = attention()
    cells = sum(h * w for h, w in SIZES)
    query, memory = torch.randn(1, 4, 16), torch.randn(1, cells, 16)
    padding = torch.zeros(1, cells, dtype=torch.bool)
    padding[:, ::3] = True
    changed = torch.where(padding[..., None], memory + 100, memory)
    reference = torch.rand(1, 4, 1, 2)
    a, b = (layer(query, reference, x, SIZES, padding) for x in (memory, changed))
    torch.testing.assert_close(a, b)
    assert not torch.allclose(a, layer(query, reference, changed, SIZES))


def test_channels_have_to_fit_the_heads():
    with pytest.raises(ValueError, match="channels=10: expected a multiple of num_heads=4"):
        MultiScaleDeformableAttention(10, num_heads=4)
