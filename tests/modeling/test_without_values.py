"""Models built without values have the structure of others; nothing else is changed."""

from lowres_d2.modeling.without_values import without_values

import torch
from torch import nn
from torch.overrides import TorchFunctionMode


class EveryInitialisation(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.linear = nn.Linear(4, 5)
        self.norm = nn.BatchNorm2d(4)
        self.attention = nn.MultiheadAttention(4, 2)
        self.queries = nn.Embedding(6, 4)
        self.coarse = nn.Parameter(torch.empty(2, 2, dtype=torch.float16))
        nn.init.normal_(self.coarse, std=0.01)
        nn.init.uniform_(self.linear.weight)
        nn.init.trunc_normal_(self.conv.weight, std=0.02)
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out")
        nn.init.constant_(self.conv.bias, 3.0)
        self.register_buffer("table", torch.rand(3).normal_().uniform_(0, 1))


class Called(TorchFunctionMode):
    def __init__(self):
        super().__init__()
        self.names = set()

    def __torch_function__(self, func, types, args=(), kwargs=None):
        self.names.add(func.__name__)
        return func(*args, **(kwargs or {}))


def structure(model):
    return {
        name: (type(value), value.shape, value.dtype, value.requires_grad)
        for values in (model.named_parameters(), model.named_buffers())
        for name, value in values
    }


def test_names_shapes_and_types_are_those_of_a_model_with_values():
    with without_values():
        model = EveryInitialisation()
    assert all(value.is_meta for value in model.state_dict().values())
    assert structure(model) == structure(EveryInitialisation())


def test_nothing_is_drawn_at_random():
    with Called() as called, without_values():
        EveryInitialisation()
    assert "empty" in called.names
    assert not called.names & {"normal_", "uniform_", "kaiming_uniform_", "constant_"}


def test_tensors_that_ask_for_a_device_have_their_values():
    with without_values():
        fixed = nn.init.constant_(torch.empty(3, device="cpu"), 2.0)
        drawn = nn.init.normal_(torch.zeros(100, device="cpu"))
    assert fixed.tolist() == [2.0, 2.0, 2.0]
    assert 0.5 < drawn.std() < 1.5


def test_later_models_have_the_values_of_their_seed():
    torch.manual_seed(0)
    first = EveryInitialisation()
    torch.manual_seed(0)
    with without_values():
        EveryInitialisation()
    second = EveryInitialisation()
    assert second.linear.weight.device.type == "cpu"
    torch.testing.assert_close(first.state_dict(), second.state_dict(), rtol=0, atol=0)
