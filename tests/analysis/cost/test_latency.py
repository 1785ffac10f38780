from dataclasses import replace

import lowres_d2  # noqa: F401
from lowres_d2.analysis.cost.comparison import Comparison, Measured
from lowres_d2.analysis.cost.complexity import Complexity
from lowres_d2.analysis.cost.latency import Timing, as_used, time_models, time_parts
from lowres_d2.analysis.cost.memory import Memory
from lowres_d2.deploy.one_bit import PackedConv2d
from lowres_d2.layers.one_bit import BinaryConv2d

import pytest
import torch
from torch import nn


class Ticking(nn.Module):
    """Takes as many seconds of a fake clock as the image is wide, times its slowness."""

    def __init__(self, clock, slowness):
        super().__init__()
        self.clock, self.slowness, self.calls = clock, slowness, []

    def forward(self, inputs):
        assert not self.training and not torch.is_grad_enabled()
        self.calls.append(width := inputs[0]["image"].shape[-1])
        first = self.calls.count(width) == 1  # of this size: slower, as kernels are chosen
        self.clock.now += width * self.slowness + (1000 if first else 0)
        self.clock.order.append(self.slowness)


class Clock:
    def __init__(self):
        self.now, self.order = 0.0, []

    def __call__(self):
        return self.now


def images(*widths):
    return [{"image": torch.zeros(3, 4, width)} for width in widths]


def test_models_take_turns_and_warm_up_does_not_count():
    clock = Clock()
    fast, slow = Ticking(clock, 1), Ticking(clock, 4)
    found = time_models({"fast": fast, "slow": slow}, images(2, 3), rounds=3, clock=clock)
    assert found["fast"].seconds == [[2] * 3, [3] * 3]
    assert found["slow"].seconds == [[8] * 3, [12] * 3]
    assert found["fast"].times_faster_than(found["slow"]) == pytest.approx(4)
    assert found["slow"].images_per_second == pytest.approx(2 / 20)
    assert fast.calls == slow.calls == [2] * 4 + [3] * 4
    assert clock.order[:8] == [4, 1, 1, 4, 4, 1, 1, 4]


def test_ratio_is_robust_to_a_round_on_a_busy_machine():
    fast, slow = Timing([[1.0, 1.0, 1.0]]), Timing([[5.0, 50.0, 5.0]])
    assert fast.times_faster_than(slow) == pytest.approx(5)
    assert slow.images_per_second == pytest.approx(0.2)


def test_ratio_is_that_of_the_images_per_second_of_a_table():
    # Twice as fast on small images, half as fast on the one that takes long.
    one, other = Timing([[1.0], [1.0], [20.0]]), Timing([[2.0], [2.0], [10.0]])
    assert one.images_per_second == pytest.approx(3 / 22)
    assert one.times_faster_than(other) == pytest.approx(14 / 22)
    assert other.times_faster_than(one) == pytest.approx(22 / 14)


def test_time_is_attributed_to_parts():
    clock = Clock()
    model = nn.Module()
    model.detector, model.resampler = Ticking(clock, 2), Ticking(clock, 3)
    model.forward = lambda inputs: (model.resampler(inputs), model.detector(inputs))
    found = time_parts(model, images(2, 4), rounds=2, clock=clock)
    # Time in `detector` itself, which has no submodules here, belongs to `rest`.
    assert found["resampler"] == 9 and found["rest"] == 6


class OneLayer(nn.Module):
    def __init__(self, clock, **options):
        super().__init__()
        self.clock, self.options = clock, options
        self.layer = BinaryConv2d(4, 4, 3, **options)

    def forward(self, inputs):
        self.layer(inputs[0]["image"][None])
        self.clock.now += 1 if isinstance(self.layer, PackedConv2d) else 100

    def __deepcopy__(self, _):
        return OneLayer(self.clock, **self.options)  # with the same clock


def test_one_bit_layers_are_timed_as_they_are_used():
    clock = Clock()
    model, inputs = OneLayer(clock), [{"image": torch.zeros(4, 5, 5)}]
    found = time_models({"one bit": model}, inputs, rounds=2, clock=clock)
    assert found["one bit"].seconds == [[1, 1]] and isinstance(model.layer, BinaryConv2d)
    assert sum(time_parts(model, inputs, rounds=2, clock=clock).values()) == 1


def test_one_bit_layers_that_cannot_be_packed_are_timed_with_a_warning(caplog):
    model = OneLayer(Clock(), groups=2)
    assert as_used(model) is model and not model.training
    assert "timed as in training, not packed: layer: groups=2 cannot be packed" in caplog.text


def measured(accuracy, macs, seconds):
    complexity = Complexity({"head": 10}, Memory({"head": 40.0}, {}), {32: {"head": macs}}, 1)
    return Measured(accuracy, complexity, Timing([[seconds]]))


def test_comparison_relates_low_to_full_resolution():
    found = Comparison(measured(40.0, 8e9, 0.5), measured(30.0, 2e9, 0.1), "bbox/AP", "a machine")
    record = found.record()
    assert record["drop_rate"] == 25 and record["fewer_macs"] == 4
    assert record["speedup"] == pytest.approx(5)
    assert record["low_resolution"]["images_per_second"] == pytest.approx(10)
    assert record["full_resolution"]["accuracy"] == 40 and record["images_timed"] == 1
    assert record["low_resolution"]["memory"] == 40 and record["low_resolution"]["ops"] == 2e9
    table = found.table()
    assert "25.0" in table and "4.00x" in table and "5.00x" in table and "a machine" in table


def test_comparison_says_what_layers_of_few_bits_save():
    full, low = measured(40.0, 8e9, 0.5), measured(30.0, 1e9, 0.1)
    assert "OPs" not in Comparison(full, low, "bbox/AP", "a machine").table()
    macs = {32: {"head": 1e9}, 1: {"head": 6.4e9}}
    complexity = Complexity({"head": 10}, Memory({"head": 2.5e6}, {"head": 5e5}), macs, 1)
    found = Comparison(full, replace(low, complexity=complexity), "bbox/AP", "a machine")
    last = found.table().splitlines()[-1]
    assert last.endswith("memory 0.000 and 3.000 MB, OPs 8.000 and 1.100 G")
    assert found.record()["low_resolution"]["ops"] == pytest.approx(1.1e9)


@pytest.mark.parametrize("full, low", [(0.0, 0.0), (None, None), (30.0, None)])
def test_no_drop_rate_without_a_positive_full_resolution_accuracy(full, low):
    found = Comparison(measured(full, 2, 1.0), measured(low, 1, 1.0), "bbox/AP", "a machine")
    assert found.record()["drop_rate"] is None and "n/a" in found.table()
